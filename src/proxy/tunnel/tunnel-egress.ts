import { copyBytes } from "../../common/bytes.ts";
import type { DropReason } from "../../common/drop-reason.ts";
import type { Result } from "../../common/result.ts";
import type { TunnelRoute } from "../../engine/tunnel-info.ts";
import type { TunnelProtocol } from "../../packet/tunnel-header.ts";
import type { TunnelPlan } from "../plan.ts";
import type { SendingSockets } from "../sending-socket.ts";
import type { Arrival } from "./arrival.ts";
import { type Encapsulation, encapsulationOf } from "./encapsulation.ts";
import { FlowSockets } from "./flow-sockets.ts";
import type { TunnelLanes } from "./lanes.ts";
import type { PeerTable } from "./peers.ts";

const udpHeaderBytes = 8;
/** Of the outer IP header, by the family of the peer. */
const ipHeaderBytes = { 4: 20, 6: 40 } as const;

/** Both protocols have 24 bits for a network's number; a key of more is cut, as the kernel does it. */
const vniMask = 0xff_ffff;
const noOptions = new Uint8Array(0);

/** What came of handing over a frame: nothing, or why it was dropped. */
export type Delivered = DropReason | undefined;

/** The sending side of a bridge: frames to its peers, whichever tunnel they came from. */
export class TunnelEgress {
  #plan: TunnelPlan;
  #peers: PeerTable;
  #lanes: TunnelLanes;
  /** Longest datagram that goes to every peer, tunnel header and all. */
  room = 0;
  readonly #sockets: FlowSockets;
  /** Writes headers only: what was bound is the listener's. */
  readonly #encapsulation: Encapsulation;
  /** Bytes by which the last frame that was dropped as `mtu_exceeded` was too long. */
  excess = 0;

  /** `onLost`: a datagram that was counted as sent went nowhere. */
  constructor(
    protocol: TunnelProtocol,
    plan: TunnelPlan,
    peers: PeerTable,
    lanes: TunnelLanes,
    sockets: SendingSockets,
    onLost: (reason: DropReason) => void,
  ) {
    this.#plan = plan;
    this.#peers = peers;
    this.#lanes = lanes;
    this.#encapsulation = encapsulationOf(protocol);
    this.#sockets = new FlowSockets(sockets, onLost);
    this.room = this.#roomToAll();
  }

  open(listen: string): Promise<Result<undefined, NodeJS.ErrnoException>> {
    return this.#sockets.open(new Set(this.#peers.all.map((peer) => peer.family)), listen);
  }

  /** Sends as another plan says, whose peers are of families that it has sockets for. */
  follow(plan: TunnelPlan, peers: PeerTable, lanes: TunnelLanes): void {
    this.#plan = plan;
    this.#peers = peers;
    this.#lanes = lanes;
    this.room = this.#roomToAll();
  }

  close(): void {
    this.#sockets.close();
  }

  /**
   * Sends what a filter made of `arrival` to a peer. The frame keeps its network where this tunnel
   * takes that; else it goes into the tunnel's first. `route` is what the filter said itself of the
   * network, and of which of this tunnel's peers.
   */
  deliver(to: number, datagram: Uint8Array, arrival: Arrival, route?: TunnelRoute): Delivered {
    const peer = route?.peer === undefined ? this.#peers.all[to]! : this.#peers.at(route.peer, to);
    if (peer === undefined) return "destination_not_allowed";
    const vni = route === undefined ? this.#vniFor(arrival.vni) : route.vni & vniMask;
    if (!this.#takes(vni)) return "tunnel_unknown_vni";
    const own = this.#translated(datagram, arrival, vni, route?.options);
    if (own === undefined) return "not_routable";
    const excess = own.length - this.#roomTo(peer.family);
    if (excess > 0) {
      this.excess = excess;
      return "mtu_exceeded";
    }
    const frameBytes = datagram.length - arrival.payloadAt;
    return this.#sockets.send(peer, arrival.hash, own, frameBytes, this.#lanes.of(peer, vni));
  }

  #roomToAll(): number {
    return this.#roomTo(this.#peers.all.some(({ family }) => family === 6) ? 6 : 4);
  }

  #roomTo(family: 4 | 6): number {
    return this.#plan.mtu - ipHeaderBytes[family] - udpHeaderBytes;
  }

  #vniFor(vni: number): number {
    return this.#takes(vni) ? vni : this.#plan.vnis[0]!;
  }

  #takes(vni: number): boolean {
    const { vnis } = this.#plan;
    return vnis.length === 0 || vnis.includes(vni);
  }

  /**
   * The datagram under this tunnel's header, which has the given options and else, where it is another
   * than it came under, none; undefined where that cannot carry it.
   */
  #translated(
    datagram: Uint8Array,
    { protocol, vni: before, etherType, payloadAt }: Arrival,
    vni: number,
    options: Uint8Array | undefined,
  ): Uint8Array | undefined {
    const encapsulation = this.#encapsulation;
    const isSame = protocol === encapsulation.protocol && vni === before;
    if (isSame && options === undefined) return datagram;
    if (!encapsulation.carries(etherType)) return undefined;
    const headerBytes = encapsulation.headerBytes(options?.length ?? 0);
    const own = Buffer.allocUnsafe(headerBytes + datagram.length - payloadAt);
    encapsulation.write(own, vni, etherType, options ?? noOptions);
    copyBytes(datagram, payloadAt, datagram.length, own, headerBytes);
    return own;
  }
}
