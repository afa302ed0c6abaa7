// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is what configs say

import { resolve } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import { inFile, readBounded } from "./read-file.ts";
import type { Wrong } from "./scalars.ts";

/** Environment variables by name, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A file that `${file:…}` names may have this many bytes: it is one value, not a list of entries. */
const maxFileBytes = 65_536;
/** Characters that all substitutions of one config may bring: what bounds aliases of them. */
const maxCharacters = 4_194_304;

/** What was wrong with one `${…}`, and that text itself, to find it by. */
export interface SubstitutionProblem extends Wrong {
  readonly token: string;
}

/** A text with everything filled in. */
export interface Filled {
  readonly text: string;
  /** What of it came from files, which may hold secrets. */
  readonly fromFiles: readonly FileText[];
}

/** What a file held, and the `${file:…}` that named it. */
export interface FileText {
  readonly token: string;
  readonly text: string;
}

/** `$${` stands for itself; `${…}` is filled in; `${` without an end is a mistake. */
const tokens = /\$\$\{|\$\{([^}]*)\}|\$\{/g;

/**
 * Fills `${VARIABLE}`, `${VARIABLE:-default}` and `${file:PATH}` into the values of one config. The
 * default stands where a variable is not set or empty, as in a shell. A file's last line end is left
 * out. What is filled in is not searched again.
 */
export class Substitution {
  readonly #environment: Environment;
  readonly #folder: string;
  #characters = 0;

  /** `folder`: what paths are relative to. */
  constructor(environment: Environment, folder: string) {
    this.#environment = environment;
    this.#folder = folder;
  }

  /** The text with everything filled in; the same text where there is nothing to fill in. */
  apply(text: string): Result<Filled, SubstitutionProblem> {
    if (!text.includes("${")) return ok({ text, fromFiles: [] });
    const fromFiles: FileText[] = [];
    let filled = "";
    let from = 0;
    for (const match of text.matchAll(tokens)) {
      const [token, inside] = match;
      filled += text.slice(from, match.index);
      from = match.index + token.length;
      if (token === "$${") {
        filled += "${";
        continue;
      }
      const value = this.#value(token, inside);
      if (!value.ok) return err({ token, ...value.error });
      filled += value.value;
      if (inside?.startsWith("file:")) fromFiles.push({ token, text: value.value });
      this.#characters += value.value.length;
      if (this.#characters > maxCharacters)
        return err({
          token,
          what: `substitutions bring more than ${maxCharacters} characters into this config`,
          fix: "use fewer, or smaller files",
        });
    }
    return ok({ text: filled + text.slice(from), fromFiles });
  }

  #value(token: string, inside: string | undefined): Result<string, Wrong> {
    if (inside === undefined)
      return err({
        what: `${token} has no closing }`,
        fix: "close it, or write $${ for a plain ${",
      });
    if (inside.startsWith("file:")) return this.#file(token, inside.slice("file:".length));
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside) ?? [];
    if (name === undefined)
      return err({
        what: `${token} names no environment variable`,
        fix: "write ${NAME}, ${NAME:-default} or ${file:PATH}, or $${ for a plain ${",
      });
    const value = this.#environment[name];
    if (fallback !== undefined) return ok(value === undefined || value === "" ? fallback : value);
    if (value !== undefined) return ok(value);
    return err({
      what: `the environment variable ${name} is not set`,
      fix: `set it, or give a default: \${${name}:-value}`,
    });
  }

  #file(token: string, path: string): Result<string, Wrong> {
    if (path === "") return err({ what: `${token} names no file`, fix: "write ${file:PATH}" });
    const file = resolve(this.#folder, path);
    const bytes = readBounded(file, maxFileBytes);
    if (!bytes.ok) return err(inFile(file, bytes.error));
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.value);
      return ok(text.replace(/\r?\n$/, ""));
    } catch {
      return err(inFile(file, { what: "is not text in UTF-8", fix: "convert the file" }));
    }
  }
}
