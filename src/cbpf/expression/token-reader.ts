import { closest } from "../../common/closest.ts";
import { short } from "./lexer.ts";
import { Refusal } from "./refusal.ts";
import { namedNumbers, type Token, type TokenSymbol, type Word, words } from "./token.ts";

/** Nested parentheses, `not`s and operands of `%` and `^`; deeper is refused. */
const maxDepth = 500;

function* knownWords(): Generator<string> {
  yield* words.keys();
  yield* namedNumbers.keys();
}

/** How a difference is written: a name may have dashes in it, and so `len-20` is one. */
export function spacedDifference(text: string): string | undefined {
  const parts = text.split("-");
  if (parts.length < 2 || !parts.some((part) => words.get(part) === "len")) return undefined;
  return `put spaces around -: ${short(parts.join(" - "))}`;
}

/** A place in the tokens of an expression, one token of look-ahead, and how deep the parser is. */
export class TokenReader {
  readonly #tokens: readonly Token[];
  #position = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** The token to be read next. */
  get next(): Token {
    return this.#tokens[this.#position]!;
  }

  get atEnd(): boolean {
    return this.next.kind === "end";
  }

  /** The token after `next`. */
  get afterNext(): Token {
    return this.#tokens[Math.min(this.#position + 1, this.#tokens.length - 1)]!;
  }

  take(): Token {
    const token = this.next;
    if (token.kind !== "end") this.#position++;
    return token;
  }

  isSymbol(symbol: TokenSymbol): boolean {
    return this.next.kind === "symbol" && this.next.symbol === symbol;
  }

  isWord(word: Word): boolean {
    return this.next.kind === "word" && this.next.word === word;
  }

  takeSymbol(symbol: TokenSymbol): boolean {
    if (!this.isSymbol(symbol)) return false;
    this.take();
    return true;
  }

  takeWord(word: Word): boolean {
    if (!this.isWord(word)) return false;
    this.take();
    return true;
  }

  expectSymbol(symbol: TokenSymbol): void {
    if (!this.takeSymbol(symbol)) this.fail(`"${symbol}"`);
  }

  expectNumber(what: string): number {
    const token = this.next;
    if (token.kind !== "number") return this.fail(what);
    this.take();
    return token.value;
  }

  /** Refuses the next token. */
  fail(expected: string): never {
    const { at, text, kind } = this.next;
    const spaced = kind === "name" ? spacedDifference(text) : undefined;
    if (spaced !== undefined)
      throw new Refusal("EXPRESSION_SYNTAX", at, `"${short(text)}" is read as one name`, spaced);
    const near = kind === "name" ? closest(text, knownWords()) : undefined;
    throw new Refusal(
      "EXPRESSION_SYNTAX",
      at,
      kind === "end" ? "the expression ends too early" : `"${short(text)}" does not belong here`,
      near === undefined ? `expected ${expected}` : `did you mean ${near}? expected ${expected}`,
    );
  }

  /** Runs a part of the parser one level deeper. */
  nested<T>(parse: () => T): T {
    if (++this.#depth > maxDepth)
      throw new Refusal(
        "EXPRESSION_TOO_LARGE",
        this.next.at,
        "too deeply nested",
        `at most ${maxDepth} levels`,
      );
    const result = parse();
    this.#depth--;
    return result;
  }
}
