import { err, ok, type Result } from "../../common/result.ts";
import { ClassReader } from "./regexp-class.ts";
import { Refusal } from "./regexp-refusal.ts";

/** A position test; none takes a character. */
export type Assertion = "start" | "end" | "word_boundary" | "no_word_boundary";

/** A parsed pattern. `accepts` takes a Unicode code point. */
export type Node =
  | { readonly kind: "empty" }
  | { readonly kind: "character"; readonly accepts: (codePoint: number) => boolean }
  | { readonly kind: "assert"; readonly assertion: Assertion }
  | { readonly kind: "sequence"; readonly parts: readonly Node[] }
  | { readonly kind: "either"; readonly parts: readonly Node[] }
  | { readonly kind: "group"; readonly inner: Node }
  | {
      readonly kind: "repeat";
      readonly inner: Node;
      readonly min: number;
      /** Undefined: without limit. */
      readonly max: number | undefined;
      readonly greedy: boolean;
    };

export interface ParsedRegexp {
  readonly root: Node;
  /** Capture groups. */
  readonly groups: number;
}

export interface RegexpProblem {
  readonly what: string;
  readonly fix: string;
}

/** As in Go's regexp/syntax. */
const maxRepeat = 1_000;
const maxDepth = 50;

/**
 * Parses a pattern in the common part of Go's syntax (RE2): literals, `.`, classes, `\d \w \s \b`,
 * `^ $ \A \z`, groups, alternation, repeats and their lazy forms, and `(?i)`, `(?s)` in front.
 * What RE2 refuses because it cannot be matched in linear time (backreferences, look-around) is
 * refused here too; so are Unicode classes and flags elsewhere, which labels do not need.
 */
export function parseRegexp(source: string): Result<ParsedRegexp, RegexpProblem> {
  try {
    return ok(new Parser(source).parse());
  } catch (problem) {
    if (problem instanceof Refusal) return err({ what: problem.message, fix: problem.fix });
    throw problem;
  }
}

class Parser {
  readonly #characters: readonly string[];
  #at = 0;
  #groups = 0;
  readonly #classes: ClassReader;
  readonly #dotTakesNewline: boolean;

  constructor(source: string) {
    const flags = /^\(\?([is]+)\)/.exec(source);
    this.#characters = Array.from(flags === null ? source : source.slice(flags[0].length));
    this.#dotTakesNewline = flags?.[1]?.includes("s") ?? false;
    this.#classes = new ClassReader(this.#characters, flags?.[1]?.includes("i") ?? false);
  }

  parse(): ParsedRegexp {
    const root = this.#either(0);
    if (this.#at < this.#characters.length)
      throw new Refusal(`has a ")" that closes nothing`, String.raw`write \) for the character`);
    return { root, groups: this.#groups };
  }

  #either(depth: number): Node {
    if (depth > maxDepth) throw new Refusal(`nests deeper than ${maxDepth}`, "simplify it");
    const parts = [this.#sequence(depth)];
    while (this.#take("|")) parts.push(this.#sequence(depth));
    return parts.length === 1 ? (parts[0] as Node) : { kind: "either", parts };
  }

  #sequence(depth: number): Node {
    const parts: Node[] = [];
    for (let next = this.#peek(); next !== undefined && next !== "|" && next !== ")"; ) {
      parts.push(this.#repeated(depth));
      next = this.#peek();
    }
    return parts.length === 0 ? { kind: "empty" } : { kind: "sequence", parts };
  }

  #repeated(depth: number): Node {
    const inner = this.#atom(depth);
    const range = this.#quantifier();
    if (range === undefined) return inner;
    const greedy = !this.#take("?");
    if (this.#quantifier() !== undefined)
      throw new Refusal("repeats a repeat", "put the inner one in (?:...)");
    return { kind: "repeat", inner, ...range, greedy };
  }

  #quantifier(): { min: number; max: number | undefined } | undefined {
    if (this.#take("*")) return { min: 0, max: undefined };
    if (this.#take("+")) return { min: 1, max: undefined };
    if (this.#take("?")) return { min: 0, max: 1 };
    if (this.#peek() !== "{") return undefined;
    // Like RE2, a brace that is no repeat count is a literal.
    const rest = this.#characters.slice(this.#at, this.#at + 16).join("");
    const counts = /^\{(\d+)(,(\d*))?\}/.exec(rest);
    if (counts === null) return undefined;
    this.#at += counts[0].length;
    const min = Number(counts[1]);
    const max = counts[2] === undefined ? min : counts[3] === "" ? undefined : Number(counts[3]);
    if (min > maxRepeat || (max !== undefined && (max > maxRepeat || max < min)))
      throw new Refusal(`has a bad repeat count ${counts[0]}`, `use 0 to ${maxRepeat}, low first`);
    return { min, max };
  }

  #atom(depth: number): Node {
    const character = this.#next();
    switch (character) {
      case "(":
        return this.#group(depth);
      case "[":
        return this.#class();
      case ".":
        return this.#dotTakesNewline
          ? { kind: "character", accepts: () => true }
          : { kind: "character", accepts: (codePoint) => codePoint !== 0x0a };
      case "^":
        return { kind: "assert", assertion: "start" };
      case "$":
        return { kind: "assert", assertion: "end" };
      case "*":
      case "+":
      case "?":
        throw new Refusal(
          `has a "${character}" with nothing before it`,
          `write \\${character} for the character`,
        );
      case "\\":
        return this.#escape();
      default:
        return { kind: "character", accepts: this.#classes.literal(character) };
    }
  }

  #group(depth: number): Node {
    let capturing = true;
    if (this.#take("?")) {
      const head = this.#characters.slice(this.#at, this.#at + 80).join("");
      const name = /^P?<[A-Za-z_]\w*>/.exec(head);
      if (name !== null) this.#at += name[0].length;
      else if (head.startsWith(":")) {
        this.#at++;
        capturing = false;
      } else if (/^<?[=!]/.test(head))
        throw new Refusal("looks ahead or behind", "match the text itself; RE2 cannot look around");
      else
        throw new Refusal(
          `has an unknown group "(?${head.slice(0, 1)}"`,
          "use (...), (?:...), or (?i) and (?s) at the start of the pattern",
        );
    }
    if (capturing) this.#groups++;
    const inner = this.#either(depth + 1);
    if (!this.#take(")"))
      throw new Refusal(`has a "(" that is not closed`, String.raw`write \( for the character`);
    // One capture is kept: with more than one the pattern is refused by its user.
    return capturing ? { kind: "group", inner } : inner;
  }

  #class(): Node {
    const { accepts, end } = this.#classes.bracket(this.#at);
    this.#at = end;
    return { kind: "character", accepts };
  }

  #escape(): Node {
    switch (this.#peek()) {
      case "A":
        this.#at++;
        return { kind: "assert", assertion: "start" };
      case "z":
        this.#at++;
        return { kind: "assert", assertion: "end" };
      case "b":
        this.#at++;
        return { kind: "assert", assertion: "word_boundary" };
      case "B":
        this.#at++;
        return { kind: "assert", assertion: "no_word_boundary" };
      default: {
        const { accepts, end } = this.#classes.escape(this.#at);
        this.#at = end;
        return { kind: "character", accepts };
      }
    }
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #next(): string {
    return this.#characters[this.#at++] as string;
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }
}
