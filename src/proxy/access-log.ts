import type { DropReason } from "../common/drop-reason.ts";
import type { Direction, VerdictKind } from "../filter/verdict.ts";
import { formatEndpoint } from "./endpoint.ts";
import type { AccessLogPlan, ListenerPlan } from "./plan.ts";

/** Why a session ended: a packet's reason to be dropped, or what its sockets did. */
export type EndReason = DropReason | "closed" | "idle" | "client_reset" | "upstream_reset";

/** Who a line is about. `upstream` is an address; undefined where none was reached. */
export interface Parties {
  readonly listener: string;
  readonly protocol: ListenerPlan["protocol"];
  readonly client: string;
  /** The proxy whose PROXY header told the client's address. */
  readonly via?: string;
  readonly upstream: string | undefined;
}

/** Packets of one direction by verdict (those that occurred), and the bytes of their frames. */
export interface DirectionSum {
  readonly packets: Readonly<Partial<Record<VerdictKind, number>>>;
  readonly bytes: number;
}

/** What a worker tells. Plain data: it crosses threads. */
export type AccessLine =
  | (Parties & { readonly kind: "start"; readonly session: string })
  | (Parties & {
      readonly kind: "end";
      readonly session: string;
      readonly reason: EndReason;
      readonly durationMs: number;
      readonly ingress: DirectionSum;
      readonly egress: DirectionSum;
    })
  /** The end of a session whose worker died: nobody knows what it had carried. */
  | (Parties & {
      readonly kind: "lost";
      readonly session: string;
      readonly reason: "worker_died";
      readonly durationMs: number;
    })
  | (Parties & {
      readonly kind: "drop";
      readonly direction: Direction;
      readonly reason: DropReason;
    })
  /** A connection that was reset for its PROXY header, or the lack of one; `client` is its peer. */
  | {
      readonly kind: "refused";
      readonly listener: string;
      readonly protocol: ListenerPlan["protocol"];
      readonly client: string;
      readonly reason: "proxy_header" | "proxy_untrusted";
      /** What was wrong with the header. */
      readonly detail?: string;
    }
  /** Lines that were not told, because there were too many of them. */
  | { readonly kind: "left_out"; readonly of: "sessions" | "drops"; readonly lines: number };

/** Who a client is, as the listener knows it. */
export interface Client {
  readonly address: string;
  readonly port: number;
  /** The peer, where that is a proxy which told whose connection it is. */
  readonly via?: Client | undefined;
}

const dropsPerSecond = 100;
/** Session lines are all told, unless they come faster than any log is read. */
const sessionLinesPerSecond = 10_000;
/** A batch goes out after this, or when it has that many lines. */
const flushAfterMs = 100;
const batchLines = 256;
/** What is left out is told after this, should no line follow that may be told. */
const leftOutAfterMs = 1_000;

const nothing: AccessLogPlan = { sessions: "off", sample: 0, drops: false };

/**
 * A worker's access log: which sessions are logged, and lines on their way to the main thread in
 * batches. What may flood is limited, and what was left out is counted and told.
 */
export class AccessLog {
  /** Begins the numbers of sessions: no other worker's, before or after a restart, are the same. */
  readonly #prefix: string;
  readonly #send: (lines: readonly AccessLine[]) => void;
  readonly #nowMs: () => number;
  readonly #limits: { readonly sessions: LineLimit; readonly drops: LineLimit };
  #plan = nothing;
  #sessions = 0;
  #batch: AccessLine[] = [];
  #timer: NodeJS.Timeout | undefined;
  #leftOutTimer: NodeJS.Timeout | undefined;

  constructor(worker: number, send: (lines: readonly AccessLine[]) => void, nowMs: () => number) {
    this.#prefix = `${worker}-${Date.now().toString(36)}`;
    this.#send = send;
    this.#nowMs = nowMs;
    this.#limits = {
      sessions: new LineLimit(sessionLinesPerSecond),
      drops: new LineLimit(dropsPerSecond),
    };
  }

  /** Logs as this plan says from the next session on. */
  follow(plan: AccessLogPlan | undefined): void {
    this.#plan = plan ?? nothing;
  }

  get logsDrops(): boolean {
    return this.#plan.drops;
  }

  nowMs(): number {
    return this.#nowMs();
  }

  /** A number for a session that is to be logged; undefined for one that is not. */
  choose(): string | undefined {
    const { sessions, sample } = this.#plan;
    if (sessions === "off" || (sessions === "sampled" && Math.random() >= sample)) return undefined;
    return `${this.#prefix}-${++this.#sessions}`;
  }

  /** Logs a connection that got no session, if drops are logged. */
  refused(
    { name, protocol }: Pick<ListenerPlan, "name" | "protocol">,
    peer: Client,
    reason: "proxy_header" | "proxy_untrusted",
    detail?: string,
  ): void {
    if (!this.logsDrops) return;
    this.tell({
      kind: "refused",
      listener: name,
      protocol,
      client: clientText(peer),
      reason,
      ...(detail !== undefined && { detail }),
    });
  }

  tell(line: AccessLine): void {
    const of = line.kind === "drop" || line.kind === "refused" ? "drops" : "sessions";
    if (!this.#limits[of].pass(this.#nowMs())) {
      this.#leftOutTimer ??= setTimeout(() => this.flush(), leftOutAfterMs);
      return;
    }
    this.#addLeftOut(of);
    this.#batch.push(line);
    if (this.#batch.length >= batchLines) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), flushAfterMs);
  }

  /** Sends what waits, and tells what was left out. */
  flush(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#leftOutTimer);
    this.#timer = undefined;
    this.#leftOutTimer = undefined;
    this.#addLeftOut("sessions");
    this.#addLeftOut("drops");
    if (this.#batch.length === 0) return;
    this.#send(this.#batch);
    this.#batch = [];
  }

  #addLeftOut(of: "sessions" | "drops"): void {
    const lines = this.#limits[of].takeLeftOut();
    if (lines > 0) this.#batch.push({ kind: "left_out", of, lines });
  }
}

/** So many lines in each second. */
class LineLimit {
  readonly #perSecond: number;
  #windowMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #leftOut = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Whether one more may pass; else it is left out. */
  pass(nowMs: number): boolean {
    if (nowMs - this.#windowMs >= 1000) {
      this.#windowMs = nowMs;
      this.#lines = 0;
    }
    if (this.#lines < this.#perSecond) {
      this.#lines++;
      return true;
    }
    this.#leftOut++;
    return false;
  }

  /** Lines left out since this was asked last. */
  takeLeftOut(): number {
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}

/** As a person writes it, an IPv4 client of a socket for both families as such. */
export function clientText({ address, port }: Client): string {
  return formatEndpoint(address.startsWith("::ffff:") ? address.slice(7) : address, port);
}
