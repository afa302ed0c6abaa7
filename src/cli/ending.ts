import { closeSync, openSync } from "node:fs";
import { exitNow } from "../proxy/socket-calls.ts";
import { type EarlySignals, type ExitCode, exitCodes } from "./terminal.ts";

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
  /** Resolves on a second signal, if `lastWordsMs` are left for what is to be told of the end. */
  readonly again: Promise<Cause>;
  fail(text: string): void;
  /** Takes no signals any more: the process ends as they say. */
  release(): void;
}

export interface EndingOptions {
  /** What SIGHUP asks for. Absent: it ends the run, as the others do. */
  readonly onReload?: () => void;
  /** How long a second signal leaves, in milliseconds, before it ends the process. Absent: no time. */
  readonly lastWordsMs?: () => number;
  /** Signals that came before. */
  readonly early?: EarlySignals | undefined;
}

/**
 * Waits for the end of a run. The first signal drains; a second one ends the process with exit code 1,
 * after `lastWordsMs` at most; a third at once. SIGHUP asks to read the config again; but where the
 * terminal that the process was started on is gone, that is what it tells, and an end.
 */
export function waitForEnding({ onReload, lastWordsMs, early }: EndingOptions = {}): Ending {
  const cause = Promise.withResolvers<Cause>();
  const failure = Promise.withResolvers<Cause>();
  const again = Promise.withResolvers<Cause>();
  const endProcess = (): void => exitNow(exitCodes.failed);
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signals++;
    if (signals === 1) {
      cause.resolve({ text: signal, code: exitCodes.done });
      return;
    }
    const leftMs = signals === 2 ? (lastWordsMs?.() ?? 0) : 0;
    if (leftMs === 0) endProcess();
    again.resolve({ text: signal, code: exitCodes.failed });
    setTimeout(endProcess, leftMs);
  };
  const hadTerminal = hasTerminal();
  const onHangup = (): void => {
    if (onReload === undefined || (hadTerminal && !hasTerminal())) onSignal("SIGHUP");
    else onReload();
  };
  const listeners = { SIGTERM: onSignal, SIGINT: onSignal, SIGHUP: onHangup };
  for (const [signal, listener] of Object.entries(listeners)) process.on(signal, listener);
  for (const signal of early?.take() ?? []) listeners[signal](signal);
  return {
    cause: cause.promise,
    failure: failure.promise,
    again: again.promise,
    fail: (text) => {
      cause.resolve({ text, code: exitCodes.failed });
      failure.resolve({ text, code: exitCodes.failed });
    },
    release: () => {
      for (const [signal, listener] of Object.entries(listeners)) process.off(signal, listener);
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
