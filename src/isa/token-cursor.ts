import { type Problem, shorten, type Token, type TokenLine } from "./lexer.ts";

/** A register as written: `w` names its low 32 bits. */
export interface NamedRegister {
  readonly number: number;
  readonly half: boolean;
  readonly token: Token;
}

/** Where a jump, call or code address goes. */
export type Target =
  | { readonly kind: "relative"; readonly offset: number; readonly token: Token }
  | { readonly kind: "label"; readonly label: string; readonly token: Token };

const registerName = /^(?:%?r|w)(\d+)$/;

/**
 * Reads one line's tokens in order. The first thing that does not fit is kept as the line's problem;
 * from then on the cursor stands at the end and every read gives a harmless value, so that parsers
 * need not look for failure after each step.
 */
export class TokenCursor {
  readonly #line: TokenLine;
  readonly #end: Token;
  #at = 0;
  #problem: Problem | undefined;

  constructor(line: TokenLine) {
    this.#line = line;
    this.#end = { kind: "end", text: "", column: line.endColumn };
  }

  get problem(): Problem | undefined {
    return this.#problem;
  }

  /** The token `ahead` places on; the `end` token beyond the line and after a problem. */
  peek(ahead = 0): Token {
    return (this.#problem === undefined && this.#line.tokens[this.#at + ahead]) || this.#end;
  }

  next(): Token {
    const token = this.peek();
    this.#at++;
    return token;
  }

  /** Steps over the token if it reads so. */
  accept(text: string): boolean {
    if (this.peek().text !== text) return false;
    this.#at++;
    return true;
  }

  expect(text: string): void {
    if (!this.accept(text)) this.unexpected(`\`${text}\``);
  }

  expectEnd(): void {
    if (this.peek().kind !== "end") this.unexpected("the end of the line");
  }

  /** Keeps a problem at a token, unless there is one already. */
  fail(code: string, at: Token, what: string, fix: string): void {
    this.#problem ??= { code, line: this.#line.number, column: at.column, what, fix };
  }

  unexpected(expected: string): void {
    const token = this.peek();
    const found = token.kind === "end" ? "the end of the line" : `\`${shorten(token.text)}\``;
    this.fail("ASSEMBLY_SYNTAX", token, `unexpected ${found}`, `expected ${expected}`);
  }

  atRegister(ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === "word" && registerName.test(token.text);
  }

  /** `r1`, `%r1` or `w1`. */
  register(): NamedRegister {
    const token = this.peek();
    const number = Number(registerName.exec(token.text)?.[1] ?? -1);
    if (token.kind !== "word" || number < 0) this.unexpected("a register, r0 to r10");
    else if (number > 10)
      this.fail(
        "ASSEMBLY_REGISTER",
        token,
        `no register \`${shorten(token.text)}\``,
        "registers are r0 to r10",
      );
    else this.next();
    const half = token.text.startsWith("w");
    return { number: this.#problem === undefined ? number : 0, half, token };
  }

  /** A whole register, where its low half has no meaning: an address. */
  wholeRegister(): number {
    const { number, half, token } = this.register();
    if (half)
      this.fail(
        "ASSEMBLY_REGISTER",
        token,
        `\`${token.text}\` is half a register`,
        `an address is held in a whole one: r${number}`,
      );
    return number;
  }

  atNumber(): boolean {
    const token = this.peek();
    return (
      token.kind === "number" ||
      ((token.text === "-" || token.text === "+") && this.peek(1).kind === "number")
    );
  }

  /** An integer with an optional sign, within bounds; `hint` says what takes more. */
  integer(what: string, low: bigint, high: bigint, hint = ""): bigint {
    const first = this.peek();
    const negative = first.text === "-";
    if (negative || first.text === "+") this.next();
    const token = this.peek();
    if (token.kind !== "number") {
      this.unexpected(`${what}, a number`);
      return 0n;
    }
    this.next();
    const magnitude = BigInt(token.text);
    const value = negative ? -magnitude : magnitude;
    if (value >= low && value <= high) return value;
    this.fail(
      "ASSEMBLY_RANGE",
      first,
      `${what} ${value} does not fit`,
      `expected ${low} to ${high}${hint}`,
    );
    return 0n;
  }

  /** 32 bits, written signed or unsigned; as the signed field holds them. */
  immediate(): number {
    const hint = "; lddw (r1 = NUMBER ll) takes 64 bits";
    return Number(BigInt.asIntN(32, this.integer("immediate", -0x8000_0000n, 0xffff_ffffn, hint)));
  }

  /** 64 bits, written signed or unsigned; unsigned. */
  wideImmediate(): bigint {
    const value = this.integer("64-bit immediate", -(1n << 63n), (1n << 64n) - 1n);
    return BigInt.asUintN(64, value);
  }

  /** An unsigned 32-bit number: an index, an id or an offset into a value. */
  index(what: string): number {
    return Number(this.integer(what, 0n, 0xffff_ffffn));
  }

  /** Signed 16 bits that follow a register in an address; 0 where there is no sign. */
  displacement(): number {
    const { text } = this.peek();
    if (text !== "+" && text !== "-") return 0;
    return Number(this.integer("offset", -0x8000n, 0x7fffn));
  }

  /** A base register and its displacement between brackets. */
  address(open: "[" | "(", close: "]" | ")"): { base: number; offset: number } {
    this.expect(open);
    const base = this.wholeRegister();
    const offset = this.displacement();
    this.expect(close);
    return { base, offset };
  }

  /**
   * `label`, `+3`, `-3` or `pc+3`, in slots from the next instruction. A name between angle brackets
   * after it, as llvm-objdump adds it, is skipped.
   */
  target(): Target {
    const token = this.peek();
    const afterPc = this.peek(1).text;
    const pc = token.text === "pc" && (afterPc === "+" || afterPc === "-");
    if (pc) this.next();
    const { text } = this.peek();
    if (text === "+" || text === "-") {
      const offset = Number(this.integer("distance", -0x8000_0000n, 0x7fff_ffffn));
      this.#skipAnnotation();
      return { kind: "relative", offset, token };
    }
    if (token.kind === "word" && !this.atRegister()) {
      this.next();
      return { kind: "label", label: token.text, token };
    }
    this.unexpected("a label, or a distance as +3 or -3");
    return { kind: "relative", offset: 0, token };
  }

  #skipAnnotation(): void {
    if (this.peek().text !== "<") return;
    while (this.peek().kind !== "end") if (this.next().text === ">") return;
    this.unexpected("`>`");
  }
}
