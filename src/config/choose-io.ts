import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { DatagramIo } from "../proxy/plan.ts";
import { socketCallsProblem } from "../proxy/socket-calls.ts";
import type { ListenerConfig } from "./config.ts";

/** A listener whose `io: auto` is dgram here, and why. */
export interface IoFallback {
  readonly listener: string;
  readonly reason: string;
}

interface ChosenIo {
  readonly of: (listener: ListenerConfig) => DatagramIo;
  readonly fallbacks: readonly IoFallback[];
}

/** What carries the datagrams of each listener on this system. Errors: those that ask for what it has not. */
export async function chooseIo(
  listeners: readonly ListenerConfig[],
): Promise<Result<ChosenIo, readonly UserError[]>> {
  const asking = listeners.filter(({ io }) => io === "mmsg" || io === "auto");
  const problem = asking.length === 0 ? undefined : await socketCallsProblem();
  if (problem === undefined)
    return ok({ of: ({ io = "dgram" }) => (io === "auto" ? "mmsg" : io), fallbacks: [] });
  const errors = asking
    .filter(({ io }) => io === "mmsg")
    .map(
      ({ name }) =>
        new UserError(
          "LISTENER_IO",
          `listener ${name}`,
          `io: mmsg cannot be had: ${problem}`,
          "set io to auto, which does without, or to dgram",
        ),
    );
  if (errors.length > 0) return err(errors);
  const fallbacks = asking.map(({ name }) => ({ listener: name, reason: problem }));
  return ok({ of: () => "dgram", fallbacks });
}
