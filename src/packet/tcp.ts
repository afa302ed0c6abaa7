import { u8, u16be, u32be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { OptionWalk } from "./option-walk.ts";

/** Byte offsets. RFC 9293 §3.1. */
export const tcp = {
  sourcePort: 0,
  destinationPort: 2,
  sequence: 4,
  acknowledgement: 8,
  /** Header length in 32-bit words, in the top four bits. */
  dataOffset: 12,
  flags: 13,
  window: 14,
  checksum: 16,
  urgentPointer: 18,
  /** Without options. */
  headerBytes: 20,
} as const;

/** Bits of the flag byte. */
export const tcpFlags = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;

/** Option kinds. RFC 9293 §3.2. */
export const tcpOptions = { maximumSegmentSize: 2 } as const;

/**
 * A TCP header with its options. Bind, then read. Malformed options do not make the segment
 * malformed: receivers read up to them, as the kernel does.
 */
export class TcpView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  readonly #options = new OptionWalk();

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < tcp.headerBytes) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    const headerBytes = this.headerBytes;
    if (headerBytes < tcp.headerBytes) return "frame_bad_header";
    return headerBytes > end - at ? "frame_truncated" : undefined;
  }

  get sourcePort(): number {
    return u16be(this.#bytes, this.#at + tcp.sourcePort);
  }

  get destinationPort(): number {
    return u16be(this.#bytes, this.#at + tcp.destinationPort);
  }

  get sequence(): number {
    return u32be(this.#bytes, this.#at + tcp.sequence);
  }

  get acknowledgement(): number {
    return u32be(this.#bytes, this.#at + tcp.acknowledgement);
  }

  get headerBytes(): number {
    return (u8(this.#bytes, this.#at + tcp.dataOffset) >>> 4) * 4;
  }

  /** The flag byte: bits of `tcpFlags`. */
  get flags(): number {
    return u8(this.#bytes, this.#at + tcp.flags);
  }

  get window(): number {
    return u16be(this.#bytes, this.#at + tcp.window);
  }

  get checksum(): number {
    return u16be(this.#bytes, this.#at + tcp.checksum);
  }

  get urgentPointer(): number {
    return u16be(this.#bytes, this.#at + tcp.urgentPointer);
  }

  get payloadAt(): number {
    return this.#at + this.headerBytes;
  }

  /** A walk over the options, from the first. Valid until this view is asked again or bound. */
  options(): OptionWalk {
    this.#options.bind(this.#bytes, this.#at + tcp.headerBytes, this.payloadAt);
    return this.#options;
  }
}
