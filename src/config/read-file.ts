import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import type { Wrong } from "./scalars.ts";

/** The path of a file that a config in `folder` names. */
export function fileAt(folder: string, name: string): string {
  return isAbsolute(name) ? name : join(folder, name);
}

/** What to do where there is no such file. */
export const checkPath = "check the path";

/**
 * The bytes of a regular file of at most `maxBytes`. A device or a pipe is refused, not read. The error
 * does not name the file: it is for messages that begin with that, or see `inFile`.
 */
export function readBounded(file: string, maxBytes: number): Result<Uint8Array, Wrong> {
  try {
    // Before opening: to open a pipe that no one writes waits for ever.
    if (!statSync(file).isFile()) return err({ what: "is not a file", fix: "name a regular file" });
    const descriptor = openSync(file, "r");
    try {
      const { size } = fstatSync(descriptor);
      if (size > maxBytes)
        return err({
          what: `has ${size} bytes, more than the ${maxBytes} that are read`,
          fix: "name a smaller file",
        });
      const bytes = new Uint8Array(size);
      let at = 0;
      while (at < size) {
        const read = readSync(descriptor, bytes, at, size - at, at);
        if (read === 0) break;
        at += read;
      }
      return ok(bytes.subarray(0, at));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return err(unreadable(error));
  }
}

/** The same with the file's name in front, where a message begins with what names it. */
export function inFile(file: string, { what, fix }: Wrong): Wrong {
  return { what: `${file}: ${what}`, fix };
}

function unreadable(error: unknown): Wrong {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === undefined) throw error;
  if (code === "ENOENT" || code === "ENOTDIR")
    return { what: "there is no such file", fix: checkPath };
  if (code === "EACCES" || code === "EPERM")
    return { what: "may not be read", fix: "check its permissions" };
  return { what: `cannot be read (${code})`, fix: checkPath };
}
