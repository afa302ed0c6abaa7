import type { DropReason } from "../common/drop-reason.ts";

/** Label values of `verdict`, in the order counters keep them. */
export const verdictKinds = ["pass", "drop", "tx", "redirect", "aborted"] as const;
/** What a filter may decide about a packet. "aborted" is a drop that is counted apart. */
export type VerdictKind = (typeof verdictKinds)[number];

export const directions = ["ingress", "egress"] as const;
export type Direction = (typeof directions)[number];

/** `filter_aborted` is the program's own, the others are why its run ended before it came to that. */
export type AbortReason = "filter_aborted" | "budget_exceeded" | "misaligned_atomic";

/**
 * What is to become of a packet. Verdicts are data, made once and shared: judging a packet
 * allocates nothing. `aborted` is a drop counted apart.
 */
export type Verdict =
  | {
      readonly kind: "pass" /** Socket filters cut the frame to this many bytes. */;
      readonly cutTo?: number;
    }
  | { readonly kind: "drop"; readonly reason: DropReason }
  | { readonly kind: "aborted"; readonly reason: AbortReason }
  | { readonly kind: "tx" }
  | {
      readonly kind: "redirect";
      readonly ifindex: number;
      /** To all of these, in place of `ifindex`, which is 0. */
      readonly broadcast?: Broadcast;
    };

/** The ports that a packet goes to, a copy each: those of a devmap, as it was then. */
export interface Broadcast {
  /** Numbers of ports, `maxBroadcastPorts` at most. */
  readonly ports: readonly number[];
  /** The map had more. */
  readonly isCut: boolean;
}

/** What an expression's answers mean: its program returns 0 for a miss, anything else for a match. */
export interface MatchVerdicts {
  readonly onMatch: "pass" | "drop";
  readonly onMiss: "pass" | "drop";
}
