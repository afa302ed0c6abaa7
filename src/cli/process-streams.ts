import type { Readable, Writable } from "node:stream";

/** What a command that takes and gives binary data has besides its terminal. */
export interface BinaryStreams {
  /** Standard input as bytes; undefined where it is a terminal, which no capture comes from. */
  readonly input: Readable | undefined;
  /** Standard output; undefined where it is a terminal, which no capture should go to. */
  readonly output: Writable | undefined;
  /** Draws on standard error; undefined where that is no terminal. */
  readonly draw: ((text: string) => void) | undefined;
}

export function processStreams(): BinaryStreams {
  return {
    get input() {
      return process.stdin.isTTY ? undefined : process.stdin;
    },
    output: process.stdout.isTTY ? undefined : process.stdout,
    draw: process.stderr.isTTY ? (text) => process.stderr.write(text) : undefined,
  };
}
