import { type DropReason, dropReasons } from "../common/drop-reason.ts";
import type { Fault } from "../engine/engine.ts";
import type { ProgramType } from "../object/object-spec.ts";
import { REDIRECT_TO_WORKER } from "../runtime/wasm/layout.ts";
import type { MatchVerdicts, Verdict } from "./verdict.ts";

/** Passed whole. */
export const passed: Verdict = { kind: "pass" };
export const filterDropped: Verdict = { kind: "drop", reason: "filter_drop" };
const filterAborted: Verdict = { kind: "aborted", reason: "filter_aborted" };
const budgetExceeded: Verdict = { kind: "aborted", reason: "budget_exceeded" };
const misalignedAtomic: Verdict = { kind: "aborted", reason: "misaligned_atomic" };
const answered: Verdict = { kind: "tx" };

/**
 * The verdict for a program's return value: r0's low word as u32, the ifindex its redirect helper
 * named (0: none), and the length in bytes of the frame as the program left it.
 */
export type VerdictOf = (returned: number, ifindex: number, frameBytes: number) => Verdict;

/** Program types that judge packets. `raw` programs compute; their result is no verdict. */
export type JudgingType = Exclude<ProgramType, "raw">;

/** What return values mean, by program type. */
export const verdictOf: Readonly<Record<JudgingType, VerdictOf>> = {
  /** enum xdp_action, linux/bpf.h. What is not in it counts as ABORTED, as in the kernel. */
  xdp: (returned, ifindex) => {
    switch (returned) {
      case 1:
        return filterDropped;
      case 2:
        return passed;
      case 3:
        return answered;
      case 4:
        // To another CPU's stack, in the kernel: the packet goes on where it was going.
        return ifindex === REDIRECT_TO_WORKER ? passed : redirectTo(ifindex);
      default:
        return filterAborted;
    }
  },
  /** Direct action: net/sched/cls_bpf.c, cls_bpf_exec_opcode. SHOT 2, STOLEN 4, TRAP 8, REDIRECT 7. */
  tc: (returned, ifindex) => {
    switch (returned) {
      case 2:
      case 4:
      case 8:
        return filterDropped;
      case 7:
        return redirectTo(ifindex);
      default:
        return passed;
    }
  },
  /** include/net/tcx.h, tcx_action_code: TCX_DROP 2, TCX_REDIRECT 7; anything else goes on. */
  tcx: dropOrRedirect,
  /** net/sched/act_bpf.c: of the codes that end a packet it lets only SHOT and REDIRECT through. */
  action: dropOrRedirect,
  /** Bytes to keep; 0 keeps nothing. net/core/filter.c, sk_filter_trim_cap. */
  socket: (returned, _ifindex, frameBytes) => {
    if (returned === 0) return filterDropped;
    return returned < frameBytes ? cutTo(returned) : passed;
  },
  /** Bit 0 allows; egress programs also signal congestion in bit 1. linux/bpf-cgroup.h. */
  cgroup_skb: (returned) => ((returned & 1) === 1 ? passed : filterDropped),
};

/** The verdicts of an expression. */
export function matchVerdictOf({ onMatch, onMiss }: MatchVerdicts): VerdictOf {
  const match = onMatch === "pass" ? passed : filterDropped;
  const miss = onMiss === "pass" ? passed : filterDropped;
  return (returned) => (returned === 0 ? miss : match);
}

function dropOrRedirect(returned: number, ifindex: number): Verdict {
  if (returned === 2) return filterDropped;
  return returned === 7 ? redirectTo(ifindex) : passed;
}

/**
 * Verdicts that carry a number are made once a number and kept. A filter chooses the numbers, so
 * what is kept is bounded: a filter that uses more gets new objects, not more memory.
 */
const keptVerdicts = 4096;

function keeping(make: (n: number) => Verdict): (n: number) => Verdict {
  const kept = new Map<number, Verdict>();
  return (n) => {
    let verdict = kept.get(n);
    if (verdict === undefined) {
      verdict = make(n);
      if (kept.size === keptVerdicts) kept.clear();
      kept.set(n, verdict);
    }
    return verdict;
  };
}

const redirectTo = keeping((ifindex) => ({ kind: "redirect", ifindex }));

/** Passed, the frame cut to `bytes` from its Ethernet header on. */
export const cutTo = keeping((bytes) => ({ kind: "pass", cutTo: bytes }));

const drops = new Map<DropReason, Verdict & { kind: "drop" }>(
  dropReasons.map((reason) => [reason, { kind: "drop", reason }]),
);

/**
 * Of a run that ended before its program's `exit`. Of a verified program these two causes are all
 * there are; others are faults of the engine's checks, and counted as what the program returned, 0.
 */
export function verdictOfFault({ code }: Fault): Verdict {
  if (code === "budget_exceeded") return budgetExceeded;
  return code === "misaligned_atomic" ? misalignedAtomic : filterAborted;
}

/** What the proxy itself makes of a packet that it cannot carry on. */
export function dropFor(reason: DropReason): Verdict & { kind: "drop" } {
  return drops.get(reason)!;
}
