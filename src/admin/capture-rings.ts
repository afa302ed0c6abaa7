import { captureRingMemory, clearCaptureRing } from "../filter/capture-ring.ts";

/** A worker's ring: some 15 frames of the longest kind, some 500 of 1,500 bytes. */
const ringBytes = 2 ** 20;

/**
 * Memory for the rings of captures. What captures are done with serves later ones: V8 returns such
 * memory only once each thread that had it has collected its garbage, which idle ones do not.
 */
export class CaptureRings {
  readonly #free: SharedArrayBuffer[] = [];

  /** Empty rings, as many as there are workers. */
  take(workers: number): SharedArrayBuffer[] {
    return Array.from({ length: workers }, () => this.#free.pop() ?? captureRingMemory(ringBytes));
  }

  /** Nobody writes to these rings or reads from them any more. */
  giveBack(rings: readonly SharedArrayBuffer[]): void {
    for (const ring of rings) clearCaptureRing(ring);
    this.#free.push(...rings);
  }
}
