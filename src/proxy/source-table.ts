import { parseAddress, unmapAddress } from "../packet/address.ts";
import type { ListenerPlan, ProxyPlan } from "./plan.ts";

/** Words of an entry: an IPv6 address (IPv4 mapped), then how many sessions it has; none: free. */
const addressWords = 4;
const entryWords = addressWords + 1;

/**
 * The layout of a listener's source memory: its name, words that no two have alike and nobody can
 * guess, then a word for each worker, then a table for each. The name's first word is the tables' seed:
 * no client can choose addresses that are in each other's way.
 */
export const nameWords = 4;
/** A worker's word where its table is what a dead one left. */
const abandoned = 1;

/** Words of a source memory whose tables have so many entries. */
export function memoryWords(entries: number, workers: number): number {
  return nameWords + workers * (1 + entries * entryWords);
}

/** Entries of each of the tables in a memory. */
export function entriesIn(memory: SharedArrayBuffer, workers: number): number {
  return ((memory.byteLength / 4 - nameWords) / workers - 1) / entryWords;
}

/** Where another worker's table is: its word, and its first entry. */
interface OtherTable {
  readonly state: number;
  readonly first: number;
}

/**
 * How many sessions each client address has at a listener on each worker, in memory that the workers
 * share. Each writes its own table and reads the others', so that none waits for another and what a
 * dead worker had goes with its table. Read while another is being written, an address may be missed
 * or met for an instant too long.
 */
export class SourceTable {
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #own: number;
  /** The word that tells whether its own table was left by a dead worker. */
  readonly #state: number;
  readonly #others: readonly OtherTable[];
  readonly #key = new Int32Array(addressWords);

  /** `memory` was made by `sourceMemory` (source-memory.ts) for as many workers. */
  constructor(
    memory: SharedArrayBuffer,
    { workers, worker }: { readonly workers: number; readonly worker: number },
  ) {
    const entries = entriesIn(memory, workers);
    const tableOf = (number: number): OtherTable => ({
      state: nameWords + number,
      first: nameWords + workers + number * entries * entryWords,
    });
    this.#words = new Int32Array(memory);
    this.#mask = entries - 1;
    const { state, first } = tableOf(worker);
    this.#own = first;
    this.#state = state;
    this.#others = Array.from({ length: workers }, (_, number) => number)
      .filter((number) => number !== worker)
      .map(tableOf);
  }

  /** A worker's, of a plan's listener, for that worker; undefined where there is nothing to share. */
  static of(
    plan: ProxyPlan<unknown>,
    listener: ListenerPlan,
    worker: number,
  ): SourceTable | undefined {
    if (listener.sources === undefined) return undefined;
    const table = new SourceTable(listener.sources, { workers: plan.workers.length, worker });
    table.#takeOver();
    return table;
  }

  /**
   * For the main thread, after the worker's death: from now on nobody counts what it had. One word is
   * written: to empty a table for a million takes a good while, which is the next worker's to spend.
   */
  abandon(): void {
    Atomics.store(this.#words, this.#state, abandoned);
  }

  #takeOver(): void {
    if (Atomics.load(this.#words, this.#state) !== abandoned) return;
    // Memory that was never written to takes up none, and is left so.
    for (let place = 0; place <= this.#mask; place++) {
      const at = this.#own + place * entryWords + addressWords;
      if (this.#words[at] !== 0) Atomics.store(this.#words, at, 0);
    }
    Atomics.store(this.#words, this.#state, 0);
  }

  /** Both are in the same memory, where what was written to the one is in the other. */
  isSameAs(other: SourceTable): boolean {
    for (let i = 0; i < nameWords; i++) if (this.#words[i] !== other.#words[i]) return false;
    return this.#own === other.#own;
  }

  /** This worker has `sessions` of the client at this IP address. */
  set(source: string, sessions: number): void {
    if (!this.#bind(source)) return;
    const at = this.#find(this.#own);
    if (at === undefined) return;
    if (sessions === 0) this.#remove(at);
    else {
      // The count last: it is what makes others look at the address.
      for (let i = 0; i < addressWords; i++) Atomics.store(this.#words, at + i, this.#key[i]!);
      Atomics.store(this.#words, at + addressWords, sessions);
    }
  }

  /** Sessions that other workers have of the client at this IP address. */
  ofOthers(source: string): number {
    if (!this.#bind(source)) return 0;
    let sum = 0;
    for (const { state, first } of this.#others) {
      if (Atomics.load(this.#words, state) === abandoned) continue;
      const at = this.#find(first);
      if (at !== undefined) sum += Atomics.load(this.#words, at + addressWords);
    }
    return sum;
  }

  #bind(source: string): boolean {
    const address = parseAddress(source);
    if (address === undefined) return false;
    const bytes = unmapAddress(address);
    this.#key.fill(0);
    // An IPv4 address is the same client on a socket for both families: ::ffff:0:0/96.
    if (bytes.length === 4) this.#key[2] = 0xffff;
    for (const [i, byte] of bytes.entries()) {
      const word = addressWords - bytes.length / 4 + (i >> 2);
      this.#key[word] = (this.#key[word]! << 8) | byte;
    }
    return true;
  }

  /** The entry of the bound address, or the free one that it would get; undefined: there is neither. */
  #find(table: number): number | undefined {
    const words = this.#words;
    const key = this.#key;
    let place = this.#place(key, 0);
    for (let probes = 0; probes <= this.#mask; probes++) {
      const at = table + place * entryWords;
      if (Atomics.load(words, at + addressWords) === 0) return at;
      let word = 0;
      while (word < addressWords && Atomics.load(words, at + word) === key[word]) word++;
      if (word === addressWords) return at;
      place = (place + 1) & this.#mask;
    }
    return undefined;
  }

  /** Frees an entry of its own, and moves those up that had to go past it. */
  #remove(removed: number): void {
    const words = this.#words;
    let hole = (removed - this.#own) / entryWords;
    if (words[removed + addressWords] === 0) return;
    for (let place = (hole + 1) & this.#mask; ; place = (place + 1) & this.#mask) {
      const at = this.#own + place * entryWords;
      if (words[at + addressWords] === 0) break;
      const home = this.#place(words, at);
      if (((place - home) & this.#mask) < ((place - hole) & this.#mask)) continue;
      const to = this.#own + hole * entryWords;
      for (let i = 0; i < entryWords; i++) Atomics.store(words, to + i, words[at + i]!);
      hole = place;
    }
    Atomics.store(words, this.#own + hole * entryWords + addressWords, 0);
  }

  /** Where the address at `at` lies unless others are in its way: MurmurHash3's mixing of its words. */
  #place(words: Int32Array, at: number): number {
    let hash = this.#words[0]!;
    for (let i = 0; i < addressWords; i++) {
      const word = Math.imul(words[at + i]!, 0xcc9e2d51);
      hash ^= Math.imul((word << 15) | (word >>> 17), 0x1b873593);
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) & this.#mask;
  }
}
