import { u16be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";

/** Byte offsets. RFC 768. */
export const udp = {
  sourcePort: 0,
  destinationPort: 2,
  length: 4,
  checksum: 6,
  headerBytes: 8,
} as const;

/**
 * A UDP header. Bind, then read. `end` is the end of the IP payload, which may be longer than the
 * datagram: only what the length field covers is payload, as in the kernel.
 */
export class UdpView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < udp.headerBytes) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    const length = this.length;
    return length < udp.headerBytes || length > end - at ? "frame_bad_length" : undefined;
  }

  get sourcePort(): number {
    return u16be(this.#bytes, this.#at + udp.sourcePort);
  }

  get destinationPort(): number {
    return u16be(this.#bytes, this.#at + udp.destinationPort);
  }

  /** Bytes of header and payload. */
  get length(): number {
    return u16be(this.#bytes, this.#at + udp.length);
  }

  /** 0: the sender computed none. */
  get checksum(): number {
    return u16be(this.#bytes, this.#at + udp.checksum);
  }

  get payloadAt(): number {
    return this.#at + udp.headerBytes;
  }

  get payloadEnd(): number {
    return this.#at + this.length;
  }
}
