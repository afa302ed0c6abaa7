import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { CaptureTap } from "../filter/capture-tap.ts";
import type { Chain } from "../filter/chain.ts";
import type { Counters } from "../filter/counters.ts";
import type { Arena } from "../runtime/arena.ts";
import type { Destination, Destinations } from "./destinations.ts";
import type { PacketSlots } from "./packet-slots.ts";
import type { Address, ListenerPlan } from "./plan.ts";
import type { SessionInfo } from "./session-info.ts";
import type { TurnClock } from "./turn-clock.ts";

/** What a listener is made of on one worker. */
export interface ListenerParts {
  readonly plan: ListenerPlan;
  /** Its number among the plan's listeners, which is its place in the counters. */
  readonly index: number;
  readonly ingress: Chain;
  readonly egress: Chain;
  readonly destinations: Destinations;
  readonly counters: Counters;
  readonly arena: Arena;
  readonly slots: PacketSlots;
  readonly clock: TurnClock;
  readonly cpu: number;
  readonly captures: CaptureTap;
  /** This worker's share of `plan.maxSessions`. */
  readonly maxSessions: number;
  /** A destination answered, or could not be reached. */
  readonly onHeard: (destination: Destination, up: boolean) => void;
  /** Other workers bind the same address. */
  readonly reusePort: boolean;
}

/** A listener on one worker, whatever its protocol. */
export interface Listener {
  /** Binds; the address that it got, or why it got none. */
  listen(): Promise<Result<Address, UserError>>;
  /** What sessions there are, asked for over many turns: see `SessionTable.walk`. */
  sessions(): IterableIterator<SessionInfo>;
  /** Takes nothing new, lets streams end for at most `drainTimeoutMs`, then closes everything. */
  stop(drainTimeoutMs: number): Promise<void>;
}
