import { UserError } from "../common/user-error.ts";

/** Keys and list indexes from the top of a document to one of its values. */
export type KeyPath = readonly (string | number)[];

/** A place in a text file; both count from 1, columns in UTF-16 units as editors show them. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export type ProblemCode =
  | "CONFIG_FILE"
  | "CONFIG_YAML"
  | "CONFIG_VALUE"
  | "CONFIG_UNKNOWN_KEY"
  | "CONFIG_REFERENCE"
  | "CONFIG_CONFLICT"
  | "CONFIG_OBJECT"
  | "CONFIG_ENTRY"
  | "CONFIG_MEMORY";

/** One thing wrong with a config, or with a file it names: its `where` is `file:line:column`. */
export class ConfigProblem extends UserError {
  declare readonly code: ProblemCode;
  readonly file: string;
  readonly position: Position;

  constructor(
    code: ProblemCode,
    file: string,
    position: Position,
    what: string,
    fix?: string,
    detail?: readonly string[],
  ) {
    super(code, `${file}:${position.line}:${position.column}`, what, fix, detail);
    this.name = "ConfigProblem";
    this.file = file;
    this.position = position;
  }
}

/** More than this many are cut: a person mends the first ones, and a broken file can have thousands. */
const maxProblems = 100;

/**
 * In the order of the text, the config's own before those of other files (entry files); the same
 * message at the same place once.
 */
export function sortProblems(
  problems: readonly ConfigProblem[],
  configFile: string,
): ConfigProblem[] {
  const once = [...new Map(problems.map((problem) => [problem.message, problem])).values()];
  once.sort(
    (a, b) =>
      Number(a.file !== configFile) - Number(b.file !== configFile) ||
      compareText(a.file, b.file) ||
      a.position.line - b.position.line ||
      a.position.column - b.position.column,
  );
  const cut = once.slice(0, maxProblems);
  const last = cut.at(-1);
  if (last !== undefined && once.length > cut.length)
    cut.push(
      new ConfigProblem(
        "CONFIG_FILE",
        configFile,
        last.file === configFile ? last.position : { line: 1, column: 1 },
        `${once.length - cut.length} more problems are not shown`,
        "mend those above first",
      ),
    );
  return cut;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `listeners[0].listen`, `filters.block.maps.blocked`, `ports.2`: a path as people write it. */
export function pathText(path: KeyPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[\w-]+$/.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}
