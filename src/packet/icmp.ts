import { u8, u16be, u32be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";

/** Byte offsets, the same for ICMP (RFC 792) and ICMPv6 (RFC 4443 §2.1). */
const icmp = { type: 0, code: 1, checksum: 2, rest: 4, headerBytes: 8 } as const;

/** Message types. RFC 792. */
export const icmpTypes = {
  echoReply: 0,
  destinationUnreachable: 3,
  redirect: 5,
  echoRequest: 8,
  timeExceeded: 11,
  parameterProblem: 12,
} as const;

/** An ICMP header of 8 bytes, as every message type has. Bind, then read. */
export class IcmpView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < icmp.headerBytes) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    return undefined;
  }

  get type(): number {
    return u8(this.#bytes, this.#at + icmp.type);
  }

  get code(): number {
    return u8(this.#bytes, this.#at + icmp.code);
  }

  get checksum(): number {
    return u16be(this.#bytes, this.#at + icmp.checksum);
  }

  /** The second word, which each type uses in its own way: an MTU, a gateway, a pointer. */
  get rest(): number {
    return u32be(this.#bytes, this.#at + icmp.rest);
  }

  /** Of an echo request or reply. */
  get identifier(): number {
    return u16be(this.#bytes, this.#at + icmp.rest);
  }

  /** Of an echo request or reply. */
  get sequence(): number {
    return u16be(this.#bytes, this.#at + icmp.rest + 2);
  }

  /** Whether the payload is the start of the IP packet that caused the message. */
  get quotesPacket(): boolean {
    switch (this.type) {
      case icmpTypes.destinationUnreachable:
      case icmpTypes.redirect:
      case icmpTypes.timeExceeded:
      case icmpTypes.parameterProblem:
        return true;
      default:
        return false;
    }
  }

  get payloadAt(): number {
    return this.#at + icmp.headerBytes;
  }
}
