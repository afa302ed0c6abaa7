import { putU32be, u8, u32be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";

/** Byte offsets. RFC 7348 §5. */
const vxlan = { flags: 0, vni: 4, headerBytes: 8 } as const;

/** The header names a VNI: must be set. */
const vniFlag = 0x08;
/** VXLAN-GPE's P bit (draft-ietf-nvo3-vxlan-gpe): what follows need not be Ethernet. */
const nextProtocolFlag = 0x04;

/**
 * A VXLAN header. Bind, then read.
 *
 * Reserved bits are not looked at (RFC 7348 §5), except the one by which VXLAN-GPE says that no
 * Ethernet frame follows.
 */
export class VxlanView {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  bind(bytes: Uint8Array, at: number, end: number): DropReason | undefined {
    if (end - at < vxlan.headerBytes) return "tunnel_truncated";
    this.#bytes = bytes;
    this.#at = at;
    const flags = u8(bytes, at + vxlan.flags);
    return (flags & (vniFlag | nextProtocolFlag)) === vniFlag ? undefined : "tunnel_bad_header";
  }

  /** 24 bits. */
  get vni(): number {
    return u32be(this.#bytes, this.#at + vxlan.vni) >>> 8;
  }

  get payloadAt(): number {
    return this.#at + vxlan.headerBytes;
  }
}

/** Writes a header for `vni` at `at`; returns its length. */
export function writeVxlan(bytes: Uint8Array, at: number, vni: number): number {
  putU32be(bytes, at, vniFlag << 24);
  putU32be(bytes, at + vxlan.vni, vni << 8);
  return vxlan.headerBytes;
}
