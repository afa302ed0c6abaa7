import { u16be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";

/** Byte offsets. Ethernet II, IEEE 802.3 §3.2. */
export const ethernet = { destination: 0, source: 6, etherType: 12, headerBytes: 14 } as const;

/** IEEE 802 numbers; below 0x600 the field is a length (802.3 with LLC). */
export const etherTypes = {
  ipv4: 0x0800,
  arp: 0x0806,
  /** 802.1Q customer tag. */
  vlan: 0x8100,
  /** A whole Ethernet frame, in tunnels that carry other things too. */
  ethernetBridging: 0x6558,
  ipv6: 0x86dd,
  /** 802.1ad service tag. */
  serviceVlan: 0x88a8,
} as const;

/** An Ethernet II header. Bind, then read. */
export class EthernetView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < ethernet.headerBytes) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    return undefined;
  }

  get destinationAt(): number {
    return this.#at + ethernet.destination;
  }

  get sourceAt(): number {
    return this.#at + ethernet.source;
  }

  /** Of the outermost header: a tag's TPID where the frame is tagged. */
  get etherType(): number {
    return u16be(this.#bytes, this.#at + ethernet.etherType);
  }

  get payloadAt(): number {
    return this.#at + ethernet.headerBytes;
  }
}
