import type { UserError } from "../common/user-error.ts";
import { type ExitCode, errorText, exitCodes, type Terminal } from "./terminal.ts";

/**
 * Prints all that is wrong with a config, a line each. Where all that is wrong is objects
 * that Weir refuses, that is a failure; anything else is a wrong config.
 */
export function reportConfigErrors(errors: readonly UserError[], terminal: Terminal): ExitCode {
  for (const error of errors) terminal.error(errorText(error));
  if (errors.length > 1) terminal.error(`${errors.length} errors\n`);
  return errors.every((error) => error.code === "CONFIG_OBJECT")
    ? exitCodes.failed
    : exitCodes.usage;
}
