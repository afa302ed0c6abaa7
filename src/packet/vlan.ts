import { u16be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { etherTypes } from "./ethernet.ts";

/** Byte offsets from the end of the TPID. IEEE 802.1Q §9.6. */
const vlan = { control: 0, etherType: 2, tagBytes: 4 } as const;

/** Whether an EtherType announces a tag: 802.1Q or 802.1ad. */
export function isVlanTag(etherType: number): boolean {
  return etherType === etherTypes.vlan || etherType === etherTypes.serviceVlan;
}

/** One VLAN tag; `at` is the byte after the TPID that announced it. Tags nest: bind again at `payloadAt`. */
export class VlanView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < vlan.tagBytes) return "frame_truncated";
    this.#bytes = bytes;
    this.#at = at;
    return undefined;
  }

  /** 0 to 7. */
  get priority(): number {
    return u16be(this.#bytes, this.#at + vlan.control) >>> 13;
  }

  get dropEligible(): boolean {
    return (u16be(this.#bytes, this.#at + vlan.control) & 0x1000) !== 0;
  }

  /** 0 to 4,095; 0 is a priority tag without a VLAN. */
  get identifier(): number {
    return u16be(this.#bytes, this.#at + vlan.control) & 0x0fff;
  }

  /** Of what follows the tag: another tag's TPID where tags nest. */
  get etherType(): number {
    return u16be(this.#bytes, this.#at + vlan.etherType);
  }

  get payloadAt(): number {
    return this.#at + vlan.tagBytes;
  }
}
