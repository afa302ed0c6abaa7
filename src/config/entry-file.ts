import { err, ok, type Result } from "../common/result.ts";
import { ConfigProblem, type Position } from "./config-problem.ts";
import { readBounded } from "./read-file.ts";
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
 * The outer error says why the file cannot be read; problems in lines do not keep others from being
 * read.
 */
export function readEntryFile(
  file: string,
): Result<{ entries: FileEntry[]; problems: ConfigProblem[] }, Wrong> {
  const bytes = readBounded(file, maxFileBytes);
  if (!bytes.ok) return bytes;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.value);
  } catch {
    return err({ what: `${file} is not text in UTF-8`, fix: "convert it" });
  }
  const entries: FileEntry[] = [];
  const problems: ConfigProblem[] = [];
  for (const [i, raw] of text.split("\n").entries()) {
    if (raw.length > maxLineLength) {
      problems.push(
        new ConfigProblem(
          "CONFIG_ENTRY",
          file,
          { line: i + 1, column: maxLineLength + 1 },
          `the line is longer than ${maxLineLength} characters`,
          "write one key,value a line",
        ),
      );
      continue;
    }
    const line = withoutComment(raw);
    if (line.trim() === "") continue;
    const at = { line: i + 1, column: line.length - line.trimStart().length + 1 };
    const fields = /[[{"']/.test(line) ? yamlFields(line, file) : line.split(",").map(plainField);
    if (fields?.length === 2) entries.push({ key: fields[0], value: fields[1], at });
    else
      problems.push(
        new ConfigProblem(
          "CONFIG_ENTRY",
          file,
          at,
          fields === undefined
            ? `${JSON.stringify(line.trim())} is not a key and a value`
            : `expected a key and a value, found ${fields.length} field${fields.length === 1 ? "" : "s"}`,
          "write key,value",
        ),
      );
  }
  return ok({ entries, problems });
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
