import { u32be, u32le } from "../common/bytes.ts";
import { ByteQueue } from "./byte-queue.ts";
import { type CapturedPacket, CaptureError } from "./captured-packet.ts";
import { ClassicDecoder } from "./classic-decoder.ts";
import { classicMagics } from "./classic-format.ts";
import type { FormatDecoder } from "./format-decoder.ts";
import { PcapngDecoder } from "./pcapng-decoder.ts";
import { blockTypes } from "./pcapng-format.ts";

/** First words of files that people mistake for pcap, or that were made from it; either byte order. */
const refusedMagics: ReadonlyMap<number, string> = new Map([
  [0xa1b2cd34, "a modified pcap (Kuznetsov's, with fields for the interface)"],
  [0xa1b234cd, "a modified pcap (Mesquita's)"],
  [0xa12b3c4d, "a modified pcap (Navtel's)"],
  [0x1c0001ac, "an Ixia lcap capture (software timestamps)"],
  [0x1c0001ab, "an Ixia lcap capture (hardware timestamps)"],
  [0x736e6f6f, "a snoop capture"],
]);

/**
 * Decodes a capture that comes in chunks: push what has come, take packets until `next` gives
 * none, and at the end of the input `finish`. The format is told by the first four bytes.
 *
 * Holds at most one unfinished record besides the last chunk, and takes time in proportion to the
 * input whatever its length fields say.
 */
export class CaptureDecoder {
  readonly #name: string;
  readonly #queue = new ByteQueue();
  #format: FormatDecoder | undefined;
  #error: CaptureError | undefined;

  /** `name` is what errors call the capture: its file name. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Why the capture cannot be read on; no packet follows. */
  get error(): CaptureError | undefined {
    return this.#error;
  }

  /** The chunk must not change afterwards: packets are read from it in place. */
  push(chunk: Uint8Array): void {
    if (this.#error === undefined && chunk.length > 0) this.#queue.push(chunk);
  }

  /** The next whole packet of what was pushed; undefined where there is none, or an error. */
  next(): CapturedPacket | undefined {
    if (this.#error !== undefined) return undefined;
    if (this.#format === undefined) {
      if (this.#queue.available < 4) return undefined;
      const format = this.#recognise();
      if (format instanceof CaptureError) {
        this.#error = format;
        return undefined;
      }
      this.#format = format;
    }
    const packet = this.#format.next(this.#queue);
    if (packet instanceof CaptureError) {
      this.#error = packet;
      return undefined;
    }
    return packet;
  }

  /** No more bytes come, and `next` gives no more packets: an error if the file is not whole. */
  finish(): CaptureError | undefined {
    if (this.#error !== undefined) return this.#error;
    const offset = this.#queue.offset;
    if (this.#format === undefined) {
      this.#error =
        this.#queue.available === 0
          ? this.#fault("CAPTURE_EMPTY", 0, "the capture is empty")
          : this.#fault("CAPTURE_TRUNCATED", 0, "the capture ends within its first four bytes");
      return this.#error;
    }
    const what = this.#format.unfinished(this.#queue);
    if (what !== undefined)
      this.#error = this.#fault("CAPTURE_TRUNCATED", offset, `the capture ends within ${what}`);
    return this.#error;
  }

  #recognise(): FormatDecoder | CaptureError {
    const { bytes, at } = this.#queue;
    const little = u32le(bytes, at);
    const big = u32be(bytes, at);
    if (big === blockTypes.sectionHeader) return new PcapngDecoder(this.#name);
    for (const nanoseconds of [false, true]) {
      const magic = nanoseconds ? classicMagics.nanoseconds : classicMagics.microseconds;
      if (little === magic) return new ClassicDecoder(this.#name, false, nanoseconds);
      if (big === magic) return new ClassicDecoder(this.#name, true, nanoseconds);
    }
    const refused = refusedMagics.get(little) ?? refusedMagics.get(big);
    if (refused !== undefined)
      return this.#fault(
        "CAPTURE_FORMAT",
        0,
        `this is ${refused}`,
        "convert it with: editcap -F pcapng",
      );
    if (big >>> 16 === 0x1f8b || big === 0x28b52ffd)
      return this.#fault("CAPTURE_FORMAT", 0, "this is a compressed file", "decompress it first");
    const found = `the first word is 0x${big.toString(16).padStart(8, "0")}`;
    return this.#fault(
      "CAPTURE_FORMAT",
      0,
      `this is neither pcap nor pcapng: ${found}`,
      "capture with: tcpdump -w",
    );
  }

  #fault(
    code: "CAPTURE_EMPTY" | "CAPTURE_TRUNCATED" | "CAPTURE_FORMAT",
    offset: number,
    what: string,
    fix?: string,
  ): CaptureError {
    return new CaptureError(code, this.#name, offset, what, fix);
  }
}
