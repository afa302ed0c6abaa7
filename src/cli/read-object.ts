import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { readBounded } from "../config/read-file.ts";
import { maxObjectBytes } from "../object/elf.ts";
import { loadObject } from "../object/load-object.ts";
import type { ObjectSpec } from "../object/object-spec.ts";
import { systemReason } from "./read-text.ts";
import { readWhole } from "./whole-io.ts";

/** Reads an object file that a command names. */
export function readObject(file: string): Result<ObjectSpec, UserError> {
  const bytes = readBounded(file, maxObjectBytes);
  if (bytes.ok) return loadObject(bytes.value, file);
  return err(new UserError("OBJECT_UNREADABLE", file, bytes.error.what, bytes.error.fix));
}

/** Reads an object from standard input, to its end. */
export function readObjectFromInput(): Result<ObjectSpec, UserError> {
  const where = "standard input";
  const bytes = inputBytes();
  if (!bytes.ok) return err(new UserError("OBJECT_UNREADABLE", where, bytes.error));
  if (bytes.value.length <= maxObjectBytes) return loadObject(bytes.value, where);
  const what = `has more than the ${maxObjectBytes} bytes that are read`;
  return err(new UserError("OBJECT_UNREADABLE", where, what, "give a smaller object"));
}

function inputBytes(): Result<Uint8Array, string> {
  try {
    return ok(readWhole(0, maxObjectBytes));
  } catch (error) {
    return err(systemReason(error));
  }
}
