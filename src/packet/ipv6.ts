import { u8, u16be, u32be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { Ipv6Extensions } from "./ipv6-extensions.ts";

/** Byte offsets. RFC 8200 §3. */
export const ipv6 = {
  /** The top four bits; traffic class and flow label follow. */
  version: 0,
  payloadLength: 4,
  nextHeader: 6,
  hopLimit: 7,
  source: 8,
  destination: 24,
  headerBytes: 40,
} as const;

/**
 * An IPv6 header with its extension headers. Bind, then read.
 *
 * Jumbograms (RFC 2675: payload length 0) cannot reach Weir and are refused: the length is taken
 * as it is, so that their hop-by-hop header does not fit.
 */
export class Ipv6View {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  readonly #extensions = new Ipv6Extensions();

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < ipv6.headerBytes) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    if (u8(bytes, at + ipv6.version) >>> 4 !== 6) return "frame_bad_header";
    if (this.payloadEnd > end) return "frame_bad_length";
    const next = u8(bytes, at + ipv6.nextHeader);
    return this.#extensions.bind(bytes, at + ipv6.headerBytes, this.payloadEnd, next);
  }

  get trafficClass(): number {
    return (u16be(this.#bytes, this.#at + ipv6.version) >>> 4) & 0xff;
  }

  /** 20 bits. */
  get flowLabel(): number {
    return u32be(this.#bytes, this.#at + ipv6.version) & 0xfffff;
  }

  /** Bytes after the fixed header, extension headers included. */
  get payloadLength(): number {
    return u16be(this.#bytes, this.#at + ipv6.payloadLength);
  }

  get hopLimit(): number {
    return u8(this.#bytes, this.#at + ipv6.hopLimit);
  }

  get sourceAt(): number {
    return this.#at + ipv6.source;
  }

  /** Of the fixed header: with a routing header, the next stop on the way. */
  get destinationAt(): number {
    return this.#at + ipv6.destination;
  }

  /** What follows the last extension header: a transport protocol, ESP, or `noNextHeader`. */
  get protocol(): number {
    return this.#extensions.protocol;
  }

  /** Whether this is one piece of a packet, the first included. */
  get isFragment(): boolean {
    return this.#extensions.isFragment;
  }

  /** Headers between the fixed one and the payload. */
  get extensionCount(): number {
    return this.#extensions.count;
  }

  /** Where the extension headers end. */
  get payloadAt(): number {
    return this.#extensions.payloadAt;
  }

  get payloadEnd(): number {
    return this.#at + ipv6.headerBytes + this.payloadLength;
  }
}
