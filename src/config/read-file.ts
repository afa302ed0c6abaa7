import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import type { Wrong } from "./scalars.ts";

/** The path of a file that a config in `folder` names. */
export function fileAt(folder: string, name: string): string {
  return isAbsolute(name) ? name : join(folder, name);
}

/** Why a file was not read. */
export interface Unreadable extends Wrong {
  /** What is wrong without the file's name, for messages that begin with it. */
  readonly problem: string;
}

/** The bytes of a regular file of at most `maxBytes`. A device or a pipe is refused, not read. */
export function readBounded(file: string, maxBytes: number): Result<Uint8Array, Unreadable> {
  try {
    // Before opening: to open a pipe that no one writes waits for ever.
    if (!statSync(file).isFile()) return err(refused(file, "is not a file", "name a regular file"));
    const descriptor = openSync(file, "r");
    try {
      const { size } = fstatSync(descriptor);
      if (size > maxBytes)
        return err(
          refused(
            file,
            `has ${size} bytes, more than the ${maxBytes} that are read`,
            "name a smaller file",
          ),
        );
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
    return err(unreadable(file, error));
  }
}

function refused(file: string, problem: string, fix: string): Unreadable {
  return { what: `${file} ${problem}`, problem, fix };
}

function unreadable(file: string, error: unknown): Unreadable {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === undefined) throw error;
  if (code === "ENOENT" || code === "ENOTDIR")
    return {
      what: `there is no file ${file}`,
      problem: "there is no such file",
      fix: "check the path",
    };
  if (code === "EACCES" || code === "EPERM")
    return refused(file, "may not be read", "check its permissions");
  return refused(file, `cannot be read (${code})`, "check the path");
}
