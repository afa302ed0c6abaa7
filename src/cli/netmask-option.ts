import { parseDotted } from "../cbpf/expression/address.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";

/** What `--netmask` adds to the options of the expression compiler: nothing, where it was left out. */
export function parseNetmask(
  text: string | undefined,
): Result<{ readonly netmask?: number }, UserError> {
  if (text === undefined) return ok({});
  const mask = parseDotted(text);
  if (mask?.bits === 32) return ok({ netmask: mask.value });
  return err(
    new UserError(
      "USAGE",
      `--netmask ${text.slice(0, 60)}`,
      "this is no netmask",
      "expected four numbers with dots: 255.255.255.0",
    ),
  );
}
