import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { CaptureTap } from "../filter/capture-tap.ts";
import type { Chain } from "../filter/chain.ts";
import type { Counters } from "../filter/counters.ts";
import type { Arena } from "../runtime/arena.ts";
import type { PacketSums } from "../runtime/map-runtime.ts";
import type { AccessLog } from "./access-log.ts";
import type { BatchSockets } from "./batch-sockets.ts";
import type { Destination, Destinations } from "./destinations.ts";
import type { PacketSlots } from "./packet-slots.ts";
import type { Address, ListenerPlan } from "./plan.ts";
import type { SessionInfo } from "./session-info.ts";
import type { SessionLimit } from "./session-limit.ts";
import type { SessionPorts } from "./session-ports.ts";
import type { SourceTable } from "./source-table.ts";
import type { PeerPorts } from "./tunnel/peer-ports.ts";
import type { TurnClock } from "./turn-clock.ts";
import type { WorkerNetwork } from "./worker-network.ts";

/** What a listener takes from its plan: all of it may be another after a reload. */
export interface ListenerSettings {
  readonly plan: ListenerPlan;
  /** Its number among the plan's listeners, which is its place in the counters. */
  readonly index: number;
  readonly ingress: Chain;
  readonly egress: Chain;
  readonly destinations: Destinations;
  /** The peers of all tunnels of the plan, on this worker. */
  readonly peerPorts: PeerPorts;
  readonly counters: Counters;
  /** What the chains' filters know of the network. */
  readonly network: WorkerNetwork;
  /** `plan.maxSessions`, over all workers. */
  readonly sessionLimit: SessionLimit;
  /** For `plan.maxSessionsPerSource`, which counts on all workers; undefined where nobody else counts. */
  readonly sources: SourceTable | undefined;
}

/** What a listener is made of on one worker. */
export interface ListenerParts extends ListenerSettings {
  readonly arena: Arena;
  readonly sums: PacketSums;
  readonly slots: PacketSlots;
  /** What carries the datagrams of a UDP listener or tunnel with `io: mmsg`. Absent: node:dgram. */
  readonly batches?: BatchSockets | undefined;
  readonly clock: TurnClock;
  readonly cpu: number;
  readonly captures: CaptureTap;
  readonly accessLog: AccessLog;
  readonly sessionPorts: SessionPorts;
  /** A destination answered, or could not be reached. */
  readonly onHeard: (destination: Destination, up: boolean) => void;
  /** Other workers bind the same address. */
  readonly reusePort: boolean;
}

/** A listener on one worker, whatever its protocol. */
export interface Listener {
  /**
   * Binds; the address that it got, or why it got none. Until `open` it answers as if nobody
   * listened: a plan that is not in force yet carries nothing.
   */
  listen(): Promise<Result<Address, UserError>>;
  /** Takes packets from now on. */
  open(): void;
  /** Why it cannot do as another plan says with the sockets that it has; undefined: it can. */
  refusal(settings: ListenerSettings): UserError | undefined;
  /**
   * Does as another plan says from the next packet on, with the same socket: sessions and
   * connections live on. Those of UDP keep the destination address that their frames have.
   */
  follow(settings: ListenerSettings): void;
  /** The workers together have more sessions than they may, and this one the most: one ends. */
  makeRoom(): void;
  /** What sessions there are, asked for over many turns: see `SessionTable.walk`. */
  sessions(): IterableIterator<SessionInfo>;
  /**
   * Takes nothing new and closes what waits for nothing; lets streams end, and answers that are
   * awaited come, for at most `drainTimeoutMs`; then closes everything. A second call may shorten
   * the wait. Resolves to the number of streams that this call broke off, their time being over.
   */
  stop(drainTimeoutMs: number): Promise<number>;
}
