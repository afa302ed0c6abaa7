import { Lexer, parseDocument } from "yaml";
import { parseJson } from "../common/json.ts";
import { err, ok, type Result } from "../common/result.ts";

/** YAML is read of texts up to a line's length, as entry files have it; longer ones are JSON, as tools write it. */
const maxYamlLength = 4_096;
/** Levels of brackets: what a type of C has is less, and the YAML parser recurses. */
const maxDepth = 32;
/** What the lexer has before a text without quotes of its own: that is no bracket, whatever it looks like. */
const scalarMark = "\x1f";

/** Whether a text is to be read as an object, `{`, or as a list, `[`. */
export function isCollection(text: string, bracket: "{" | "["): boolean {
  return text.trimStart().startsWith(bracket);
}

/**
 * The object or list that a text holds, on one line as in YAML (JSON is that, too):
 * `{ address: 192.0.2.1, port: 53 }`. Each key once, no aliases; whole numbers beyond 2⁵³ are exact,
 * as bigint or as their digits. The error says what is wrong with it, in words that follow "it".
 */
export function parseCollection(text: string): Result<object, string> {
  if (text.length > maxYamlLength) return fromJson(text);
  if (isTooDeep(text)) return err(`is nested deeper than ${maxDepth} levels`);
  const document = parseDocument(text, {
    intAsBigInt: true,
    resolveKnownTags: false,
    logLevel: "error",
  });
  const [wrong = undefined] = [...document.errors, ...document.warnings];
  if (wrong !== undefined) return err(`is not valid YAML: ${firstLine(wrong.message)}`);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0, reviver: (_, part) => narrow(part) });
  } catch {
    return err("has an alias");
  }
  return typeof value === "object" && value !== null ? ok(value) : err("is no object and no list");
}

/** A number where that is exact: floating point takes no bigint. */
function narrow(value: unknown): unknown {
  const number = typeof value === "bigint" ? Number(value) : undefined;
  return Number.isSafeInteger(number) ? number : value;
}

function fromJson(text: string): Result<object, string> {
  try {
    // It begins with a bracket: what JSON makes of it is an object or a list.
    return ok(parseJson(text) as object);
  } catch {
    return err(`is longer than ${maxYamlLength} characters, and no JSON`);
  }
}

/** Dashes and question marks outside of brackets begin a level each: text that no collection is. */
function isTooDeep(text: string): boolean {
  let [depth, before] = [0, ""];
  for (const lexeme of new Lexer().lex(text)) {
    if (before !== scalarMark) {
      if (/^[[{?-]$/.test(lexeme)) depth++;
      else if (lexeme === "}" || lexeme === "]") depth--;
    }
    if (depth > maxDepth) return true;
    before = lexeme;
  }
  return false;
}

function firstLine(message: string): string {
  const [first = message] = message.split("\n");
  return first.replace(/[:.]?\s*$/, "").replace(/ at line \d+, column \d+$/, "");
}
