import { flows } from "./control-flow.ts";

/** What is asked of a program, by slot. */
interface RegisterUse {
  /** One of `flows`, and the slot that a jump or a branch names. */
  readonly flow: Uint8Array;
  readonly target: Int32Array;
  /** Registers that are read and overwritten, one bit each. */
  readonly reads: Uint16Array;
  readonly writes: Uint16Array;
}

/**
 * For each slot the registers that something from there on may read before it is overwritten, as
 * bit masks: others need not be compared. Works backwards until nothing changes: each slot changes
 * at most eleven times.
 */
export function liveRegisters(use: RegisterUse): Uint16Array {
  const { flow, reads, writes } = use;
  const count = flow.length;
  const live = new Uint16Array(count + 1);
  const jumpsBack = goOverOnce(use, live);
  if (jumpsBack.length === 0) return live;
  const sources = jumpSources(use);
  const queued = new Uint8Array(count);
  const stack: number[] = [];
  const visit = (from: number): void => {
    if (queued[from] === 1) return;
    queued[from] = 1;
    stack.push(from);
  };
  for (const slot of jumpsBack) visit(slot);
  while (stack.length > 0) {
    const slot = stack.pop() as number;
    queued[slot] = 0;
    const before = reads[slot]! | (liveAfter(use, live, slot) & ~writes[slot]!);
    if (before === live[slot]) continue;
    live[slot] = before;
    if (slot > 0) visit(slot - 1);
    for (const from of sources.get(slot) ?? none) visit(from);
  }
  return live;
}

const none: readonly number[] = [];

/** From the end to the start; returns the jumps back: only where there are any is there more to find. */
function goOverOnce(use: RegisterUse, live: Uint16Array): number[] {
  const { flow, target, reads, writes } = use;
  const jumpsBack: number[] = [];
  for (let slot = flow.length - 1; slot >= 0; slot--) {
    const kind = flow[slot]!;
    if ((kind === flows.jump || kind === flows.branch) && target[slot]! <= slot)
      jumpsBack.push(slot);
    live[slot] = reads[slot]! | (liveAfter(use, live, slot) & ~writes[slot]!);
  }
  return jumpsBack;
}

function liveAfter({ flow, target }: RegisterUse, live: Uint16Array, slot: number): number {
  switch (flow[slot]) {
    case flows.exit:
      return 0;
    case flows.jump:
      return live[target[slot]!]!;
    case flows.branch:
      return live[slot + 1]! | live[target[slot]!]!;
    default:
      return live[slot + 1]!;
  }
}

/** Slots that jump to a slot, by the slot. */
function jumpSources({ flow, target }: RegisterUse): Map<number, number[]> {
  const sources = new Map<number, number[]>();
  for (let slot = 0; slot < flow.length; slot++) {
    if (flow[slot] !== flows.jump && flow[slot] !== flows.branch) continue;
    const known = sources.get(target[slot]!);
    if (known === undefined) sources.set(target[slot]!, [slot]);
    else known.push(slot);
  }
  return sources;
}
