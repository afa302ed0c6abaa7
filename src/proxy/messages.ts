import type { FaultReport } from "../filter/fault-reporter.ts";
import type { Address, ProxyPlan } from "./plan.ts";
import type { WorkerAnswer, WorkerQuestion } from "./questions.ts";

/** What a worker is started with. */
export interface WorkerStart {
  readonly plan: ProxyPlan;
  /** Its place in `plan.workers`. */
  readonly worker: number;
}

/** A `UserError` between threads. */
export interface ErrorMessage {
  readonly code: string;
  readonly where: string;
  readonly what: string;
  readonly fix: string | undefined;
}

/** From a worker to the main thread. */
export type WorkerMessage =
  /** All listeners are bound: their addresses, in the plan's order. */
  | { readonly kind: "ready"; readonly bound: readonly Address[] }
  /** It cannot start; it ends by itself. */
  | { readonly kind: "failed"; readonly error: ErrorMessage }
  | { readonly kind: "fault"; readonly report: FaultReport }
  /** A line of `bpf_trace_printk`. */
  | { readonly kind: "trace"; readonly line: string }
  /** To the question of that number. */
  | { readonly kind: "answer"; readonly number: number; readonly answer: WorkerAnswer }
  /** After `stop`: everything is closed. It ends by itself. */
  | { readonly kind: "stopped" };

/** From the main thread to a worker. */
export type ControlMessage =
  | { readonly kind: "stop"; readonly drainTimeoutMs: number }
  | { readonly kind: "question"; readonly number: number; readonly question: WorkerQuestion };
