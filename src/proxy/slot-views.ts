import type { Arena } from "../runtime/arena.ts";

/**
 * Views of bytes in the arena, each kept at a place until another is asked for there: what comes to one
 * place mostly lies where the one before did and is as long, and a view costs more than a small filter.
 */
export class SlotViews {
  readonly #arena: Arena;
  readonly #views: Buffer[] = [];

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** `bytes` bytes at offset `at`. Valid until the next is asked for at `place`. */
  of(place: number, at: number, bytes: number): Buffer {
    const before = this.#views[place];
    if (before?.length === bytes && this.#arena.offsetOf(before) === at) return before;
    const view = this.#arena.viewOf(at, bytes);
    this.#views[place] = view;
    return view;
  }

  /** The view that was asked for last at `place`. */
  at(place: number): Buffer {
    return this.#views[place]!;
  }
}
