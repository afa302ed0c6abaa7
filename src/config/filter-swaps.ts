import type { ReadableConfig, ReadableFilter } from "./readable-parts.ts";

/** The object that an operator has given a running filter, in place of what the config names. */
export interface FilterSwap {
  /** The file's absolute path. */
  readonly object: string;
  /** Which program of it; neither: as the config says. */
  readonly section?: string;
  readonly program?: string;
  /**
   * What the config named when the filter was swapped (`sourceOf`): once it names something else,
   * it is followed again. Undefined until the swap is in force.
   */
  readonly insteadOf?: string;
}

/** By the filter's name. */
export type FilterSwaps = ReadonlyMap<string, FilterSwap>;

/**
 * A config with the swaps that hold: those of filters that it still has, and whose source it names as
 * it did. The others are forgotten.
 */
export function withSwaps(
  config: ReadableConfig,
  swaps: FilterSwaps,
): { readonly config: ReadableConfig; readonly swaps: FilterSwaps } {
  const filters = new Map(config.filters);
  const holding = new Map<string, FilterSwap>();
  for (const [name, swap] of swaps) {
    const filter = filters.get(name);
    if (filter === undefined) continue;
    const source = sourceOf(filter);
    if (swap.insteadOf !== undefined && swap.insteadOf !== source) continue;
    filters.set(name, swapped(filter, swap));
    holding.set(name, { ...swap, insteadOf: source });
  }
  return { config: { ...config, filters }, swaps: holding };
}

/** Text that tells one source of a filter's program from another. */
function sourceOf({ object, expression, bytecode, program, section }: ReadableFilter): string {
  return JSON.stringify({ object, expression, bytecode, program, section });
}

function swapped(filter: ReadableFilter, { object, section, program }: FilterSwap): ReadableFilter {
  const next: Writable<ReadableFilter> = { ...filter, sources: ["object"], object };
  // What an expression's match means is nothing to an object.
  for (const key of ["expression", "bytecode", "onMatch", "onMiss"] as const) delete next[key];
  if (section === undefined && program === undefined) return next;
  delete next.section;
  delete next.program;
  if (section !== undefined) next.section = section;
  if (program !== undefined) next.program = program;
  return next;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };
