import { errno } from "../common/errno.ts";
import { type Network, type Route, RouteTable } from "../engine/network.ts";
import { FrameView } from "../packet/frame-view.ts";
import { ipProtocols } from "../packet/ip-protocol.ts";
import type { Arena } from "../runtime/arena.ts";
import { SLOT_DATA, SLOT_DATA_END } from "../runtime/wasm/layout.ts";
import type { ProxyPlan } from "./plan.ts";

/** A copy of a datagram that a filter has sent to a port, besides what becomes of the packet itself. */
export interface DatagramCopy {
  /** The packet's slot. */
  readonly slot: number;
  readonly ifindex: number;
  readonly payload: Buffer;
}

export const noCopies: readonly DatagramCopy[] = [];

/**
 * What the filters of one worker know of the network, and the copies they send: bpf_clone_redirect
 * leaves them here, and the listener whose packet it is takes them once its chain has ended.
 */
export class WorkerNetwork implements Network {
  readonly #arena: Arena;
  readonly #routes: RouteTable;
  readonly #devices: ReadonlySet<number>;
  readonly #ports: ReadonlySet<number>;
  readonly #view = new FrameView();
  /** A shadow runs: the copies that it sends go nowhere. */
  muted = false;
  #allowed = false;
  #copies: DatagramCopy[] | undefined;

  constructor(plan: Pick<ProxyPlan, "listeners" | "ports" | "routes">, arena: Arena) {
    this.#arena = arena;
    this.#routes = new RouteTable(plan.routes ?? []);
    this.#ports = new Set(plan.ports.map(({ ifindex }) => ifindex));
    this.#devices = new Set([...this.#ports, ...plan.listeners.map(({ ifindex }) => ifindex)]);
  }

  hasDevice(ifindex: number): boolean {
    return this.#devices.has(ifindex);
  }

  routeTo(bytes: Uint8Array, at: number, family: 4 | 6, by?: number): Route | undefined {
    return this.#routes.find(bytes, at, family, by);
  }

  /** From here to `takeCopies` datagrams can be copied: the packet is one of a client. */
  allowCopies(): void {
    this.#copies = undefined;
    this.#allowed = true;
  }

  takeCopies(): readonly DatagramCopy[] {
    const copies = this.#copies;
    this.#copies = undefined;
    this.#allowed = false;
    return copies ?? noCopies;
  }

  /** A stream's bytes have one way to go, and replies only the client's: of those there are no copies. */
  sendCopy(slot: number, ifindex: number): number {
    if (!this.#allowed) return -errno.EOPNOTSUPP;
    if (!this.#ports.has(ifindex)) return -errno.EINVAL;
    const arena = this.#arena;
    const { bytes, words } = arena;
    const view = this.#view;
    const problem = view.bind(
      bytes,
      words[(slot + SLOT_DATA) >> 2]!,
      words[(slot + SLOT_DATA_END) >> 2]!,
    );
    if (problem !== undefined || !view.routable || view.protocol !== ipProtocols.udp)
      return -errno.EINVAL;
    if (this.muted) return 0;
    this.#copies ??= [];
    this.#copies.push({
      slot,
      ifindex,
      payload: arena.copyOut(view.payloadOffset, view.payloadEnd),
    });
    return 0;
  }
}
