import { type CapturedPacket, CaptureError } from "../../src/pcap/captured-packet.ts";
import { readCapture, readCaptureBytes } from "../../src/pcap/read-capture.ts";

/** What came of a capture: its packets, and the error it ended with. */
export interface Reading {
  readonly packets: readonly CapturedPacket[];
  readonly error: CaptureError | undefined;
}

/** Reads a whole capture; anything but a CaptureError is thrown on. */
export function readAll(bytes: Uint8Array): Reading {
  const packets: CapturedPacket[] = [];
  try {
    for (const packet of readCaptureBytes(bytes, "test.pcap")) packets.push(packet);
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    return { packets, error };
  }
  return { packets, error: undefined };
}

/** As `readAll`, through the stream reader, in chunks of these sizes in turn. */
export async function readInChunks(bytes: Uint8Array, sizes: readonly number[]): Promise<Reading> {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const size = sizes[i % sizes.length]!;
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }
  const packets: CapturedPacket[] = [];
  try {
    for await (const packet of readCapture(chunks(), "test.pcap")) packets.push(packet);
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    return { packets, error };
  }
  return { packets, error: undefined };
}

/** Puts numbers of 2 and 4 bytes and raw bytes together, in one byte order. */
export class BytesBuilder {
  readonly #big: boolean;
  readonly #parts: Uint8Array[] = [];

  constructor(big: boolean) {
    this.#big = big;
  }

  u16(...values: number[]): this {
    for (const value of values) {
      const bytes = new Uint8Array(2);
      new DataView(bytes.buffer).setUint16(0, value, !this.#big);
      this.#parts.push(bytes);
    }
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, value, !this.#big);
      this.#parts.push(bytes);
    }
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  build(): Uint8Array {
    return Uint8Array.from(Buffer.concat(this.#parts));
  }
}

/** A classic file header. */
export function classicHeader(
  big: boolean,
  { magic = 0xa1b2c3d4, version = [2, 4], snapLength = 262_144, linkType = 1 } = {},
): Uint8Array {
  return new BytesBuilder(big)
    .u32(magic)
    .u16(...version)
    .u32(0, 0, snapLength, linkType)
    .build();
}

/** A classic record whose length fields may lie. */
export function classicRecord(
  big: boolean,
  [seconds, fraction]: readonly [number, number],
  data: Uint8Array,
  { captured = data.length, original = data.length } = {},
): Uint8Array {
  return new BytesBuilder(big).u32(seconds, fraction, captured, original).raw(data).build();
}

/** A pcapng block around a body, which is padded. */
export function block(big: boolean, type: number, body: Uint8Array): Uint8Array {
  const padded = Buffer.concat([body, new Uint8Array(-body.length & 3)]);
  const total = padded.length + 12;
  return new BytesBuilder(big).u32(type, total).raw(padded).u32(total).build();
}

/** Options, each padded; the end mark is the caller's. */
export function option(big: boolean, code: number, value: Uint8Array): Uint8Array {
  return new BytesBuilder(big)
    .u16(code, value.length)
    .raw(value)
    .raw(new Uint8Array(-value.length & 3))
    .build();
}

export function sectionHeader(
  big: boolean,
  version: readonly [number, number] = [1, 0],
): Uint8Array {
  const body = new BytesBuilder(big)
    .u32(0x1a2b3c4d)
    .u16(...version)
    .u32(0xffffffff, 0xffffffff);
  return block(big, 0x0a0d0d0a, body.build());
}

export function interfaceBlock(
  big: boolean,
  {
    linkType = 1,
    snapLength = 0,
    options = new Uint8Array(0),
  }: { linkType?: number; snapLength?: number; options?: Uint8Array } = {},
): Uint8Array {
  const body = new BytesBuilder(big).u16(linkType, 0).u32(snapLength).raw(options);
  return block(big, 1, body.build());
}

export function enhancedPacket(
  big: boolean,
  interfaceId: number,
  [high, low]: readonly [number, number],
  data: Uint8Array,
  {
    captured = data.length,
    original = data.length,
    options = new Uint8Array(0),
  }: { captured?: number; original?: number; options?: Uint8Array } = {},
): Uint8Array {
  const body = new BytesBuilder(big)
    .u32(interfaceId, high, low, captured, original)
    .raw(data)
    .raw(new Uint8Array(-data.length & 3))
    .raw(options);
  return block(big, 6, body.build());
}

export function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
