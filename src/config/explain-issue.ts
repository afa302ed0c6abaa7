import { z } from "zod";
import { closest, orList } from "../common/closest.ts";
import { ConfigProblem, type KeyPath, type ProblemCode, pathText } from "./config-problem.ts";
import type { YamlSource } from "./read-yaml.ts";
import { quote } from "./scalars.ts";
import { schemaNotes } from "./schema-parts.ts";

/** zod's message of a union without one of its own. */
const defaultMessage = "Invalid input";

/** What zod found wrong, told with its place in the text and what would be right. */
export function explainIssue(
  issue: z.core.$ZodIssue,
  root: z.core.$ZodType,
  source: YamlSource,
): ConfigProblem[] {
  const path = issue.path as KeyPath;
  const at = pathText(path);
  const value = valueAt(source.value, path);
  const { schema, help } = schemaAt(root, path, source.value);
  const problem = (what: string, fix?: string, code: ProblemCode = "CONFIG_VALUE"): ConfigProblem =>
    new ConfigProblem(
      code,
      source.file,
      source.locate(path),
      at === "" ? what : `${at}: ${what}`,
      fix,
    );

  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => unknownKey(key, path, schema, source));
  if (issue.code === "invalid_key") {
    // zod leaves the value of a wrong key alone; people want to hear of both.
    const inside = schema === undefined ? [] : (z.safeParse(schema, value).error?.issues ?? []);
    return [
      new ConfigProblem(
        "CONFIG_VALUE",
        source.file,
        source.locateKey(path),
        `${at}: ${issue.issues[0]?.message ?? issue.message}`,
      ),
      ...inside.flatMap((one) =>
        explainIssue({ ...one, path: [...path, ...one.path] }, root, source),
      ),
    ];
  }
  if (value === undefined && path.length > 0) return [missingKey(path, schema, help, source)];
  switch (issue.code) {
    case "invalid_value":
      return [wrongWord(value, issue.values, problem)];
    case "too_small":
    case "too_big":
      return [problem(outOfRange(issue, value, schema))];
    case "custom":
      return [problem(issue.message, textParameter(issue.params, "fix"))];
    case "invalid_format":
      return [problem(issue.message, exampleFix(schema))];
    case "invalid_union": {
      const inside = issuesOfBlock(issue, value);
      if (inside.length > 0)
        return inside.flatMap((one) =>
          explainIssue({ ...one, path: [...path, ...one.path] }, root, source),
        );
      return [
        problem(
          issue.message === defaultMessage
            ? `expected ${nounOf(schema)}, found ${found(value)}`
            : issue.message,
          nearOption(issue, value),
        ),
      ];
    }
    default:
      return [
        problem(`expected ${nounOf(schema)}, found ${found(value)}`, shapeFix(value, schema)),
      ];
  }
}

function unknownKey(
  key: string,
  path: KeyPath,
  schema: z.core.$ZodType | undefined,
  source: YamlSource,
): ConfigProblem {
  const keyPath = [...path, key];
  const at = source.locateKey(keyPath);
  const keys = schema instanceof z.core.$ZodObject ? Object.keys(schema._zod.def.shape) : [];
  const near = closest(key, keys);
  return new ConfigProblem(
    "CONFIG_UNKNOWN_KEY",
    source.file,
    at,
    `${pathText(keyPath)}: no such key`,
    near === undefined ? `the keys here are ${keys.join(", ")}` : `did you mean ${near}?`,
  );
}

function missingKey(
  path: KeyPath,
  schema: z.core.$ZodType | undefined,
  help: string | undefined,
  source: YamlSource,
): ConfigProblem {
  const parent = path.slice(0, -1);
  const key = String(path.at(-1));
  const example = exampleOf(schema);
  return new ConfigProblem(
    "CONFIG_VALUE",
    source.file,
    source.locate(parent),
    `${parent.length === 0 ? "" : `${pathText(parent)}: `}${key} is missing`,
    `add ${key}: ${example ?? "…"}${help === undefined ? "" : ` (${help.replace(/\.$/, "")})`}`,
  );
}

function wrongWord(
  value: unknown,
  allowed: readonly unknown[],
  problem: (what: string, fix?: string) => ConfigProblem,
): ConfigProblem {
  const words = allowed.map(String);
  const written = typeof value === "string" ? value : undefined;
  const near = written === undefined ? undefined : closest(written, words);
  const fix =
    near !== undefined && words.length > 1 ? `did you mean ${near}?` : `write ${orList(words)}`;
  return problem(`expected ${orList(words)}, found ${found(value)}`, fix);
}

function outOfRange(
  issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig,
  value: unknown,
  schema: z.core.$ZodType | undefined,
): string {
  const [least, bound] =
    issue.code === "too_small" ? ["at least", issue.minimum] : ["at most", issue.maximum];
  if (issue.origin === "array")
    return `expected ${least} ${bound} of them, found ${(value as unknown[]).length}`;
  if (issue.origin === "string")
    return value === ""
      ? `expected ${nounOf(schema)}, found an empty text`
      : `expected ${least} ${bound} characters, found ${(value as string).length}`;
  const noun = notesOf(schema)?.noun;
  return `expected ${noun ?? `${least} ${bound}`}, found ${found(value)}`;
}

/** How a value of the wrong shape would be written in the right one. */
function shapeFix(value: unknown, schema: z.core.$ZodType | undefined): string | undefined {
  if (schema instanceof z.core.$ZodArray)
    return typeof value === "string" || typeof value === "number"
      ? `write [${value}]`
      : "write one element a line, each after a hyphen, or [a, b]";
  if (schema instanceof z.core.$ZodObject || schema instanceof z.core.$ZodRecord)
    return "write its keys below it, indented";
  if (
    schema instanceof z.core.$ZodString &&
    (typeof value === "number" || typeof value === "boolean")
  )
    return exampleFix(schema) ?? `write "${value}" in quotes`;
  return exampleFix(schema);
}

function exampleFix(schema: z.core.$ZodType | undefined): string | undefined {
  const example = exampleOf(schema);
  return example === undefined ? undefined : `for example ${example}`;
}

/** An example as it would stand in the file: quoted where YAML might read something else. */
function exampleOf(schema: z.core.$ZodType | undefined): string | undefined {
  if (schema === undefined) return undefined;
  if (schema instanceof z.core.$ZodLiteral) return String(schema._zod.def.values[0]);
  if (schema instanceof z.core.$ZodEnum) return String(Object.values(schema._zod.def.entries)[0]);
  const example = (
    z.globalRegistry.get(schema as z.ZodType)?.examples as readonly unknown[] | undefined
  )?.[0];
  if (example === undefined) return undefined;
  const text = String(example);
  return text.includes(":") ? JSON.stringify(text) : text;
}

function notesOf(schema: z.core.$ZodType | undefined) {
  return schema === undefined ? undefined : schemaNotes.get(schema);
}

const nouns: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a block of keys",
  record: "a block of names",
};

function nounOf(schema: z.core.$ZodType | undefined): string {
  return notesOf(schema)?.noun ?? nouns[schema?._zod.def.type ?? ""] ?? "something else";
}

function found(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "a block" : quote(value);
}

function valueAt(value: unknown, path: KeyPath): unknown {
  let at = value;
  for (const part of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<string | number, unknown>)[part];
  }
  return at;
}

/**
 * The schema that judges the value at `path`, without what wraps it (defaults, transforms), and
 * its help line.
 */
function schemaAt(
  root: z.core.$ZodType,
  path: KeyPath,
  value: unknown,
): { schema: z.core.$ZodType | undefined; help: string | undefined } {
  let schema: z.core.$ZodType | undefined = unwrapped(root, value);
  let help: string | undefined;
  let at = value;
  for (const part of path) {
    at = valueAt(at, [part]);
    let next: z.core.$ZodType | undefined;
    if (schema instanceof z.core.$ZodObject) next = schema._zod.def.shape[part];
    else if (schema instanceof z.core.$ZodRecord) next = schema._zod.def.valueType;
    else if (schema instanceof z.core.$ZodArray) next = schema._zod.def.element;
    if (next === undefined) return { schema: undefined, help: undefined };
    help = z.globalRegistry.get(next as z.ZodType)?.description;
    schema = unwrapped(next, at);
  }
  return { schema, help };
}

function unwrapped(schema: z.core.$ZodType, value: unknown): z.core.$ZodType {
  let inner = schema;
  for (;;) {
    if (inner instanceof z.core.$ZodUnion && found(value) === "a block") {
      const option = inner._zod.def.options.find((one) => one instanceof z.core.$ZodObject);
      if (option !== undefined && !(inner instanceof z.core.$ZodDiscriminatedUnion)) return option;
    }
    if (notesOf(inner)?.noun !== undefined) return inner;
    if (
      inner instanceof z.core.$ZodOptional ||
      inner instanceof z.core.$ZodDefault ||
      inner instanceof z.core.$ZodPrefault ||
      inner instanceof z.core.$ZodReadonly
    )
      inner = inner._zod.def.innerType;
    else if (inner instanceof z.core.$ZodPipe) inner = inner._zod.def.in;
    else if (inner instanceof z.core.$ZodDiscriminatedUnion) {
      const { discriminator, options } = inner._zod.def;
      const word = valueAt(value, [discriminator]);
      const option = options.find((one) => wordsOf(one, discriminator).includes(word));
      if (option === undefined) return inner;
      inner = option;
    } else return inner;
  }
}

/** The values by which an option of a discriminated union is chosen. */
function wordsOf(option: z.core.$ZodType, discriminator: string): unknown[] {
  return [...(option._zod.propValues?.[discriminator] ?? [])];
}

/** For a block where a union takes a word or a block: what is wrong within it. */
function issuesOfBlock(
  issue: z.core.$ZodIssueInvalidUnion,
  value: unknown,
): readonly z.core.$ZodIssue[] {
  if (found(value) !== "a block") return [];
  return issue.errors.find((issues) => issues.some(({ path }) => path.length > 0)) ?? [];
}

/** For a union chosen by a word that is none of its words: the one that was probably meant. */
function nearOption(issue: z.core.$ZodIssueInvalidUnion, value: unknown): string | undefined {
  if (!("options" in issue) || !Array.isArray(issue.options) || typeof value !== "string")
    return undefined;
  const near = closest(value, issue.options.map(String));
  return near === undefined ? undefined : `did you mean ${near}?`;
}

function textParameter(
  params: Record<string, unknown> | undefined,
  key: string,
): string | undefined {
  const text = params?.[key];
  return typeof text === "string" ? text : undefined;
}
