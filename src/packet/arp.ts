import { u8, u16be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { etherTypes } from "./ethernet.ts";

/** Byte offsets. RFC 826. The four addresses follow, as long as the two length fields say. */
const arp = {
  hardwareType: 0,
  protocolType: 2,
  hardwareLength: 4,
  protocolLength: 5,
  operation: 6,
  addresses: 8,
} as const;

export const arpOperations = { request: 1, reply: 2 } as const;

/** An ARP packet of any hardware and protocol. Bind, then read. */
export class ArpView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < arp.addresses) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    const addresses = 2 * (this.hardwareLength + this.protocolLength);
    if (end - at < arp.addresses + addresses) return "frame_truncated";
    const ipv4OnEthernet = this.hardwareType === 1 && this.protocolType === etherTypes.ipv4;
    if (ipv4OnEthernet && (this.hardwareLength !== 6 || this.protocolLength !== 4))
      return "frame_bad_header";
    return undefined;
  }

  /** 1 is Ethernet. */
  get hardwareType(): number {
    return u16be(this.#bytes, this.#at + arp.hardwareType);
  }

  /** An EtherType. */
  get protocolType(): number {
    return u16be(this.#bytes, this.#at + arp.protocolType);
  }

  /** Bytes of a hardware address. */
  get hardwareLength(): number {
    return u8(this.#bytes, this.#at + arp.hardwareLength);
  }

  /** Bytes of a protocol address. */
  get protocolLength(): number {
    return u8(this.#bytes, this.#at + arp.protocolLength);
  }

  get operation(): number {
    return u16be(this.#bytes, this.#at + arp.operation);
  }

  get senderHardwareAt(): number {
    return this.#at + arp.addresses;
  }

  get senderProtocolAt(): number {
    return this.senderHardwareAt + this.hardwareLength;
  }

  get targetHardwareAt(): number {
    return this.senderProtocolAt + this.protocolLength;
  }

  get targetProtocolAt(): number {
    return this.targetHardwareAt + this.hardwareLength;
  }
}
