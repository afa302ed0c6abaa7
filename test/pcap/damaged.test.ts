import { expect, test } from "vitest";
import { CaptureDecoder } from "../../src/pcap/capture-decoder.ts";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { PcapngWriter } from "../../src/pcap/pcapng-writer.ts";
import { readCapture } from "../../src/pcap/read-capture.ts";
import { Random } from "../packet/random.ts";
import {
  ascii,
  block,
  classicHeader,
  concat,
  enhancedPacket,
  interfaceBlock,
  option,
  type Reading,
  readAll,
  readInChunks,
  sectionHeader,
} from "./capture-bytes.ts";

interface Capture {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Where a file may end: behind a header, record or block. */
  readonly cuts: ReadonlySet<number>;
  /** Where each packet's record ends. */
  readonly packetEnds: readonly number[];
}

/** Small captures with every kind of record. */
function captures(): Capture[] {
  const random = new Random(24);
  const packets = [0, 1, 5, 60].map((size, i) => ({
    seconds: i,
    nanoseconds: i * 1000,
    originalLength: size + i,
    data: random.bytes(size),
    comments: i === 2 ? ["why"] : [],
  }));
  const classic = new ClassicWriter(1);
  const ng = new PcapngWriter([{ linkType: 1, name: "left" }]);
  const options = option(true, 1, ascii("comment"));
  const simple = block(true, 3, concat(Uint8Array.of(0, 0, 0, 4), ascii("four")));
  return [
    capture("pcap", [classic.header], ...packets.map((one) => classic.record(one))),
    capture(
      "pcapng",
      // The writer's header is a section and an interface.
      [ng.header.subarray(0, 28), ng.header.subarray(28)],
      ...packets.map((one) => ng.record(one)),
    ),
    capture(
      "big-endian pcapng with blocks to skip",
      [sectionHeader(true), interfaceBlock(true), block(true, 99, random.bytes(50))],
      enhancedPacket(true, 0, [1, 2], ascii("packet"), { options }),
      [block(true, 5, ascii("")), sectionHeader(true), interfaceBlock(true)],
      simple,
      enhancedPacket(true, 0, [1, 3], ascii("another")),
    ),
  ];
}

/** Lists are headers and blocks without packets, the others one packet each. */
function capture(name: string, ...parts: (Uint8Array | Uint8Array[])[]): Capture {
  const cuts = new Set<number>();
  const packetEnds: number[] = [];
  let end = 0;
  for (const part of parts)
    for (const piece of Array.isArray(part) ? part : [part]) {
      end += piece.length;
      cuts.add(end);
      if (!Array.isArray(part)) packetEnds.push(end);
    }
  return { name, bytes: concat(...parts.flat()), cuts, packetEnds };
}

function brief({ packets, error }: Reading): unknown {
  return [
    packets.map((one) => [one.index, one.offset, one.seconds, one.originalLength, [...one.data]]),
    error?.message,
  ];
}

for (const { name, bytes, cuts, packetEnds } of captures()) {
  test(`${name} cut at any byte gives the packets before, and says where it ends`, () => {
    const whole = readAll(bytes);
    expect(whole.error).toBeUndefined();
    expect(whole.packets.length).toBe(packetEnds.length);
    for (let length = 0; length < bytes.length; length++) {
      const { packets, error } = readAll(bytes.subarray(0, length));
      const expected = packetEnds.filter((end) => end <= length).length;
      expect(packets).toEqual(whole.packets.slice(0, expected));
      if (cuts.has(length)) expect(error).toBeUndefined();
      else {
        expect(error?.code).toBe(length === 0 ? "CAPTURE_EMPTY" : "CAPTURE_TRUNCATED");
        expect(error!.offset).toBeLessThanOrEqual(length);
      }
    }
  });

  test(`${name} reads the same in chunks of any size`, async () => {
    const whole = brief(readAll(bytes));
    for (const sizes of [[1], [2], [3], [7], [16], [1, 100], [23, 1, 5], [bytes.length]])
      expect(brief(await readInChunks(bytes, sizes))).toEqual(whole);
  });

  test(`${name} with a bogus length at any byte ends in an error with its place, or in packets`, () => {
    const whole = readAll(bytes).packets.length;
    const outcomes = { errors: 0, packets: 0 };
    for (let at = 0; at + 4 <= bytes.length; at++)
      for (const bogus of [
        [0xff, 0xff, 0xff, 0xff],
        [0, 0, 0, 4],
        [4, 0, 0, 0],
        [0, 0, 0, 0],
      ]) {
        const damaged = bytes.slice();
        damaged.set(bogus, at);
        const { packets, error } = readAll(damaged);
        // A length in the middle may take in what follows, and no more packets come of it than bytes.
        expect(packets.reduce((sum, one) => sum + one.data.length, 0)).toBeLessThan(bytes.length);
        if (error === undefined) outcomes.packets++;
        else {
          outcomes.errors++;
          expect(error.message).toMatch(/, byte \d+: /);
          expect(error.offset).toBeLessThanOrEqual(bytes.length);
        }
      }
    expect(whole).toBe(packetEnds.length);
    expect(outcomes.errors).toBeGreaterThan(50);
    expect(outcomes.packets).toBeGreaterThan(50);
  });

  test(`${name} mutated at random ends in an error or in packets, the same in any chunks`, async () => {
    const random = new Random(name.length);
    let errors = 0;
    for (let i = 0; i < 1500; i++) {
      const mutated = bytes.slice(0, 1 + random.below(bytes.length));
      for (let changes = 1 + random.below(3); changes > 0; changes--) {
        const value = [0, 0xff, 0x80, random.below(256)][random.below(4)]!;
        mutated[random.below(mutated.length)] = value;
      }
      const reading = readAll(mutated);
      if (reading.error !== undefined) errors++;
      for (const packet of reading.packets) {
        expect(packet.nanoseconds >= 0 && packet.nanoseconds < 1e9).toBe(true);
        expect(packet.data.length).toBeLessThanOrEqual(mutated.length);
      }
      if (i % 10 === 0)
        expect(brief(await readInChunks(mutated, [1 + random.below(9)]))).toEqual(brief(reading));
    }
    expect(errors).toBeGreaterThan(500);
    expect(errors).toBeLessThan(1500);
  });
}

test("random bytes never end in anything but a CaptureError", () => {
  const random = new Random(99);
  const starts = [classicHeader(false), classicHeader(true), sectionHeader(false)];
  for (let i = 0; i < 3000; i++) {
    const noise = random.bytes(random.below(200));
    readAll(noise);
    readAll(concat(starts[i % starts.length]!, noise));
  }
});

test("packets that were given out stay as they are while more bytes come", () => {
  const writer = new ClassicWriter(1);
  const parts = [writer.header];
  for (let i = 0; i < 500; i++) {
    const data = new Uint8Array(300).fill(i);
    parts.push(writer.record({ seconds: i, nanoseconds: 0, originalLength: 300, data }));
  }
  const bytes = concat(...parts);
  const decoder = new CaptureDecoder("test");
  const packets = [];
  for (let at = 0; at < bytes.length; at += 97) {
    decoder.push(bytes.slice(at, at + 97));
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next())
      packets.push(packet);
  }
  expect(decoder.finish()).toBeUndefined();
  expect(packets.length).toBe(500);
  for (const packet of packets)
    expect(packet.data.every((byte) => byte === (packet.index & 255))).toBe(true);
});

/** Counts the bytes that are copied from one array to another. */
function copiedBytes(run: () => void): number {
  const original = Uint8Array.prototype.set;
  let copied = 0;
  Uint8Array.prototype.set = function (this: Uint8Array, source: ArrayLike<number>, at?: number) {
    copied += source.length;
    original.call(this, source, at);
  };
  try {
    run();
  } finally {
    // It was inherited, and is again.
    Reflect.deleteProperty(Uint8Array.prototype, "set");
  }
  return copied;
}

test("a long record in tiny chunks is copied a few times in all, not once a chunk", () => {
  const data = new Uint8Array(262_144);
  const writer = new ClassicWriter(1);
  const bytes = concat(
    writer.header,
    writer.record({ seconds: 0, nanoseconds: 0, originalLength: 0, data }),
  );
  const decoder = new CaptureDecoder("test");
  let packets = 0;
  const copied = copiedBytes(() => {
    for (let at = 0; at < bytes.length; at += 16) {
      decoder.push(bytes.subarray(at, at + 16));
      while (decoder.next() !== undefined) packets++;
    }
  });
  expect(packets).toBe(1);
  expect(copied).toBeGreaterThan(bytes.length / 2);
  expect(copied).toBeLessThan(bytes.length * 4);
});

test("a block to skip may be of any length, and is not held", () => {
  const decoder = new CaptureDecoder("test");
  const length = 0xffff_fff0;
  const lengthBytes = new Uint8Array(4);
  new DataView(lengthBytes.buffer).setUint32(0, length, true);
  decoder.push(concat(sectionHeader(false), Uint8Array.of(99, 0, 0, 0), lengthBytes));
  expect(decoder.next()).toBeUndefined();
  const chunk = new Uint8Array(1 << 20);
  const copied = copiedBytes(() => {
    for (let left = length - 12; left > 0; left -= chunk.length) {
      decoder.push(chunk.subarray(0, Math.min(left, chunk.length)));
      expect(decoder.next()).toBeUndefined();
    }
  });
  expect(copied).toBe(0);
  decoder.push(lengthBytes);
  decoder.push(concat(interfaceBlock(false), enhancedPacket(false, 0, [0, 0], ascii("behind"))));
  expect(decoder.next()).toMatchObject({ index: 0, offset: 28 + length + 20 });
  expect(decoder.finish()).toBeUndefined();
});

test("a bogus length ends the reading at once: no more of the source is asked for", async () => {
  let asked = 0;
  async function* source(): AsyncGenerator<Uint8Array> {
    yield classicHeader(false);
    yield new Uint8Array(16).fill(0xff);
    for (;;) {
      asked++;
      yield new Uint8Array(65_536);
    }
  }
  await expect(
    (async () => {
      for await (const _ of readCapture(source())) throw new Error("no packet is there");
    })(),
  ).rejects.toMatchObject({ code: "CAPTURE_BAD_LENGTH", offset: 24 });
  expect(asked).toBe(0);
});

const huge = 64 * 1024 * 1024;

for (const { name, start, offset } of [
  {
    name: "pcap",
    start: concat(classicHeader(false), words(1, 0, huge, huge)),
    offset: 24,
  },
  {
    name: "pcapng",
    start: concat(
      sectionHeader(false),
      interfaceBlock(false),
      words(6, huge + 32, 0, 0, 0, huge, huge),
    ),
    offset: sectionHeader(false).length + interfaceBlock(false).length,
  },
])
  test(`a packet of 64 MB in ${name} is refused at its byte before any of it is held`, () => {
    const decoder = new CaptureDecoder("huge");
    const copied = copiedBytes(() => {
      decoder.push(start);
      expect(decoder.next()).toBeUndefined();
      // More of it may come: it is not kept.
      for (let i = 0; i < 64; i++) {
        decoder.push(new Uint8Array(1024));
        expect(decoder.next()).toBeUndefined();
      }
    });
    expect(decoder.error).toMatchObject({ code: "CAPTURE_BAD_LENGTH", offset });
    expect(copied).toBe(0);
  });

function words(...numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(numbers.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, number] of numbers.entries()) view.setUint32(i * 4, number, true);
  return bytes;
}

test("a slow taker holds the source back", async () => {
  const writer = new ClassicWriter(1);
  const record = writer.record({
    seconds: 0,
    nanoseconds: 0,
    originalLength: 1,
    data: ascii("a"),
  });
  let chunks = 0;
  let closed = false;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      yield writer.header;
      for (;;) {
        chunks++;
        yield concat(record, record, record);
      }
    } finally {
      closed = true;
    }
  }
  const packets = readCapture(source());
  for (let taken = 1; taken <= 9; taken++) {
    await packets.next();
    expect(chunks).toBe(Math.ceil(taken / 3));
  }
  await packets.return();
  expect(closed).toBe(true);
});

test("an error of the source passes through", async () => {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield classicHeader(false);
    throw new Error("disk gone");
  }
  await expect(readCapture(source()).next()).rejects.toThrow("disk gone");
});
