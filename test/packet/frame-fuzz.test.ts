import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { dropReasons } from "../../src/common/drop-reason.ts";
import { Flow } from "../../src/packet/flow.ts";
import { FrameView } from "../../src/packet/frame-view.ts";
import { writeTcpFrame, writeUdpFrame } from "../../src/packet/synthesis.ts";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { corpus } from "../support/corpora.ts";
import { Random } from "./random.ts";

const at = 5;

/** All that a view tells of a frame. */
function reading(view: FrameView, bytes: Uint8Array, end: number): unknown {
  const drop = view.bind(bytes, at, end);
  if (drop !== undefined) return drop;
  return [
    view.etherType,
    view.vlanCount,
    view.version,
    view.protocol,
    view.isFragment,
    view.sourcePort,
    view.destinationPort,
    view.transportOffset,
    view.payloadOffset,
    view.payloadLength,
    view.tcpFlags,
    view.routable,
    view.version === 0 ? "" : `${view.sourceAddress()} ${view.destinationAddress()}`,
  ];
}

/**
 * Reads a frame twice, with all that lies around it poisoned differently: whoever looks beyond the
 * end gets two answers. What is found must lie within the frame.
 */
function expectContained(view: FrameView, frame: Uint8Array, random: Random): unknown {
  const end = at + frame.length;
  const readings = [0x00, 0xff, random.below(256)].map((poison) => {
    const bytes = new Uint8Array(frame.length + 80).fill(poison);
    bytes.set(frame, at);
    return reading(view, bytes, end);
  });
  if (!same(readings[0], readings[1]) || !same(readings[0], readings[2]))
    expect.fail(`reads beyond the end of ${Buffer.from(frame).toString("hex")}`);
  if (typeof readings[0] === "string") {
    if (!dropReasons.some((reason) => reason === readings[0])) expect.fail(`${readings[0]}`);
  } else {
    const inside =
      view.transportOffset >= at + 14 &&
      view.payloadOffset >= view.transportOffset &&
      view.payloadLength >= 0 &&
      view.payloadOffset + view.payloadLength <= end;
    if (!inside) expect.fail(`points outside of ${Buffer.from(frame).toString("hex")}`);
  }
  return readings[0];
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Frames that reach deep: a mutation of them meets every check there is. */
function seeds(): Uint8Array[] {
  const hex = (text: string): Uint8Array => Buffer.from(text.replace(/\s/g, ""), "hex");
  const addresses = "20010db8000000000000000000000001 20010db8000000000000000000000002";
  const frames = [
    `ffffffffffff 020000000001 88a8 0001 8100 0002 0800 4900002c 00010000 40110000 c0000201
     c6336407 0107 0704 0a000001 9404 0000 0009 0909 04d20035 00080000 0000`,
    `ffffffffffff 020000000001 86dd 60000000 0050 00 40 ${addresses} 2b000104 00000000
     3c020400 00000000 20010db8000000000000000000000003 2c000104 00000000 33000000 0000002a
     11040000 00000001 00000002 0102030405060708090a0b0c 04d20035 00080000`,
    "ffffffffffff 020000000001 0806 0001 0800 0604 0001 020000000001 c0000201 000000000000 c0000202",
    `ffffffffffff 020000000001 86dd 60000000 000a 3a 40 ${addresses} 80000000 00010002 6162`,
  ].map(hex);
  for (const [a, b] of [
    ["192.0.2.1", "192.0.2.2"],
    ["2001:db8::1", "2001:db8::2"],
  ] as const) {
    const ends = [
      { address: a, port: 1 },
      { address: b, port: 2 },
    ] as const;
    const bytes = new Uint8Array(200);
    frames.push(bytes.slice(0, writeUdpFrame(bytes, 0, new Flow("udp", ...ends), 20)));
    const segment = { sequence: 1, acknowledgement: 2, flags: 2, window: 3, maximumSegmentSize: 4 };
    frames.push(bytes.slice(0, writeTcpFrame(bytes, 0, new Flow("tcp", ...ends), segment, 20)));
  }
  return frames;
}

test("FrameView stays within random frames", () => {
  const random = new Random(2026);
  const view = new FrameView();
  const types = [0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806];
  for (let i = 0; i < 5000; i++) {
    const frame = random.bytes(random.below(160));
    const type = types[random.below(types.length)]!;
    // Most random bytes end at the EtherType or the version: help them over.
    if (frame.length > 15) frame.set([type >> 8, type & 255, type === 0x0800 ? 0x45 : 0x60], 12);
    expectContained(view, frame, random);
  }
});

test("FrameView stays within frames cut at every byte", () => {
  const random = new Random(1);
  const view = new FrameView();
  for (const frame of seeds()) {
    expect(typeof expectContained(view, frame, random)).toBe("object");
    for (let length = 0; length < frame.length; length++)
      expectContained(view, frame.subarray(0, length), random);
  }
});

test("FrameView stays within mutated frames, and meets every reason to refuse one", () => {
  const random = new Random(20_262);
  const view = new FrameView();
  const met = new Set<unknown>();
  const originals = seeds();
  for (let i = 0; i < 20_000; i++) {
    const frame = originals[i % originals.length]!.slice();
    for (let changes = 1 + random.below(4); changes > 0; changes--) {
      const position = 12 + random.below(frame.length - 12);
      const nibbles = [0x00, 0xff, 0x2c, 0x3c, 0x81, random.below(256)];
      frame[position] = nibbles[random.below(nibbles.length)]!;
    }
    const found = expectContained(view, frame, random);
    met.add(typeof found === "string" ? found : "bound");
  }
  expect([...met].sort()).toEqual([
    "bound",
    "frame_bad_header",
    "frame_bad_length",
    "frame_truncated",
  ]);
});

const mix = corpus("pcap/mix.pcap");

test.skipIf(mix === undefined)(
  `FrameView stays within mutated real frames${mix === undefined ? " [skipped: needs the corpora]" : ""}`,
  () => {
    const random = new Random(3);
    const view = new FrameView();
    let frames = 0;
    for (const packet of readCaptureBytes(readFileSync(mix!), "mix.pcap")) {
      frames++;
      for (let i = 0; i < 40; i++) {
        const frame = packet.data.slice(0, 14 + random.below(packet.data.length));
        for (let changes = random.below(4); changes > 0; changes--)
          frame[random.below(Math.min(80, frame.length))] = random.below(256);
        expectContained(view, frame, random);
      }
    }
    expect(frames).toBe(91);
  },
);
