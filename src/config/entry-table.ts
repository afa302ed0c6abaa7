import { randomInt } from "node:crypto";
import type { Position } from "./config-problem.ts";

/** A map entry of the config or of an entry file, and where it stands. */
export interface EntryBytes {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly where: string;
}

/** Lengths of a map's keys and values, bytes. */
export interface EntryShape {
  readonly keySize: number;
  readonly valueSize: number;
}

/**
 * What a config puts into one map, in its order. A list of addresses has a million entries: they are
 * packed, key and value behind one another and their places as numbers, and found by a hash of their
 * keys. Beside its bytes an entry takes 16 to 32, and the bytes lie in up to twice the room.
 */
export class EntryTable implements Iterable<EntryBytes> {
  readonly keySize: number;
  readonly valueSize: number;
  /** What the entries with a line and a column are in. */
  readonly #file: string;
  #length = 0;
  #bytes = new Uint8Array(0);
  /** Places of the first entries, as text. */
  readonly #texts: string[] = [];
  /** Line and column of those after them. */
  #positions = new Uint32Array(0);
  /** By a hash of its key, the number of an entry plus 1; 0: free. Twice as many as entries, or more. */
  #slots = new Uint32Array(2);
  /** Nobody who writes a list knows which keys meet. */
  readonly #seed = randomInt(2 ** 32);

  constructor({ keySize, valueSize }: EntryShape, file = "") {
    this.keySize = keySize;
    this.valueSize = valueSize;
    this.#file = file;
  }

  get length(): number {
    return this.#length;
  }

  /**
   * Puts an entry behind the others. Of a key there is one entry, unless keys have no bytes. Its place
   * is text, or one in the table's file; none with text comes after one of those.
   */
  add(key: Uint8Array, value: Uint8Array, place: string | Position): void {
    const stride = this.keySize + this.valueSize;
    const at = this.#length * stride;
    if (at + stride > this.#bytes.length) {
      const larger = new Uint8Array(2 * at + stride);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(key, at);
    this.#bytes.set(value, at + this.keySize);
    this.#place(place);
    this.#length++;
    if (this.keySize === 0) return;
    if (this.#length * 2 > this.#slots.length) {
      this.#slots = new Uint32Array(this.#slots.length * 2);
      for (let i = 0; i < this.#length; i++) this.#slots[this.#slotOf(this.key(i))] = i + 1;
    } else this.#slots[this.#slotOf(key)] = this.#length;
  }

  #place(place: string | Position): void {
    if (typeof place === "string") {
      this.#texts.push(place);
      return;
    }
    const at = (this.#length - this.#texts.length) * 2;
    if (at === this.#positions.length) {
      const larger = new Uint32Array(Math.max(2, at * 2));
      larger.set(this.#positions);
      this.#positions = larger;
    }
    this.#positions[at] = place.line;
    this.#positions[at + 1] = place.column;
  }

  /** The number of the entry with this key, or undefined. */
  find(key: Uint8Array): number | undefined {
    if (this.keySize === 0) return undefined;
    const entry = this.#slots[this.#slotOf(key)]!;
    return entry === 0 ? undefined : entry - 1;
  }

  /** Where `key` is, or would be. */
  #slotOf(key: Uint8Array): number {
    const mask = this.#slots.length - 1;
    let slot = hash(key, this.#seed) & mask;
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry === 0 || this.#holdsKey(entry - 1, key)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #holdsKey(i: number, key: Uint8Array): boolean {
    const at = i * (this.keySize + this.valueSize);
    for (let k = 0; k < this.keySize; k++) if (this.#bytes[at + k] !== key[k]) return false;
    return true;
  }

  /** The key of entry `i`, in place: not to be written. */
  key(i: number): Uint8Array {
    const at = i * (this.keySize + this.valueSize);
    return this.#bytes.subarray(at, at + this.keySize);
  }

  /** The value of entry `i`, in place: not to be written. */
  value(i: number): Uint8Array {
    const at = i * (this.keySize + this.valueSize) + this.keySize;
    return this.#bytes.subarray(at, at + this.valueSize);
  }

  /** `file:line:column` of entry `i`. */
  where(i: number): string {
    const text = this.#texts[i];
    if (text !== undefined) return text;
    const at = (i - this.#texts.length) * 2;
    return `${this.#file}:${this.#positions[at]}:${this.#positions[at + 1]}`;
  }

  /** Whether both hold the same keys and values in the same order. */
  equals(other: EntryTable): boolean {
    if (this.#length !== other.#length || this.keySize !== other.keySize) return false;
    if (this.valueSize !== other.valueSize) return false;
    const bytes = this.#length * (this.keySize + this.valueSize);
    return Buffer.from(this.#bytes.buffer, 0, bytes).equals(
      Buffer.from(other.#bytes.buffer, 0, bytes),
    );
  }

  *[Symbol.iterator](): IterableIterator<EntryBytes> {
    for (let i = 0; i < this.#length; i++)
      yield { key: this.key(i), value: this.value(i), where: this.where(i) };
  }
}

/** FNV-1a with a seed, its bits mixed once more: neighbours are not to stand in a row. */
function hash(key: Uint8Array, seed: number): number {
  let h = seed ^ 0x811c9dc5;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key[i]!, 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
