import type { DropReason } from "../../common/drop-reason.ts";
import { etherTypes } from "../../packet/ethernet.ts";
import { GeneveView, setGeneveProtocol, writeGeneve } from "../../packet/geneve.ts";
import type { TunnelProtocol } from "../../packet/tunnel-header.ts";
import { VxlanView, writeVxlan } from "../../packet/vxlan.ts";

/** How a tunnel wraps frames: the header that every datagram begins with. Bind, then read. */
export interface Encapsulation {
  readonly protocol: TunnelProtocol;
  /** Reads the header of a datagram of `end` bytes; the reason where it must be dropped. */
  bind(datagram: Uint8Array, end: number): DropReason | undefined;
  readonly vni: number;
  /** What the header says that it carries: an Ethernet frame (0x6558), IPv4 or IPv6. */
  readonly etherType: number;
  /** Where the frame or IP packet begins. */
  readonly payloadAt: number;
  /** Bytes of a header that `write` writes, with options of `optionsBytes`. */
  headerBytes(optionsBytes: number): number;
  /**
   * Writes a header; the caller knows that it can carry `etherType`. `options` are a multiple of 4
   * bytes, and left out by a tunnel that has none.
   */
  write(bytes: Uint8Array, vni: number, etherType: number, options: Uint8Array): void;
  /** Whether a header can say that `etherType` follows. */
  carries(etherType: number): boolean;
  /** Changes what a header says that it carries. */
  setEtherType(bytes: Uint8Array, etherType: number): void;
}

/** Of VXLAN, and of GENEVE without options. */
const headerBytes = 8;

class Vxlan implements Encapsulation {
  readonly protocol = "vxlan";
  readonly etherType = etherTypes.ethernetBridging;
  readonly #view = new VxlanView();

  bind(datagram: Uint8Array, end: number): DropReason | undefined {
    return this.#view.bind(datagram, 0, end);
  }

  get vni(): number {
    return this.#view.vni;
  }

  get payloadAt(): number {
    return this.#view.payloadAt;
  }

  headerBytes(): number {
    return headerBytes;
  }

  write(bytes: Uint8Array, vni: number): void {
    writeVxlan(bytes, 0, vni);
  }

  carries(etherType: number): boolean {
    return etherType === this.etherType;
  }

  setEtherType(): void {}
}

class Geneve implements Encapsulation {
  readonly protocol = "geneve";
  readonly #view = new GeneveView();

  bind(datagram: Uint8Array, end: number): DropReason | undefined {
    const bad = this.#view.bind(datagram, 0, end);
    if (bad !== undefined) return bad;
    return this.carries(this.#view.protocol) ? undefined : "tunnel_unknown_protocol";
  }

  get vni(): number {
    return this.#view.vni;
  }

  get etherType(): number {
    return this.#view.protocol;
  }

  get payloadAt(): number {
    return this.#view.payloadAt;
  }

  headerBytes(optionsBytes: number): number {
    return headerBytes + optionsBytes;
  }

  write(bytes: Uint8Array, vni: number, etherType: number, options: Uint8Array): void {
    writeGeneve(bytes, 0, vni, etherType, options);
  }

  carries(etherType: number): boolean {
    return etherType === etherTypes.ethernetBridging || isIp(etherType);
  }

  setEtherType(bytes: Uint8Array, etherType: number): void {
    setGeneveProtocol(bytes, 0, etherType);
  }
}

export function encapsulationOf(protocol: TunnelProtocol): Encapsulation {
  return protocol === "vxlan" ? new Vxlan() : new Geneve();
}

export function isIp(
  etherType: number,
): etherType is typeof etherTypes.ipv4 | typeof etherTypes.ipv6 {
  return etherType === etherTypes.ipv4 || etherType === etherTypes.ipv6;
}
