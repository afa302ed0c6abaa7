import { readFile } from "node:fs/promises";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Terminal } from "./terminal.ts";

/** A file's text; `-` is standard input. */
export async function readText(
  file: string,
  terminal: Terminal,
): Promise<Result<string, UserError>> {
  if (file !== "-")
    try {
      return ok(await readFile(file, "utf8"));
    } catch (error) {
      return err(new UserError("FILE_UNREADABLE", file, systemReason(error)));
    }
  let text = "";
  for await (const chunk of terminal.input()) text += chunk;
  return ok(text);
}

/** Why the system would not read a file, in words. */
export function systemReason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return "no such file";
  if (code === "EISDIR") return "is a folder";
  if (code === "EACCES") return "may not be read";
  return `cannot be read (${code ?? String(error)})`;
}
