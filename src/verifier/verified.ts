/** What a memory access was proven to reach; an instruction may reach several on different paths. */
export const regions = {
  stack: 1,
  packet: 2,
  metadata: 4,
  context: 8,
  mapValue: 16,
  memory: 32,
} as const;

/** What an instruction was proven to give, on one path or another: `givenBy`. */
export const given = {
  /** An address, or null: its high word is 0. */
  address: 1,
  other: 2,
} as const;

/** At a call, `mapOfCall`: no map, or not the same on all paths. */
export const noMap = -1;
export const severalMaps = -2;

/**
 * What was proven of an accepted program, for engines. All memory accesses stay within their
 * objects; helper arguments are as the signatures ask.
 */
export interface Verified {
  /** By slot: 1 where some path came through. What was not reached can be left out. */
  readonly reached: Uint8Array;
  /** By slot of a load, store or atomic: which of `regions` it reaches, one bit each. */
  readonly regionsOf: Uint8Array;
  /** By slot of a helper call: index of the one map it works on, or `noMap` or `severalMaps`. */
  readonly mapOfCall: Int32Array;
  /** By slot of a 64-bit addition or subtraction, or a load of 8 bytes: which of `given`, one bit each. */
  readonly givenBy: Uint8Array;
  /**
   * By slot of a call of bpf_loop: 1 where the kernel replaces it with a loop of its own, since it has
   * the same callback and no flags on every path (update_loop_inline_state, kernel/bpf/verifier.c).
   */
  readonly inlinedLoops: Uint8Array;
  /** By slot: 1 where a value was read from the stack that was perhaps never written. */
  readonly readsUnwritten: Uint8Array;
  /**
   * A run takes no more instructions than were visited. Not so where helpers call back or global
   * functions are called: what they do is visited once, however often it is done.
   */
  readonly bounded: boolean;
  /** Bytes of stack each function uses, by its first slot. */
  readonly stackBytes: ReadonlyMap<number, number>;
  /** Instructions visited over all paths, and states kept at the end. */
  readonly visited: number;
  readonly checkpoints: number;
}

/** `Verified` while it is collected. */
export class Facts implements Verified {
  readonly reached: Uint8Array;
  readonly regionsOf: Uint8Array;
  readonly mapOfCall: Int32Array;
  readonly givenBy: Uint8Array;
  readonly readsUnwritten: Uint8Array;
  readonly inlinedLoops: Uint8Array;
  /** By slot of a call of bpf_loop: the callback of the first path that came there. */
  readonly #loopCallbacks = new Map<number, number>();
  readonly stackBytes = new Map<number, number>();
  bounded = true;
  visited = 0;
  checkpoints = 0;

  constructor(slots: number) {
    this.reached = new Uint8Array(slots);
    this.regionsOf = new Uint8Array(slots);
    this.mapOfCall = new Int32Array(slots).fill(noMap);
    this.givenBy = new Uint8Array(slots);
    this.readsUnwritten = new Uint8Array(slots);
    this.inlinedLoops = new Uint8Array(slots);
  }

  reach(slot: number, region: number): void {
    this.regionsOf[slot]! |= region;
  }

  gives(slot: number, isAddress: boolean): void {
    this.givenBy[slot]! |= isAddress ? given.address : given.other;
  }

  callsWith(slot: number, map: number): void {
    const before = this.mapOfCall[slot];
    this.mapOfCall[slot] = before === noMap || before === map ? map : severalMaps;
  }

  loopsWith(slot: number, callback: number, hasFlags: boolean): void {
    const first = this.#loopCallbacks.get(slot);
    if (first === undefined) {
      this.#loopCallbacks.set(slot, callback);
      this.inlinedLoops[slot] = hasFlags ? 0 : 1;
    } else if (hasFlags || first !== callback) this.inlinedLoops[slot] = 0;
  }

  /** Whether a function uses more than was known. */
  usesStack(entry: number, bytes: number): boolean {
    if (bytes <= (this.stackBytes.get(entry) ?? 0)) return false;
    this.stackBytes.set(entry, bytes);
    return true;
  }
}
