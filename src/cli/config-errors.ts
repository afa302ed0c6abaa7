import type { UserError } from "../common/user-error.ts";
import { type ExitCode, errorObject, errorText, exitCodes, type Terminal } from "./terminal.ts";

/**
 * Prints all that is wrong with a config, a line each, and with `json` as an object too. Where all that is wrong is objects
 * that Weir refuses, that is a failure; anything else is a wrong config.
 */
export function reportConfigErrors(
  errors: readonly UserError[],
  terminal: Terminal,
  { json = false }: { readonly json?: boolean } = {},
): ExitCode {
  if (json) terminal.out(`${JSON.stringify({ errors: errors.map(errorObject) })}\n`);
  for (const error of errors) terminal.error(errorText(error));
  if (errors.length > 1) terminal.error(`${errors.length} errors\n`);
  return errors.every((error) => error.code === "CONFIG_OBJECT")
    ? exitCodes.failed
    : exitCodes.usage;
}
