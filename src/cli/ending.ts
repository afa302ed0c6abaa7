import { closeSync, openSync } from "node:fs";
import { type ExitCode, exitCodes } from "./terminal.ts";

/** Why a run ends, and with what exit code. */
export interface Cause {
  readonly text: string;
  readonly code: ExitCode;
}

/** What can end a run: a signal, or the failure of something it cannot go on without. */
export interface Ending {
  readonly cause: Promise<Cause>;
  /** Resolves when something failed that the run cannot go on without, also after `cause`. */
  readonly failure: Promise<Cause>;
  fail(text: string): void;
  /** Takes no signals any more: the process ends as they say. */
  release(): void;
}

const signals = ["SIGTERM", "SIGINT"] as const;

/**
 * Waits for the end of a run. The first signal drains; a second one ends the process at once, as
 * the signal's own default would. SIGHUP asks to read the config again; but where the terminal that
 * the process was started on is gone, that is what it tells, and an end. Without `onReload` it is one
 * always.
 */
export function waitForEnding(onReload?: () => void): Ending {
  let end: (cause: Cause) => void = () => {};
  const cause = new Promise<Cause>((resolve) => {
    end = resolve;
  });
  let failed: (cause: Cause) => void = () => {};
  const failure = new Promise<Cause>((resolve) => {
    failed = resolve;
  });
  let signalled = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signalled) process.exit(exitCodes.failed);
    signalled = true;
    end({ text: signal, code: exitCodes.done });
  };
  const hadTerminal = hasTerminal();
  const onHangup = (): void => {
    if (onReload === undefined || (hadTerminal && !hasTerminal())) onSignal("SIGHUP");
    else onReload();
  };
  for (const signal of signals) process.on(signal, onSignal);
  process.on("SIGHUP", onHangup);
  return {
    cause,
    failure,
    fail: (text) => {
      end({ text, code: exitCodes.failed });
      failed({ text, code: exitCodes.failed });
    },
    release: () => {
      for (const signal of signals) process.off(signal, onSignal);
      process.off("SIGHUP", onHangup);
    },
  };
}

/** Whether the process has a controlling terminal. One that has hung up cannot be opened. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}
