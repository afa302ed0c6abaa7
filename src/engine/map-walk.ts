import type { Arena } from "../runtime/arena.ts";
import {
  CURSOR_HAS_KEY,
  CURSOR_KEY,
  CURSOR_POSITION,
  MAP_KEY_SIZE,
} from "../runtime/wasm/layout.ts";
import { frameBytes, maxFrames, walkBytes, walksOffset } from "./engine.ts";

/**
 * Where a function that walks a map (bpf_for_each_map_elem) keeps its place: each of the worker's
 * frames has such a record behind the frames, and walks nest only as functions do. The callback gets
 * the key's address in it.
 */
export const walk = {
  /** Bytes of the key while the walk goes on, else 0: then nothing may read here. */
  keyBytes: 0,
  /** For the runtime's `walk`. */
  cursor: 8,
  key: 8 + CURSOR_KEY,
} as const;

/** The record of the function whose frame begins at `frame`. */
export function walkAt(stack: number, frame: number): number {
  return stack + walksOffset + ((frame - stack) / frameBytes) * walkBytes;
}

/** Starts a walk over a map of which nothing has been given yet. */
export function beginWalk({ words }: Arena, at: number, map: number): void {
  words[(at + walk.keyBytes) >> 2] = words[(map + MAP_KEY_SIZE) >> 2]!;
  words[(at + walk.cursor + CURSOR_POSITION) >> 2] = 0;
  words[(at + walk.cursor + CURSOR_HAS_KEY) >> 2] = 0;
}

export function endWalk({ words }: Arena, at: number): void {
  words[(at + walk.keyBytes) >> 2] = 0;
}

/** After a run that a fault has ended: no walk goes on. */
export function endAllWalks(arena: Arena, stack: number): void {
  for (let i = 0; i < maxFrames; i++) endWalk(arena, stack + walksOffset + i * walkBytes);
}
