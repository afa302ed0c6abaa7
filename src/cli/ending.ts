import { type ExitCode, exitCodes } from "./terminal.ts";

/** Why a run ends, and with what exit code. */
export interface Cause {
  readonly text: string;
  readonly code: ExitCode;
}

/** What can end a run: a signal, or the failure of something it cannot go on without. */
export interface Ending {
  readonly cause: Promise<Cause>;
  fail(text: string): void;
  /** Takes no signals any more: the process ends as they say. */
  release(): void;
}

const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/**
 * Waits for the end of a run. The first signal drains; a second one ends the process at once, as
 * the signal's own default would.
 */
export function waitForEnding(): Ending {
  let end: (cause: Cause) => void = () => {};
  const cause = new Promise<Cause>((resolve) => {
    end = resolve;
  });
  let signalled = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signalled) process.exit(exitCodes.failed);
    signalled = true;
    end({ text: signal, code: exitCodes.done });
  };
  for (const signal of signals) process.on(signal, onSignal);
  return {
    cause,
    fail: (text) => end({ text, code: exitCodes.failed }),
    release: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
