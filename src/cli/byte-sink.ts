import { closeSync, constants, fstatSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { Writable } from "node:stream";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";

/** Where the bytes of a capture go. */
export interface ByteSink {
  /** Takes bytes that do not change afterwards. */
  write(bytes: Uint8Array): void;
  /** Lets go of what is gathered, for whoever reads along. */
  flush(): void;
  /** Resolves when it will take more without holding it in memory. */
  ready(): Promise<void>;
  /** All has been written. */
  end(): Promise<void>;
  /** Why it takes nothing any more. */
  readonly error: UserError | undefined;
}

/** Bytes that are gathered for one write. */
const gatheredBytes = 262_144;

/**
 * A file, written as the packets come: what lies in memory is bounded, and what was written is in
 * the file even where the process is ended from outside.
 */
export class FileSink implements ByteSink {
  readonly #path: string;
  readonly #file: number;
  readonly #gathered = new Uint8Array(gatheredBytes);
  #used = 0;
  #error: UserError | undefined;
  readonly #onExit = (): void => this.flush();

  private constructor(path: string, file: number) {
    this.#path = path;
    this.#file = file;
    process.on("exit", this.#onExit);
  }

  /** Opens a file for writing; what an old one holds stays until `empty`. */
  static open(path: string): Result<FileSink, UserError> {
    try {
      return ok(new FileSink(path, openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o666)));
    } catch (error) {
      return err(unwritable(path, error));
    }
  }

  /** Discards what an old file holds, before anything is written. */
  empty(): void {
    try {
      // Devices and pipes have no length.
      if (fstatSync(this.#file).isFile()) ftruncateSync(this.#file);
    } catch (error) {
      this.#error = unwritable(this.#path, error);
    }
  }

  /** Leaves the file as it is. */
  abandon(): void {
    process.off("exit", this.#onExit);
    closeSync(this.#file);
  }

  get error(): UserError | undefined {
    return this.#error;
  }

  write(bytes: Uint8Array): void {
    if (this.#used + bytes.length > gatheredBytes) this.flush();
    if (bytes.length > gatheredBytes) this.#writeAll(bytes);
    else {
      this.#gathered.set(bytes, this.#used);
      this.#used += bytes.length;
    }
  }

  async ready(): Promise<void> {}

  async end(): Promise<void> {
    this.flush();
    this.abandon();
  }

  flush(): void {
    const bytes = this.#gathered.subarray(0, this.#used);
    this.#used = 0;
    this.#writeAll(bytes);
  }

  #writeAll(bytes: Uint8Array): void {
    if (this.#error !== undefined) return;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at);
    } catch (error) {
      this.#error = unwritable(this.#path, error);
    }
  }
}

/** Standard output. That its reader went away ends the process, elsewhere. */
export class StreamSink implements ByteSink {
  readonly error = undefined;
  readonly #stream: Writable;
  #gathered: Uint8Array[] = [];
  #bytes = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  write(bytes: Uint8Array): void {
    this.#gathered.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes > gatheredBytes) this.flush();
  }

  async ready(): Promise<void> {
    if (this.#stream.writableNeedDrain)
      await new Promise((resolve) => this.#stream.once("drain", resolve));
  }

  async end(): Promise<void> {
    this.flush();
    await this.ready();
  }

  flush(): void {
    if (this.#bytes > 0) this.#stream.write(Buffer.concat(this.#gathered));
    this.#gathered = [];
    this.#bytes = 0;
  }
}

/** Why the system would not write a file, in words. */
export function unwritable(path: string, error: unknown): UserError {
  const { code } = error as NodeJS.ErrnoException;
  const known: Readonly<Record<string, string>> = {
    ENOENT: "its folder does not exist",
    EISDIR: "is a folder",
    EACCES: "may not be written",
    EROFS: "may not be written: the file system is read-only",
    ENOSPC: "the disk is full",
  };
  return new UserError(
    "OUTPUT_UNWRITABLE",
    path,
    known[code ?? ""] ?? `cannot be written (${code ?? String(error)})`,
  );
}
