import type { UserError } from "../common/user-error.ts";
import { ConfigProblem, type KeyPath, type ProblemCode, pathText } from "./config-problem.ts";
import type { YamlSource } from "./read-yaml.ts";

/** Gathers what checks find wrong in one config, each with its place in the text. */
export class ProblemList {
  readonly source: YamlSource;
  readonly found: ConfigProblem[] = [];

  constructor(source: YamlSource) {
    this.source = source;
  }

  /** About the value at `path`. */
  value(
    code: ProblemCode,
    path: KeyPath,
    what: string,
    fix?: string,
    detail?: readonly string[],
  ): void {
    this.#add(code, path, this.source.locate(path), what, fix, detail);
  }

  /** An object, named by the value at `path`, that cannot be used. */
  object(path: KeyPath, { where, what, fix, detail }: UserError): void {
    this.value("CONFIG_OBJECT", path, `${where}: ${what}`, fix, detail);
  }

  /** About the key at the end of `path`. */
  key(code: ProblemCode, path: KeyPath, what: string, fix?: string): void {
    this.#add(code, path, this.source.locateKey(path), what, fix);
  }

  #add(
    code: ProblemCode,
    path: KeyPath,
    at: { line: number; column: number },
    what: string,
    fix: string | undefined,
    detail?: readonly string[],
  ): void {
    this.found.push(
      new ConfigProblem(
        code,
        this.source.fileOf(path),
        at,
        `${pathText(path)}: ${what}`,
        fix,
        detail,
      ),
    );
  }

  /** `file:line:column` of the key at the end of `path`. */
  place(path: KeyPath): string {
    const { line, column } = this.source.locateKey(path);
    return `${this.source.file}:${line}:${column}`;
  }

  /** `file:line:column` of the value at `path`, wherever it comes from. */
  valuePlace(path: KeyPath): string {
    const { line, column } = this.source.locate(path);
    return `${this.source.fileOf(path)}:${line}:${column}`;
  }

  /** `line 12` of the value at `path`: how one problem points at another place. */
  line(path: KeyPath): string {
    return `line ${this.source.locate(path).line}`;
  }
}

/**
 * Reports why a typed value was refused. Its error's `where` is `root` and the members that lead to
 * what is wrong (`value.address[2]`): those are looked up below `path`.
 */
export function refuseTyped(
  error: UserError,
  root: string,
  path: KeyPath,
  problems: ProblemList,
): void {
  const members = [...error.where.slice(root.length).matchAll(/\.(\w+)|\[(\d+)\]/g)].map(
    ([, member, index]) => member ?? Number(index),
  );
  problems.value("CONFIG_VALUE", [...path, ...members], error.what, error.fix);
}
