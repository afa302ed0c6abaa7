import type { Socket } from "node:net";
import type { ReadBuffer } from "./read-buffer.ts";

/**
 * Carries one direction of a connection: chunks of `source` to `target`, no faster than `target`
 * takes them. What is written waits in at most the socket's high-water mark plus one chunk.
 */
export class TcpPump {
  readonly #source: Socket;
  readonly #target: Socket;
  /** Bytes have not all left to the target, or back to the source, which must not make more of them. */
  #forwarding = false;
  #answering = false;

  /**
   * `onChunk` sees what the source sent, and passes on what it likes by `forward` and `answer`. `buffer`:
   * what the source is read into, if it is read so.
   */
  constructor(
    source: Socket,
    target: Socket,
    onChunk: (chunk: Buffer) => void,
    buffer: ReadBuffer | undefined,
  ) {
    this.#source = source;
    this.#target = target;
    const take = (chunk: Buffer): void => {
      onChunk(chunk);
      if (this.#isBlocked) source.pause();
    };
    if (buffer === undefined) source.on("data", take);
    else
      buffer.onChunk = (chunk) => {
        take(chunk);
        return target.writableLength === 0 && source.writableLength === 0;
      };
  }

  forward(bytes: Uint8Array): void {
    const target = this.#target;
    if (!target.writable || target.write(bytes) || this.#forwarding) return;
    this.#forwarding = true;
    target.once("drain", () => {
      this.#forwarding = false;
      this.#resume();
    });
  }

  /** Back to where it came from. */
  answer(bytes: Uint8Array): void {
    const source = this.#source;
    if (!source.writable || source.write(bytes) || this.#answering) return;
    this.#answering = true;
    source.once("drain", () => {
      this.#answering = false;
      this.#resume();
    });
  }

  get #isBlocked(): boolean {
    return this.#forwarding || this.#answering;
  }

  #resume(): void {
    if (!this.#isBlocked && this.#source.readable) this.#source.resume();
  }
}
