import { u8, u16be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { OptionWalk } from "./option-walk.ts";

/** Byte offsets. RFC 791 §3.1. */
export const ipv4 = {
  versionAndLength: 0,
  typeOfService: 1,
  totalLength: 2,
  identification: 4,
  /** Flags in the top three bits, the offset in units of 8 bytes in the others. */
  fragment: 6,
  timeToLive: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
  /** Without options. */
  headerBytes: 20,
} as const;

export const ipv4DontFragment = 0x4000;
const moreFragments = 0x2000;
const fragmentOffset = 0x1fff;

/**
 * An IPv4 header with its options. Bind, then read.
 *
 * What follows the total length is Ethernet's padding and no part of the packet. The header
 * checksum is not looked at: a filter may have changed the header without repairing it.
 */
export class Ipv4View {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  readonly #options = new OptionWalk();

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < ipv4.headerBytes) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    const first = u8(bytes, at + ipv4.versionAndLength);
    if (first >>> 4 !== 4) return "frame_bad_header";
    const headerBytes = (first & 15) * 4;
    if (headerBytes < ipv4.headerBytes) return "frame_bad_header";
    if (headerBytes > end - at) return "frame_truncated";
    const total = this.totalLength;
    if (total < headerBytes || total > end - at) return "frame_bad_length";
    if (headerBytes === ipv4.headerBytes) return undefined;
    const options = this.options();
    while (options.next());
    return options.malformed ? "frame_bad_header" : undefined;
  }

  get headerBytes(): number {
    return (u8(this.#bytes, this.#at + ipv4.versionAndLength) & 15) * 4;
  }

  /** Differentiated services and ECN bits. */
  get typeOfService(): number {
    return u8(this.#bytes, this.#at + ipv4.typeOfService);
  }

  /** Bytes of header and payload. */
  get totalLength(): number {
    return u16be(this.#bytes, this.#at + ipv4.totalLength);
  }

  get identification(): number {
    return u16be(this.#bytes, this.#at + ipv4.identification);
  }

  get dontFragment(): boolean {
    return (u16be(this.#bytes, this.#at + ipv4.fragment) & ipv4DontFragment) !== 0;
  }

  get moreFragments(): boolean {
    return (u16be(this.#bytes, this.#at + ipv4.fragment) & moreFragments) !== 0;
  }

  /** In bytes. */
  get fragmentOffset(): number {
    return (u16be(this.#bytes, this.#at + ipv4.fragment) & fragmentOffset) * 8;
  }

  /** Whether this is one piece of a packet, the first included. */
  get isFragment(): boolean {
    return (u16be(this.#bytes, this.#at + ipv4.fragment) & (moreFragments | fragmentOffset)) !== 0;
  }

  get timeToLive(): number {
    return u8(this.#bytes, this.#at + ipv4.timeToLive);
  }

  get protocol(): number {
    return u8(this.#bytes, this.#at + ipv4.protocol);
  }

  get checksum(): number {
    return u16be(this.#bytes, this.#at + ipv4.checksum);
  }

  get sourceAt(): number {
    return this.#at + ipv4.source;
  }

  get destinationAt(): number {
    return this.#at + ipv4.destination;
  }

  get payloadAt(): number {
    return this.#at + this.headerBytes;
  }

  get payloadEnd(): number {
    return this.#at + this.totalLength;
  }

  /** A walk over the options, from the first. Valid until this view is asked again or bound. */
  options(): OptionWalk {
    this.#options.bind(this.#bytes, this.#at + ipv4.headerBytes, this.payloadAt);
    return this.#options;
  }
}
