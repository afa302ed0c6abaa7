import type { EngineContext } from "./engine.ts";

/**
 * What a run has taken and must give back before it ends: records reserved in rings, and a spin
 * lock. The verifier proves that programs do; a run that ends by a fault is tidied up after here.
 */
export class Holdings {
  readonly #context: EngineContext;
  /** Offset and size of each record, in turn. */
  readonly #records: number[] = [];
  /** Address of the spin lock, 0 for none. */
  #lock = 0;

  constructor(context: EngineContext) {
    this.#context = context;
  }

  get isEmpty(): boolean {
    return this.#records.length === 0 && this.#lock === 0;
  }

  get lock(): number {
    return this.#lock;
  }

  takeLock(address: number): void {
    this.#context.runtime.spinLock(address, this.#context.cpu);
    this.#lock = address;
  }

  freeLock(): void {
    if (this.#lock !== 0) this.#context.runtime.spinUnlock(this.#lock);
    this.#lock = 0;
  }

  addRecord(sample: number, size: number): void {
    this.#records.push(sample, size);
  }

  hasRecord(sample: number): boolean {
    return this.#indexOf(sample) >= 0;
  }

  /** Commits a record, or discards it. */
  endRecord(sample: number, isDiscarded: boolean): void {
    const at = this.#indexOf(sample);
    if (at >= 0) this.#records.splice(at, 2);
    this.#context.runtime.commit(sample, isDiscarded ? 1 : 0);
  }

  /** The record that an address lies in. */
  recordAt(address: number): { readonly low: number; readonly size: number } | undefined {
    const records = this.#records;
    for (let i = 0; i < records.length; i += 2) {
      const low = records[i]!;
      const size = records[i + 1]!;
      if (address >= low && address < low + size) return { low, size };
    }
    return undefined;
  }

  /** Discards all records and frees the lock. */
  giveBack(): void {
    for (let i = 0; i < this.#records.length; i += 2)
      this.#context.runtime.commit(this.#records[i]!, 1);
    this.#records.length = 0;
    this.freeLock();
  }

  #indexOf(sample: number): number {
    for (let i = 0; i < this.#records.length; i += 2) if (this.#records[i] === sample) return i;
    return -1;
  }
}
