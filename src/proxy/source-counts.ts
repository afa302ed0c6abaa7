import type { SourceTable } from "./source-table.ts";

/** How many sessions each client address has at a listener. Addresses without any are not listed. */
export class SourceCounts {
  readonly #counts = new Map<string, number>();
  /** Where other workers read them, and theirs are. Undefined: there are no others, or no limit. */
  #shared: SourceTable | undefined;

  constructor(shared: SourceTable | undefined) {
    this.#shared = shared;
  }

  /** Goes on in another table, where nothing is yet of this worker, or in the same. */
  follow(shared: SourceTable | undefined): void {
    const before = this.#shared;
    this.#shared = shared;
    if (shared !== undefined && (before === undefined || !shared.isSameAs(before)))
      for (const [source, sessions] of this.#counts) shared.set(source, sessions);
  }

  /** Counts one more session of `source`, unless it has `most` (undefined: any number) already. */
  admit(source: string, most: number | undefined): boolean {
    const own = (this.#counts.get(source) ?? 0) + 1;
    if (most !== undefined && own > most) return false;
    this.#counts.set(source, own);
    // Told before it is asked: of two workers that take one each at a time, one sees the other's.
    this.#shared?.set(source, own);
    if (most === undefined || own + (this.#shared?.ofOthers(source) ?? 0) <= most) return true;
    this.remove(source);
    return false;
  }

  remove(source: string): void {
    const left = (this.#counts.get(source) ?? 0) - 1;
    if (left > 0) this.#counts.set(source, left);
    else this.#counts.delete(source);
    this.#shared?.set(source, Math.max(left, 0));
  }
}
