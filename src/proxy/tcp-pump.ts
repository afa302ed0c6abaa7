import type { Socket } from "node:net";

/**
 * Carries one direction of a connection: chunks of `source` to `target`, no faster than `target`
 * takes them. What is written waits in at most the socket's high-water mark plus one chunk.
 */
export class TcpPump {
  readonly #source: Socket;
  readonly #target: Socket;
  /** Bytes sent back to the source have not all left: it must not make more of them. */
  #answering = false;

  /** `onChunk` sees what the source sent, and passes on what it likes by `forward` and `answer`. */
  constructor(source: Socket, target: Socket, onChunk: (chunk: Buffer) => void) {
    this.#source = source;
    this.#target = target;
    source.on("data", (chunk: Buffer) => {
      onChunk(chunk);
      if (this.#blocked) source.pause();
    });
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
