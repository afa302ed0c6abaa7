import type { CaptureOrder } from "../filter/capture-tap.ts";
import type { FaultReport } from "../filter/fault-reporter.ts";
import type { AccessLine } from "./access-log.ts";
import type { Address, CompiledPlan } from "./plan.ts";
import type { WorkerAnswer, WorkerQuestion } from "./questions.ts";

/** What a worker is started with. */
export interface WorkerStart {
  readonly plan: CompiledPlan;
  /** Its place in `plan.workers`. */
  readonly worker: number;
  /** Captures that are under way: it takes part from its first packet on. */
  readonly captures: readonly CaptureOrder[];
  /** Of a `DescriptorSet`. */
  readonly descriptors: SharedArrayBuffer;
  /** Of its `SessionPorts`. */
  readonly sessionPorts: SharedArrayBuffer;
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
  /** The plan that it was started with, or told to prepare, is ready: the addresses of all listeners, in its order. */
  | { readonly kind: "ready"; readonly bound: readonly Address[] }
  /** It cannot do as the plan says. One that was starting ends by itself. */
  | { readonly kind: "failed"; readonly error: ErrorMessage }
  /** After `abort`: nothing is left of what was prepared. */
  | { readonly kind: "aborted" }
  /** After `commit`: the prepared plan is in force. */
  | { readonly kind: "committed" }
  /** Nothing uses the plan any more that commit number `commit` replaced. */
  | { readonly kind: "released"; readonly commit: number }
  | { readonly kind: "fault"; readonly report: FaultReport }
  /** A line of `bpf_trace_printk`. */
  | { readonly kind: "trace"; readonly line: string }
  /** To the question of that number. */
  | { readonly kind: "answer"; readonly number: number; readonly answer: WorkerAnswer }
  | { readonly kind: "access"; readonly lines: readonly AccessLine[] }
  /** The workers together have more sessions at a listener than they may. */
  | { readonly kind: "crowded"; readonly listener: string }
  /** After `stop`: everything is closed, `broken` streams before they had ended. It ends by itself. */
  | { readonly kind: "stopped"; readonly broken: number };

/** From the main thread to a worker. One of the first three is under way at a time. */
export type ControlMessage =
  | { readonly kind: "prepare"; readonly plan: CompiledPlan }
  | { readonly kind: "abort" }
  /** `commit` is its number. Listeners that are gone let connections end for `drainTimeoutMs`. */
  | { readonly kind: "commit"; readonly commit: number; readonly drainTimeoutMs: number }
  | { readonly kind: "question"; readonly number: number; readonly question: WorkerQuestion }
  /** The receiver has the most sessions at this listener, and is to end one. */
  | { readonly kind: "make_room"; readonly listener: string }
  | { readonly kind: "stop"; readonly drainTimeoutMs: number };
