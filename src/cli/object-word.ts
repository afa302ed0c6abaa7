import { statSync } from "node:fs";
import { UserError } from "../common/user-error.ts";

/**
 * That the first of some words is an object file, where a program's or a map's name belongs. Names and
 * tags have no dot: `.o` at the end is a file's, whether or not there is one.
 */
export function objectInPlaceOfName(
  command: string,
  words: readonly string[],
): UserError | undefined {
  const [word] = words;
  if (word === undefined || !isObjectWord(word)) return undefined;
  const rest = words.slice(1).map((one) => ` ${one}`);
  return new UserError(
    "USAGE_OBJECT",
    word,
    "is an object file, and a name of a running proxy belongs here",
    `weir ${command} --object ${word}${rest.join("")}`,
  );
}

/** Whether a word is an object file's path: by its end, or since the file is there and no name looks like it. */
export function isObjectWord(word: string): boolean {
  return word.endsWith(".o") || (/[./]/.test(word) && isFile(word));
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
