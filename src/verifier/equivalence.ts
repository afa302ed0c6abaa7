import type { Checkpoint, Frame, PathState } from "./path-state.ts";
import type { RegisterState } from "./register-state.ts";
import { rangeWithin, sameRange, unknownRange } from "./scalar-range.ts";
import { byteKind, misc, type StackSlot, spillSize, unwritten } from "./stack-state.ts";

/**
 * How much a checkpoint must cover of a state.
 *
 * - `enough`: what paths from the checkpoint relied on, which is known once they have all ended.
 * - `within`: everything there is must lie within the checkpoint's ranges; nothing is known yet of
 *   what matters. For callbacks that may run any number of times.
 * - `exact`: nothing has changed at all: a loop that would never end.
 */
export type Demand = "enough" | "within" | "exact";

/** Compares states at one instruction. `live` has, by slot, the registers read from there on, as masks. */
export class Equivalence {
  readonly #live: Uint16Array;
  /** Ids of the checkpoint, and what they are in the state. */
  readonly #ids = new IdPairs();
  /** Of the frame that runs, the register that was not covered last, or -1. */
  #mismatch = -1;

  constructor(live: Uint16Array) {
    this.#live = live;
  }

  #coversAll(old: PathState, state: PathState, slot: number, demand: Demand): boolean {
    const depth = old.depth;
    this.#mismatch = -1;
    if (old.references.length !== state.references.length) return false;
    this.#ids.clear();
    for (let i = 0; i < old.references.length; i++) {
      const a = old.references[i]!;
      const b = state.references[i]!;
      if (a.slot !== b.slot || !this.#sameId(a.id, b.id)) return false;
      if (a.lock?.target !== b.lock?.target) return false;
      if (!this.#sameId(a.lock?.value ?? 0, b.lock?.value ?? 0)) return false;
    }
    for (let i = depth; i >= 0; i--) {
      const a = old.frames[i]!;
      const b = state.frames[i]!;
      if (a.entry !== b.entry || a.callSite !== b.callSite || a.callback !== b.callback)
        return false;
      // Only as many rounds were followed from the checkpoint as its frame had left. Kernel:
      // func_states_equal. A state with fewer left can do nothing that the checkpoint could not:
      // a loop may end before any round.
      if (a.callbackDepth > b.callbackDepth) return false;
      if (demand === "exact" && a.callbackDepth !== b.callbackDepth) return false;
      const live = i === depth ? this.#live[slot]! : this.#liveInCaller(old.frames[i + 1]!);
      const failed = this.#uncovered(a, b, live, demand);
      if (failed >= 0) {
        if (i === depth) this.#mismatch = failed;
        return false;
      }
    }
    for (let i = depth; i >= 0; i--)
      if (!this.#stackCovers(old.frames[i]!, state.frames[i]!, demand)) return false;
    return true;
  }

  /** A caller goes on behind its call; a callback's caller does the call again. */
  #liveInCaller(callee: Frame): number {
    return callee.callback
      ? this.#live[callee.callSite]!
      : this.#live[callee.callSite + 1]! & ~callerSaved;
  }

  /**
   * Whether all that can happen from `state` can happen from the checkpoint, both about to run the same
   * instruction. Mostly it cannot, for the same register as the last time: that one is looked at first.
   */
  coversCheckpoint(checkpoint: Checkpoint, state: PathState, demand: Demand): boolean {
    const { slot, state: old, mismatch } = checkpoint;
    const { depth } = old;
    if (depth !== state.depth) return false;
    if (mismatch >= 0) {
      this.#ids.clear();
      const a = old.frames[depth]!.registers[mismatch]!;
      if (!this.#covers(a, state.frames[depth]!.registers[mismatch]!, demand)) return false;
    }
    const covered = this.#coversAll(old, state, slot, demand);
    checkpoint.mismatch = this.#mismatch;
    return covered;
  }

  /** The first register that is not covered, or -1. */
  #uncovered(a: Frame, b: Frame, mask: number, demand: Demand): number {
    for (let r = 0; r < 10; r++)
      if ((mask & (1 << r)) !== 0 && !this.#covers(a.registers[r]!, b.registers[r]!, demand))
        return r;
    return -1;
  }

  #covers(old: RegisterState, now: RegisterState, demand: Demand): boolean {
    if (demand === "exact") return sameRegister(old, now);
    if (old === now && old.kind === "scalar" && old.id === 0) return true;
    if (old.kind === "uninitialised") return true;
    if (old.kind !== now.kind) return false;
    if (old.kind === "scalar") {
      if (demand === "enough" && !old.precise) return true;
      if (!rangeWithin(old.range, now.range)) return false;
      // Links that only the state has make it no wider.
      if (old.id === 0) return true;
      return now.id !== 0 && old.offset === now.offset && this.#sameId(old.id, now.id);
    }
    if (
      old.offset !== now.offset ||
      old.target !== now.target ||
      old.frame !== now.frame ||
      old.readOnly !== now.readOnly ||
      old.nullable !== now.nullable
    )
      return false;
    if (!rangeWithin(old.range, now.range)) return false;
    const isPacket = old.kind === "packet" || old.kind === "packet_meta";
    if (isPacket ? !extentCovers(old.extent, now.extent) : old.extent !== now.extent) return false;
    if ((isPacket || old.id !== 0) && !this.#sameId(old.id, now.id)) return false;
    return old.reference === 0
      ? now.reference === 0
      : now.reference !== 0 && this.#sameId(old.reference, now.reference);
  }

  #sameId(old: number, now: number): boolean {
    return this.#ids.agree(old, now);
  }

  #stackCovers(a: Frame, b: Frame, demand: Demand): boolean {
    const { stack } = a;
    if (demand === "exact" && stack.length !== b.stack.length) return false;
    if (demand === "enough" && !a.isReadAnywhere) return true;
    for (let slot = 0; slot < stack.length; slot++) {
      if (demand === "enough" && !a.isRead(slot)) continue;
      const old = stack[slot];
      const now = b.stack[slot];
      if (old === now && old?.register === undefined) continue;
      if (!this.#slotCovers(old, now, demand)) return false;
    }
    return true;
  }

  #slotCovers(old: StackSlot | undefined, now: StackSlot | undefined, demand: Demand): boolean {
    if (demand === "exact") return sameSlot(old, now);
    const oldSize = spillSize(old);
    const nowSize = spillSize(now);
    if (oldSize > 0 && oldSize === nowSize) {
      if (!this.#covers(old!.register!, now!.register!, demand)) return false;
    } else if (oldSize > 0) {
      // What was a number of unknown value covers any bytes.
      const register = old!.register!;
      const anything = register.kind === "scalar" && register.range === unknownRange;
      if (!anything || register.id !== 0 || oldSize !== 8) return false;
      return true;
    }
    for (let byte = 0; byte < 8; byte++) {
      const was = byteKind(old, byte);
      const is = byteKind(now, byte);
      // A byte of unknown value was read as any number, whatever lies there now.
      if (was !== is && was !== unwritten && was !== misc) return false;
    }
    return true;
  }
}

/** Few at a time, and emptied for every compare: a Map would allocate each time. */
class IdPairs {
  readonly #old: number[] = [];
  readonly #now: number[] = [];
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  /** Whether `old` is `now` here too; if it was nothing yet, it is from here on. */
  agree(old: number, now: number): boolean {
    for (let i = 0; i < this.#count; i++) if (this.#old[i] === old) return this.#now[i] === now;
    this.#old[this.#count] = old;
    this.#now[this.#count++] = now;
    return true;
  }
}

const callerSaved = 0x3f;

/** More bytes known are better; what lies at or beyond the end must stay where it was found. */
function extentCovers(old: number, now: number): boolean {
  return old < 0 || now < 0 ? old === now : now >= old;
}

function sameRegister(a: RegisterState, b: RegisterState): boolean {
  return (
    a === b ||
    (a.kind === b.kind &&
      a.offset === b.offset &&
      a.id === b.id &&
      a.nullable === b.nullable &&
      a.extent === b.extent &&
      a.target === b.target &&
      a.frame === b.frame &&
      a.reference === b.reference &&
      sameRange(a.range, b.range))
  );
}

function sameSlot(a: StackSlot | undefined, b: StackSlot | undefined): boolean {
  if (a === b) return true;
  if ((a?.bytes ?? 0) !== (b?.bytes ?? 0)) return false;
  const x = a?.register;
  const y = b?.register;
  return x === y || (x !== undefined && y !== undefined && sameRegister(x, y));
}
