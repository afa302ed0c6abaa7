import type { CaptureOrder } from "../filter/capture-tap.ts";
import type { SessionInfo } from "./session-info.ts";

/** What the main thread may ask a running worker. Each is answered within one turn of its loop. */
export type WorkerQuestion =
  /** Whether its event loop turns. */
  | { readonly kind: "ping" }
  /** The next at most `limit` sessions of a walk; the first ones of a new walk without `walk`. */
  | { readonly kind: "sessions"; readonly walk?: number; readonly limit: number }
  | { readonly kind: "end_sessions"; readonly walk: number }
  | { readonly kind: "start_capture"; readonly order: CaptureOrder }
  | { readonly kind: "stop_capture"; readonly id: number };

export type WorkerAnswer =
  /** `walk` undefined: there are no more. */
  | {
      readonly kind: "sessions";
      readonly walk: number | undefined;
      readonly sessions: readonly SessionInfo[];
    }
  | { readonly kind: "done" };
