import type { DropReason } from "../common/drop-reason.ts";
import type { Direction, Verdict, VerdictKind } from "../filter/verdict.ts";
import {
  type AccessLog,
  type Client,
  clientText,
  type EndReason,
  type Parties,
} from "./access-log.ts";
import type { Destination } from "./destinations.ts";
import { formatEndpoint } from "./endpoint.ts";
import type { ListenerPlan } from "./plan.ts";
import type { Forwarded, PacketTally } from "./tally.ts";

class Sum {
  packets: Partial<Record<VerdictKind, number>> = {};
  bytes = 0;

  add(kind: VerdictKind, packets: number, bytes: number): void {
    this.packets[kind] = (this.packets[kind] ?? 0) + packets;
    this.bytes += bytes;
  }
}

/** The tallies of a session, and the log's account of it if there is one. */
export interface SessionTallies {
  readonly received: PacketTally;
  readonly replied: PacketTally;
  readonly ledger: SessionLedger | undefined;
}

/**
 * What one session did, for the access log. Where nothing of it is logged there is no ledger, and
 * its packets are counted by the listener's tallies and nobody else. Whether its start and end are
 * logged is decided when it begins: a reload that changes the log leaves no start without an end.
 */
export class SessionLedger {
  readonly #log: AccessLog;
  readonly #listener: Pick<ListenerPlan, "name" | "protocol">;
  readonly #client: Client;
  /** Undefined: only its drops are logged. */
  readonly #session: string | undefined;
  readonly #startMs: number;
  readonly #sums = { ingress: new Sum(), egress: new Sum() };
  #upstream: string | undefined;
  #lastDrop: DropReason | undefined;
  #reason: EndReason | undefined;

  private constructor(
    log: AccessLog,
    session: string | undefined,
    listener: Pick<ListenerPlan, "name" | "protocol">,
    client: Client,
  ) {
    this.#log = log;
    this.#session = session;
    this.#listener = listener;
    this.#client = client;
    this.#startMs = log.nowMs();
  }

  /** The tallies of a session that begins: the listener's own where it is not logged. */
  static begin(
    log: AccessLog,
    listener: Pick<ListenerPlan, "name" | "protocol">,
    client: Client,
    received: PacketTally,
    replied: PacketTally,
  ): SessionTallies {
    const session = log.choose();
    if (session === undefined && !log.logsDrops) return { received, replied, ledger: undefined };
    return new SessionLedger(log, session, listener, client).#over(received, replied);
  }

  /**
   * The tallies from now on of a session that is open as a reload comes into force: with its drops, where
   * those are logged now. Its start and end are logged or not as when it began.
   */
  static goOn(
    log: AccessLog,
    listener: Pick<ListenerPlan, "name" | "protocol">,
    client: Client,
    destination: Destination | undefined,
    tallies: SessionTallies,
  ): SessionTallies {
    if (!log.logsDrops || tallies.ledger !== undefined) return tallies;
    const ledger = new SessionLedger(log, undefined, listener, client);
    if (destination !== undefined) ledger.started(destination);
    return ledger.#over(tallies.received, tallies.replied);
  }

  /** Logs a dropped packet of a client without a session, if drops are logged. */
  static dropOf(
    log: AccessLog,
    listener: Pick<ListenerPlan, "name" | "protocol">,
    client: Client,
    reason: DropReason,
  ): void {
    if (!log.logsDrops) return;
    new SessionLedger(log, undefined, listener, client).dropped("ingress", reason);
  }

  #over(received: PacketTally, replied: PacketTally): SessionTallies {
    return {
      received: new LoggedTally(received, "ingress", this),
      replied: new LoggedTally(replied, "egress", this),
      ledger: this,
    };
  }

  /** The session goes to `destination`. */
  started({ host, port }: Destination): void {
    this.#upstream = formatEndpoint(host, port);
    if (this.#session !== undefined)
      this.#log.tell({ kind: "start", session: this.#session, ...this.#parties() });
  }

  /** It is about to end for `reason`: what is dropped on the way is not why. The first reason holds. */
  willEnd(reason: EndReason): void {
    this.#reason ??= reason;
  }

  /** It has ended: for the reason told before, else because a packet was dropped, else `otherwise`. */
  ended(otherwise: EndReason): void {
    if (this.#session === undefined) return;
    const reason = this.#reason ?? this.#lastDrop ?? otherwise;
    const { ingress, egress } = this.#sums;
    this.#log.tell({
      kind: "end",
      session: this.#session,
      ...this.#parties(),
      reason,
      durationMs: Math.round(this.#log.nowMs() - this.#startMs),
      ingress: { packets: ingress.packets, bytes: ingress.bytes },
      egress: { packets: egress.packets, bytes: egress.bytes },
    });
  }

  count(direction: Direction, kind: VerdictKind, packets: number, bytes: number): void {
    this.#sums[direction].add(kind, packets, bytes);
  }

  dropped(direction: Direction, reason: DropReason): void {
    this.#lastDrop = reason;
    if (this.#log.logsDrops)
      this.#log.tell({ kind: "drop", ...this.#parties(), direction, reason });
  }

  #parties(): Parties {
    const { name, protocol } = this.#listener;
    const { via } = this.#client;
    return {
      listener: name,
      protocol,
      client: clientText(this.#client),
      ...(via && { via: clientText(via) }),
      upstream: this.#upstream,
    };
  }
}

/** Counts for the listener, and for one session's account. */
class LoggedTally implements PacketTally {
  readonly #of: PacketTally;
  readonly #direction: Direction;
  readonly #ledger: SessionLedger;

  constructor(of: PacketTally, direction: Direction, ledger: SessionLedger) {
    this.#of = of;
    this.#direction = direction;
    this.#ledger = ledger;
  }

  forwarded(kind: Forwarded, frameBytes: number): void {
    this.#of.forwarded(kind, frameBytes);
    this.#ledger.count(this.#direction, kind, 1, frameBytes);
  }

  passedUnseen(packets: number, frameBytes: number): void {
    this.#of.passedUnseen(packets, frameBytes);
    this.#ledger.count(this.#direction, "pass", packets, frameBytes);
  }

  ended(verdict: Verdict & { reason: DropReason }, frameBytes: number): void {
    this.#of.ended(verdict, frameBytes);
    this.#ledger.count(this.#direction, verdict.kind, 1, frameBytes);
    this.#ledger.dropped(this.#direction, verdict.reason);
  }

  dropped(reason: DropReason, frameBytes: number): void {
    this.#of.dropped(reason, frameBytes);
    this.#ledger.count(this.#direction, "drop", 1, frameBytes);
    this.#ledger.dropped(this.#direction, reason);
  }

  lost(reason: DropReason): void {
    this.#of.lost(reason);
    this.#ledger.dropped(this.#direction, reason);
  }
}
