import type { Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { MapAccess } from "../maps/map-access.ts";
import type { EventPump } from "../proxy/event-pump.ts";
import type { WorkerAnswer, WorkerQuestion } from "../proxy/questions.ts";
import type { Inventory } from "./inventory.ts";

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** What the control API does its work with: the running proxy, as its owner hands it over. */
export interface Control {
  /** Weir's own. */
  readonly version: string;
  /** What runs now: another one after a reload. */
  readonly inventory: () => Inventory;
  readonly ask: (
    worker: number,
    question: WorkerQuestion,
  ) => Promise<Result<WorkerAnswer, UserError>>;
  /** What filters write for user space to read. */
  readonly events: Pick<EventPump, "sources" | "lost" | "subscribe">;
  /** Maps that are kept across restarts: by the config, and by `pin` until `unpin`. */
  readonly pins: {
    /** Why it cannot be kept. */
    pin(map: KeptMap): Promise<UserError | undefined>;
    unpin(map: KeptMap): Promise<UserError | undefined>;
    keeps(file: string): boolean;
  };
  readonly logLevel: { get(): LogLevel; set(level: LogLevel): void };
  /** Something an operator did that others should see in the log. */
  readonly onChange: (what: string, fields: Readonly<Record<string, unknown>>) => void;
  /** While a reload moves what maps hold, and what is written could be lost: resolves when it is over. */
  readonly mapsMoving: () => Promise<void> | undefined;
  /** Reads the config again and puts it in force, or says all that is wrong with it. */
  readonly reload: () => Promise<Result<ReloadSummary, readonly UserError[]>>;
  /**
   * Gives a filter another object, all or nothing as a reload; undefined: again what the config names.
   */
  readonly swap: (
    filter: string,
    object: SwapObject | undefined,
  ) => Promise<Result<ReloadSummary, readonly UserError[]>>;
}

/** A map, and the file that keeps it. */
export interface KeptMap {
  readonly map: MapAccess;
  readonly file: string;
}

/** An object file and which program of it; neither section nor program: the one the config names. */
export interface SwapObject {
  /** Its absolute path. */
  readonly object: string;
  readonly section?: string;
  readonly program?: string;
}

/** What a reload did, by name. */
export interface ReloadSummary {
  readonly listeners: Readonly<Record<"kept" | "opened" | "closed", readonly string[]>>;
  /** `filter.map`; data sections are not listed. */
  readonly maps: Readonly<Record<"kept" | "grown" | "fresh", readonly string[]>>;
  /** Filters that are live by promotion, though the config says `shadow: true`. */
  readonly promoted: readonly string[];
  /** Filters that run another object than the config names. */
  readonly swapped: readonly string[];
  /** What of the config is done differently than it says, where that is new. */
  readonly warnings: readonly string[];
  readonly durationMs: number;
}
