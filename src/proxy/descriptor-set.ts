/** More descriptors than this a process is rarely allowed; such a socket is refused. */
const maxDescriptor = 2 ** 20;

const setBytes = maxDescriptor / 8;

/** What a worker's event loop waits on besides Node's own descriptors. */
export interface Epolls {
  /** Ready when one of its sockets is. */
  readonly watching: number;
  /** Never ready: to take the other's place. */
  readonly empty: number;
}

/**
 * Which descriptors a worker holds besides Node's own, in shared memory: nobody closes them where the
 * worker dies, so the main thread does.
 */
export class DescriptorSet {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** The two of `Epolls`, each plus 1; 0: there are none. */
  readonly #epolls: Int32Array;

  /** `memory` is another thread's set. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(setBytes + 8)) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, setBytes / 4);
    this.#epolls = new Int32Array(memory, setBytes, 2);
  }

  /** Of those that it holds; undefined before it has any, and when one was removed. */
  get epolls(): Epolls | undefined {
    const watching = Atomics.load(this.#epolls, 0) - 1;
    const empty = Atomics.load(this.#epolls, 1) - 1;
    return this.#has(watching) && this.#has(empty) ? { watching, empty } : undefined;
  }

  /** Set once: two that were added. */
  set epolls({ watching, empty }: Epolls) {
    Atomics.store(this.#epolls, 1, empty + 1);
    Atomics.store(this.#epolls, 0, watching + 1);
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

  #has(fd: number): boolean {
    return fd >= 0 && (Atomics.load(this.#words, fd >> 5) & (1 << (fd & 31))) !== 0;
  }

  *values(): IterableIterator<number> {
    for (let word = 0; word < this.#words.length; word++) {
      if (this.#words[word] === 0) continue;
      for (let bit = 0; bit < 32; bit++)
        if ((this.#words[word]! & (1 << bit)) !== 0) yield word * 32 + bit;
    }
  }
}
