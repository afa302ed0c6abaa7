import type { ScalarRange } from "./scalar-range.ts";

/** A power of two. Larger finds hardly more in practice, and is slower to fill. */
const places = 4096;

/**
 * What operations on ranges gave before. Paths of a program do the same to the same numbers over and
 * over, and ranges never change, so that the operands' identity is enough. Two places hold the last
 * that fell to them: memory is bounded, and forgetting costs time alone.
 */
export class OperationMemo<Result> {
  readonly #tags = new Int32Array(places).fill(-1);
  readonly #a: (ScalarRange | undefined)[] = new Array(places).fill(undefined);
  readonly #b: (ScalarRange | undefined)[] = new Array(places).fill(undefined);
  readonly #results: (Result | undefined)[] = new Array(places).fill(undefined);

  /** `tag` is the operation: 0 or more. Undefined: not known. */
  find(tag: number, a: ScalarRange, b: ScalarRange): Result | undefined {
    const place = placeOf(tag, a, b);
    return this.#at(place, tag, a, b) ?? this.#at(place ^ 1, tag, a, b);
  }

  /** Takes note of a result, and gives it back. */
  keep(tag: number, a: ScalarRange, b: ScalarRange, result: Result): Result {
    const place = placeOf(tag, a, b);
    const beside = place ^ 1;
    this.#tags[beside] = this.#tags[place]!;
    this.#a[beside] = this.#a[place];
    this.#b[beside] = this.#b[place];
    this.#results[beside] = this.#results[place];
    this.#tags[place] = tag;
    this.#a[place] = a;
    this.#b[place] = b;
    this.#results[place] = result;
    return result;
  }

  #at(place: number, tag: number, a: ScalarRange, b: ScalarRange): Result | undefined {
    return this.#tags[place] === tag && this.#a[place] === a && this.#b[place] === b
      ? this.#results[place]
      : undefined;
  }
}

function placeOf(tag: number, a: ScalarRange, b: ScalarRange): number {
  const mixed = Math.imul(a.serial, 0x9e3779b1) ^ Math.imul(b.serial, 0x85ebca6b) ^ (tag * 0x3d4d);
  return (mixed ^ (mixed >>> 15)) & (places - 1);
}
