import { parseAddress, unmapAddress } from "../packet/address.ts";
import type { ListenerPlan, ProxyPlan } from "./plan.ts";

/** Words of an entry: an IPv6 address (IPv4 mapped), then how many sessions it has; none: free. */
const addressWords = 4;
const entryWords = addressWords + 1;

/**
 * The memory for one listener's sources, empty: a seed, then a table for each worker. Nobody else knows
 * the seed, so that no client can choose addresses that are in each other's way.
 */
export function sourceMemory(maxSessions: number, workers: number): SharedArrayBuffer {
  const words = 1 + workers * entriesFor(maxSessions) * entryWords;
  const memory = new SharedArrayBuffer(4 * words);
  new Int32Array(memory)[0] = Math.random() * 2 ** 32;
  return memory;
}

/** A power of two, so that tables of `maxSessions` sources at most are half full at most. */
function entriesFor(maxSessions: number): number {
  return 2 ** Math.ceil(Math.log2(2 * (maxSessions + 1)));
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
  /** First words of the other workers' tables. */
  readonly #others: readonly number[];
  readonly #key = new Int32Array(addressWords);

  /** `memory` was made by `sourceMemory` for as many workers. */
  constructor(
    memory: SharedArrayBuffer,
    { workers, worker }: { readonly workers: number; readonly worker: number },
  ) {
    const entries = (memory.byteLength / 4 - 1) / workers / entryWords;
    const firstOf = (number: number): number => 1 + number * entries * entryWords;
    this.#words = new Int32Array(memory);
    this.#mask = entries - 1;
    this.#own = firstOf(worker);
    this.#others = Array.from({ length: workers }, (_, number) => number)
      .filter((number) => number !== worker)
      .map(firstOf);
  }

  /** Worker number `worker`'s, of a plan's listener; undefined where there is nothing to share. */
  static of(
    plan: ProxyPlan<unknown>,
    listener: ListenerPlan,
    worker: number,
  ): SourceTable | undefined {
    if (listener.sources === undefined) return undefined;
    return new SourceTable(listener.sources, { workers: plan.workers.length, worker });
  }

  /** Forgets what this worker wrote; after its death, for the main thread. */
  clear(): void {
    // Memory that was never written to takes up none, and is left so.
    for (let place = 0; place <= this.#mask; place++) {
      const at = this.#own + place * entryWords + addressWords;
      if (this.#words[at] !== 0) Atomics.store(this.#words, at, 0);
    }
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
    for (const table of this.#others) {
      const at = this.#find(table);
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
