/** More descriptors than this a process is rarely allowed; such a socket is refused. */
const maxDescriptor = 2 ** 20;

/**
 * Which descriptors a worker holds besides Node's own, in shared memory: nobody closes them where the
 * worker dies, so the main thread does.
 */
export class DescriptorSet {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  /** `memory` is another thread's set. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(maxDescriptor / 8)) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
  }

  /** False where there is no room for a number as high. */
  add(fd: number): boolean {
    if (fd >= maxDescriptor) return false;
    Atomics.or(this.#words, fd >> 5, 1 << (fd & 31));
    return true;
  }

  remove(fd: number): void {
    if (fd < maxDescriptor) Atomics.and(this.#words, fd >> 5, ~(1 << (fd & 31)));
  }

  *values(): IterableIterator<number> {
    for (let word = 0; word < this.#words.length; word++) {
      if (this.#words[word] === 0) continue;
      for (let bit = 0; bit < 32; bit++)
        if ((this.#words[word]! & (1 << bit)) !== 0) yield word * 32 + bit;
    }
  }
}
