import type { Socket } from "node:net";
import type { ReadBuffer } from "./read-buffer.ts";

/**
 * Carries one direction of a connection: chunks of `source` to `target`, no faster than `target`
 * takes them. What is written waits in at most the socket's high-water mark plus one chunk.
 */
export class TcpPump {
  readonly #source: Socket;
  readonly #target: Socket;
  /** Bytes sent back to the source have not all left: it must not make more of them. */
  #answering = false;

  /**
   * `onChunk` sees what the source sent, and passes on what it likes by `forward` and `answer`. `buffer`:
   * what the source is read into, if it was made so.
   */
  constructor(
    source: Socket,
    target: Socket,
    onChunk: (chunk: Buffer) => void,
    buffer?: ReadBuffer,
  ) {
    this.#source = source;
    this.#target = target;
    const take = (chunk: Buffer): void => {
      onChunk(chunk);
      if (this.#blocked) source.pause();
    };
    if (buffer === undefined) source.on("data", take);
    else
      buffer.onChunk = (chunk) => {
        take(chunk);
        return target.writableLength === 0 && source.writableLength === 0;
      };
    target.on("drain", () => this.#resume());
    source.on("drain", () => {
      this.#answering = false;
      this.#resume();
    });
  }

  start(): void {
    this.#source.resume();
  }

  forward(bytes: Uint8Array): void {
    if (this.#target.writable) this.#target.write(bytes);
  }

  /** Back to where it came from. */
  answer(bytes: Uint8Array): void {
    if (this.#source.writable && !this.#source.write(bytes)) this.#answering = true;
  }

  get #blocked(): boolean {
    return this.#target.writableNeedDrain || this.#answering;
  }

  #resume(): void {
    if (!this.#blocked && this.#source.readable) this.#source.resume();
  }
}
