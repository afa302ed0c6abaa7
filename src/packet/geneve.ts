import { putU16be, putU32be, u8, u16be, u32be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";

/** Byte offsets. RFC 8926 §3.4. */
const geneve = { versionAndLength: 0, flags: 1, protocol: 2, vni: 4, headerBytes: 8 } as const;
/** Byte offsets within an option. RFC 8926 §3.5. */
const option = { optionClass: 0, type: 2, length: 3, headerBytes: 4 } as const;

/** Of a header without its options, which follow. */
export const geneveHeaderBytes = geneve.headerBytes;

/** The packet is for the endpoint itself and must not be forwarded. */
const controlFlag = 0x80;
/** Top bit of an option's type: who does not know the option must drop the packet. */
const criticalType = 0x80;

/** The options of AWS Gateway Load Balancer, none of them critical. */
export const gatewayLoadBalancerOptions = {
  optionClass: 0x0108,
  /** 8 bytes: the endpoint the packet came through. */
  endpointId: 1,
  /** 8 bytes: the VPC attachment. */
  attachmentId: 2,
  /** 4 bytes: what the load balancer knows the flow by. */
  flowCookie: 3,
} as const;

/**
 * The options of a GENEVE header: TLVs whose length counts words of 4 bytes behind the option's
 * own header of 4. `GeneveView.bind` has checked that they fill the header exactly.
 *
 *     const options = view.options();
 *     while (options.next()) use(options.optionClass, options.type, options.dataAt);
 */
export class GeneveOptions {
  #bytes: Uint8Array = new Uint8Array(0);
  #next = 0;
  #end = 0;
  /** Of the option that `next` came to. IANA: who defined the option. */
  optionClass = 0;
  /** With the critical bit. */
  type = 0;
  dataAt = 0;
  dataBytes = 0;
  /** Whether the walk ended at a length that cannot be. */
  malformed = false;

  bind(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes = bytes;
    this.#next = at;
    this.#end = end;
    this.malformed = false;
  }

  get critical(): boolean {
    return (this.type & criticalType) !== 0;
  }

  /** Goes to the next option; false at the end of the list, or at a malformed option. */
  next(): boolean {
    const at = this.#next;
    const room = this.#end - at;
    if (room === 0) return false;
    const dataBytes =
      room < option.headerBytes ? room : (u8(this.#bytes, at + option.length) & 31) * 4;
    if (dataBytes > room - option.headerBytes) {
      this.malformed = true;
      this.#next = this.#end;
      return false;
    }
    this.optionClass = u16be(this.#bytes, at + option.optionClass);
    this.type = u8(this.#bytes, at + option.type);
    this.dataAt = at + option.headerBytes;
    this.dataBytes = dataBytes;
    this.#next = this.dataAt + dataBytes;
    return true;
  }
}

/**
 * A GENEVE header with its options. Bind, then read.
 *
 * Refused are other versions, control packets (RFC 8926 §3.4: an endpoint must not forward them),
 * options that do not fill the space announced for them, and critical options, of which Weir knows
 * none (§3.5). Any other option is left alone.
 */
export class GeneveView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  readonly #options = new GeneveOptions();

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < geneve.headerBytes) return "tunnel_truncated";
    this.#bytes = bytes;
    this.#at = at;
    if (u8(bytes, at + geneve.versionAndLength) >>> 6 !== 0) return "tunnel_bad_header";
    if (this.payloadAt > end) return "tunnel_truncated";
    if ((u8(bytes, at + geneve.flags) & controlFlag) !== 0) return "tunnel_control";
    const options = this.options();
    while (options.next()) if (options.critical) return "tunnel_critical_option";
    return options.malformed ? "tunnel_bad_option" : undefined;
  }

  /** EtherType of what follows; 0x6558 for an Ethernet frame. */
  get protocol(): number {
    return u16be(this.#bytes, this.#at + geneve.protocol);
  }

  /** 24 bits. */
  get vni(): number {
    return u32be(this.#bytes, this.#at + geneve.vni) >>> 8;
  }

  get payloadAt(): number {
    const words = u8(this.#bytes, this.#at + geneve.versionAndLength) & 63;
    return this.#at + geneve.headerBytes + words * 4;
  }

  /** A walk over the options, from the first. Valid until this view is asked again or bound. */
  options(): GeneveOptions {
    this.#options.bind(this.#bytes, this.#at + geneve.headerBytes, this.payloadAt);
    return this.#options;
  }
}

/**
 * Writes a header with these options at `at`; returns its length. The options are as they stand on the
 * wire: a multiple of 4 bytes, at most 252.
 */
export function writeGeneve(
  bytes: Uint8Array,
  at: number,
  vni: number,
  protocol: number,
  options: Uint8Array,
): number {
  putU16be(bytes, at, (options.length / 4) << 8);
  setGeneveProtocol(bytes, at, protocol);
  putU32be(bytes, at + geneve.vni, vni << 8);
  bytes.set(options, at + geneve.headerBytes);
  return geneve.headerBytes + options.length;
}

/** Says of a header that is there already what follows it. */
export function setGeneveProtocol(bytes: Uint8Array, at: number, protocol: number): void {
  putU16be(bytes, at + geneve.protocol, protocol);
}
