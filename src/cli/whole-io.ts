import { readSync, writeSync } from "node:fs";

/**
 * Writes all of a text before it returns, also to a pipe whose reader is slow: a command that does all its
 * work at once would else hold in memory what a stream queues until it returns. Throws what the system
 * says, EPIPE where the reader is gone. `write` is `writeSync`, which may take only part.
 */
export function writeWhole(
  descriptor: number,
  text: string,
  write: (descriptor: number, bytes: Uint8Array, at: number) => number = writeSync,
): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += whenReady(() => write(descriptor, bytes, at));
}

/** Reads to the end, or until there are more than `maxBytes`. Throws what the system says. */
export function readWhole(descriptor: number, maxBytes: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  for (let total = 0; total <= maxBytes; ) {
    const chunk = new Uint8Array(65_536);
    const read = whenReady(() => readSync(descriptor, chunk));
    if (read === 0) break;
    chunks.push(chunk.subarray(0, read));
    total += read;
  }
  return Buffer.concat(chunks);
}

/** Milliseconds between two tries: Node has no call that waits until a descriptor is ready. */
const pauseMs = { first: 1, most: 16 };
const never = new Int32Array(new SharedArrayBuffer(4));

/** Tries until the descriptor, which may not block, does not answer "later" any more. */
function whenReady(attempt: () => number): number {
  for (let pause = pauseMs.first; ; pause = Math.min(2 * pause, pauseMs.most))
    try {
      return attempt();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(never, 0, 0, pause);
    }
}

/** Characters that are gathered for one write. */
const gatheredCharacters = 65_536;

/** Lines that go out many at a time: each write is a call of the system. */
export class GatheredText {
  readonly #write: (text: string) => void;
  #text = "";

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  add(text: string): void {
    this.#text += text;
    if (this.#text.length >= gatheredCharacters) this.flush();
  }

  flush(): void {
    const text = this.#text;
    this.#text = "";
    if (text !== "") this.#write(text);
  }
}
