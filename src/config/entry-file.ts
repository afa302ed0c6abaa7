import { isUtf8 } from "node:buffer";
import { err, ok, type Result } from "../common/result.ts";
import { ConfigProblem, type Position } from "./config-problem.ts";
import { inFile, readBounded } from "./read-file.ts";
import { readYaml } from "./read-yaml.ts";
import type { Wrong } from "./scalars.ts";

/** Room for some millions of addresses. */
const maxFileBytes = 256 * 1_048_576;
const maxLineLength = 4_096;

/** One line of an entry file: key and value as the config would hold them. */
export interface FileEntry {
  readonly key: unknown;
  readonly value: unknown;
  readonly at: Position;
}

/**
 * Reads map entries: a line each, `key,value`, where `#` begins a comment. A key or value that is a
 * list or a block is written as in YAML: `{ address: 192.0.2.1, port: 53 },1`.
 *
 * The error says why the file cannot be read. Else its lines are read as they are taken, one at a
 * time; a problem in one does not keep others from being read.
 */
export function readEntryFile(file: string): Result<Iterable<FileEntry | ConfigProblem>, Wrong> {
  const bytes = readBounded(file, maxFileBytes);
  if (!bytes.ok) return err(inFile(file, bytes.error));
  const { buffer, byteOffset, length } = bytes.value;
  const text = Buffer.from(buffer, byteOffset, length);
  if (!isUtf8(text)) return err(inFile(file, { what: "is not text in UTF-8", fix: "convert it" }));
  return ok(linesOf(text, file));
}

const byteOrderMark = Buffer.from("\u{feff}");

function* linesOf(text: Buffer, file: string): Generator<FileEntry | ConfigProblem> {
  const hasMark = text.subarray(0, byteOrderMark.length).equals(byteOrderMark);
  let number = 1;
  for (let at = hasMark ? byteOrderMark.length : 0; at < text.length; number++) {
    const found = text.indexOf(newline, at);
    const end = found < 0 ? text.length : found;
    // A character has at most three bytes for each of its UTF-16 units.
    const isLong = end - at > 3 * maxLineLength;
    const line = isLong ? undefined : text.toString("utf8", at, end);
    at = end + 1;
    const read =
      line === undefined || line.length > maxLineLength
        ? problem(
            file,
            { line: number, column: maxLineLength + 1 },
            `the line is longer than ${maxLineLength} characters`,
            "write one key,value a line",
          )
        : readLine(line, number, file);
    if (read !== undefined) yield read;
  }
}

const newline = 10;

/** Undefined: there is nothing on it. */
function readLine(
  raw: string,
  number: number,
  file: string,
): FileEntry | ConfigProblem | undefined {
  const line = withoutComment(raw);
  if (line.trim() === "") return undefined;
  const at = { line: number, column: line.length - line.trimStart().length + 1 };
  const fields = /[[{"']/.test(line) ? yamlFields(line, file) : line.split(",").map(plainField);
  if (fields?.length === 2) return { key: fields[0], value: fields[1], at };
  return problem(
    file,
    at,
    fields === undefined
      ? `${JSON.stringify(line.trim())} is not a key and a value`
      : `expected a key and a value, found ${fields.length} field${fields.length === 1 ? "" : "s"}`,
    "write key,value",
  );
}

function problem(file: string, at: Position, what: string, fix: string): ConfigProblem {
  return new ConfigProblem("CONFIG_ENTRY", file, at, what, fix);
}

/** `#` begins a comment at the start of a line or after white space, as in YAML. */
function withoutComment(line: string): string {
  const comment = /(^|\s)#/.exec(line);
  return comment === null ? line.trimEnd() : line.slice(0, comment.index).trimEnd();
}

/** The quick way, for the lines that millions of addresses have. */
function plainField(field: string): unknown {
  const text = field.trim();
  return /^-?(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : text;
}

function yamlFields(line: string, file: string): unknown[] | undefined {
  const read = readYaml(`[${line}]`, file);
  return read.ok && Array.isArray(read.value.value) ? read.value.value : undefined;
}
