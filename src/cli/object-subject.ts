import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { setGlobal } from "../object/globals.ts";
import type { Subject } from "./loose-program.ts";
import { readObject } from "./read-object.ts";

/**
 * A program of an object file, by its name, or the only one it has; `globals` are NAME=VALUE texts.
 * Codes that begin with USAGE_ are the caller's mistakes.
 */
export function objectSubject(
  file: string,
  name: string | undefined,
  globals: readonly string[],
): Result<Subject, UserError> {
  let object = readObject(file);
  for (const text of globals) {
    if (!object.ok) return object;
    const equals = text.indexOf("=");
    if (equals < 1)
      return err(new UserError("USAGE_GLOBAL", `--global ${text}`, "expected NAME=VALUE"));
    object = setGlobal(object.value, text.slice(0, equals), scalarOf(text.slice(equals + 1)));
  }
  if (!object.ok) return object;
  const { programs, maps } = object.value;
  const names = programs.map((program) => program.name).join(", ");
  const program =
    name === undefined ? programs[0] : programs.find((candidate) => candidate.name === name);
  if (program === undefined)
    return err(
      new UserError(
        "OBJECT_NO_PROGRAM",
        file,
        name === undefined ? "has no program" : `has no program "${name}"`,
        names === "" ? undefined : `it has ${names}`,
      ),
    );
  if (name === undefined && programs.length > 1)
    return err(
      new UserError(
        "USAGE_PROGRAM",
        file,
        `has ${programs.length} programs`,
        `name one with --program: ${names}`,
      ),
    );
  return ok({ program, maps, object: object.value });
}

/** A number where the text is one, else the text: what a YAML scalar would be. */
function scalarOf(text: string): unknown {
  return /^-?[0-9]{1,15}$/.test(text) ? Number(text) : text;
}
