import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";

export type UpdateFlag = "any" | "noexist" | "exist";

/** What `key … value … [any|noexist|exist]` says. Values as the API takes them; what is absent, undefined. */
export interface EntryWords {
  readonly key: unknown;
  readonly value: unknown;
  readonly flags: UpdateFlag | undefined;
}

/** A program or map named by bpftool's words: `id 3`, `name NAME`, `tag TAG`, or the name alone. */
export function referenceOf(words: readonly string[]): Result<string, UserError> {
  const [first, second] = words;
  if (words.length === 1 && first !== undefined) return ok(first);
  if (words.length === 2 && ["id", "name", "tag"].includes(first!)) return ok(second!);
  return err(usage(words, "expected a name or number, or id N, name NAME, tag TAG"));
}

/** The words of a reference at the start, and those after it. */
export function splitReference(
  words: readonly string[],
): Result<{ reference: string; rest: readonly string[] }, UserError> {
  const length = ["id", "name", "tag"].includes(words[0] ?? "") && words.length > 1 ? 2 : 1;
  const reference = referenceOf(words.slice(0, length));
  return reference.ok ? ok({ reference: reference.value, rest: words.slice(length) }) : reference;
}

/** Which parts there are to an entry: a push has no key, a look-up no value. */
export interface EntryParts {
  readonly key: "needed" | "optional" | "none";
  readonly value: boolean;
}

/**
 * Reads a key and a value as bpftool takes them (`key hex 0a 00`, `key 10 0 0 1`: a byte a word),
 * or typed, as one word: `key 203.0.113.0/24 value 1`. A value's key may be left out where the map
 * has none, and `limit 4` is the variable of a data section.
 */
export function parseEntryWords(
  words: readonly string[],
  takes: EntryParts,
): Result<EntryWords, UserError> {
  let rest = words;
  let flags: UpdateFlag | undefined;
  const last = rest.at(-1);
  if (
    takes.value &&
    (last === "any" || last === "noexist" || last === "exist") &&
    rest.length > (rest[0] === "key" ? 4 : 2)
  ) {
    flags = last;
    rest = rest.slice(0, -1);
  }
  const isEnd = rest.length === 0;
  if (isEnd && !takes.value && takes.key !== "needed")
    return ok({ key: undefined, value: undefined, flags });
  if (takes.value && takes.key !== "needed" && rest[0] === "value") {
    const value = dataOf(rest.slice(1));
    return value.ok ? ok({ key: undefined, value: value.value, flags }) : value;
  }
  if (takes.key === "none")
    return err(usage(words, takes.value ? "expected value DATA" : "expected a map and no more"));
  const [name] = rest;
  if (takes.value && takes.key === "optional" && isVariable(name) && rest.length > 1) {
    const value = dataOf(rest.slice(1));
    return value.ok ? ok({ key: undefined, value: { [name]: value.value }, flags }) : value;
  }
  const valueAt = takes.value ? rest.indexOf("value", 2) : rest.length;
  if (rest[0] !== "key" || valueAt < 0)
    return err(
      usage(words, `expected key DATA${takes.value ? " value DATA [any|noexist|exist]" : ""}`),
    );
  const key = dataOf(rest.slice(1, valueAt));
  if (!key.ok) return key;
  if (!takes.value) return ok({ key: key.value, value: undefined, flags });
  const value = dataOf(rest.slice(valueAt + 1));
  return value.ok ? ok({ key: key.value, value: value.value, flags }) : value;
}

/** A name in C, with what tells apart those that are there twice. */
function isVariable(word: string | undefined): word is string {
  return word !== undefined && word !== "key" && /^[A-Za-z_][A-Za-z0-9_.]*(@\d+)?$/.test(word);
}

function dataOf(words: readonly string[]): Result<string, UserError> {
  const [first] = words;
  if (first === undefined) return err(usage(words, "there is no data after key or value"));
  const isHex = first === "hex";
  if (!isHex && words.length === 1) return ok(first);
  let bytes = "";
  for (const word of isHex ? words.slice(1) : words) {
    // Bytes in hex may stand together: hex 0a000001.
    if (isHex && /^([0-9a-f]{2})+$/i.test(word)) {
      bytes += word;
      continue;
    }
    const byte = !isHex && /^(\d{1,3}|0x[0-9a-f]{1,2})$/i.test(word) ? Number(word) : Number.NaN;
    if (!(byte <= 255))
      return err(
        usage(
          words,
          isHex
            ? `"${word}" is no byte in hex: two digits`
            : `"${word}" is no byte: a number from 0 to 255`,
        ),
      );
    bytes += byte.toString(16).padStart(2, "0");
  }
  return ok(`hex:${bytes}`);
}

function usage(words: readonly string[], what: string): UserError {
  return new UserError("USAGE_WORDS", words.join(" ") || "arguments", what);
}
