import { err, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { readBounded } from "../config/read-file.ts";
import { maxObjectBytes } from "../object/elf.ts";
import { loadObject } from "../object/load-object.ts";
import type { ObjectSpec } from "../object/object-spec.ts";

/** Reads an object file that a command names. */
export function readObject(file: string): Result<ObjectSpec, UserError> {
  const bytes = readBounded(file, maxObjectBytes);
  if (bytes.ok) return loadObject(bytes.value, file);
  return err(new UserError("OBJECT_UNREADABLE", file, bytes.error.what, bytes.error.fix));
}
