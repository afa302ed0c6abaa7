import { framesBytes } from "../engine.ts";

/**
 * What generated code and its JavaScript side share during a run, behind the frames of the worker's
 * stack: byte offsets from `scratchAddress`.
 */
export const scratch = {
  /** r0 to r10 as 64-bit words, where helpers find their arguments. */
  registers: 0,
  /** The packet slot of this run. */
  slot: 88,
  /** What JavaScript knows of this run: 0, or RUN_COUNTED, with MEMORY_CURRENT or not. */
  entered: 92,
  /** Lowest address of the frame of the function that runs. */
  frame: 96,
  /** One bit a frame: its bytes are those of this activation. */
  clean: 100,
  /** Instructions the run may still take. */
  fuel: 104,
  /** Nanoseconds for bpf_ktime_get_ns. */
  clock: 112,
  /**
   * The objects hit last, by how they may be touched: the first address, and for each size of access
   * how many addresses from there on are good (0: none).
   */
  readLow: 120,
  writeLow: 124,
  atomicLow: 128,
  readLimits: 136,
  writeLimits: 152,
  atomicLimits: 168,
  /** Tail calls that the run has made, and callbacks that it may still make. */
  tailCalls: 176,
  callbacksLeft: 180,
  /** Callbacks that the run is in. */
  calledBack: 184,
  /** How many runs JavaScript has been asked for something in: tells whether this one is another. */
  runs: 188,
} as const;

/** Bits of `entered`: the run is counted, and the running program's ProgramMemory is as the run is. */
export const RUN_COUNTED = 1;
export const MEMORY_CURRENT = 2;

/** All limits together are forgotten at once, by 64-bit stores. */
export const limitsBytes = 40;

export function scratchAddress(stack: number): number {
  return stack + framesBytes;
}

/** Index of a size (1, 2, 4, 8) among limits. */
export function sizeIndex(size: number): number {
  return 31 - Math.clz32(size);
}
