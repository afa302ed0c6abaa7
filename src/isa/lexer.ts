/**
 * Splits assembly text into tokens, for both syntaxes.
 *
 * Comments: `#`, `//` and `;` to the end of the line, and block comments over any number of lines.
 * A `#` between a name and a digit after `call` is part of the operand (`call bpf_redirect#23`, as
 * the kernel writes it). The slot number and opcode that listings print before an instruction
 * (`12: (b7) r0 = 1`) are skipped.
 */
export interface Token {
  readonly kind: "word" | "number" | "sign" | "end";
  readonly text: string;
  /** Counted from 1, in UTF-16 units. */
  readonly column: number;
}

/** One line's tokens, without its end. Lines without tokens are left out. */
export interface TokenLine {
  /** Counted from 1. */
  readonly number: number;
  readonly tokens: readonly Token[];
  /** Where the line ends: the column of the `end` token. */
  readonly endColumn: number;
}

/** What is wrong with the text, before it has a file name. */
export interface Problem {
  readonly code: string;
  readonly line: number;
  readonly column: number;
  readonly what: string;
  readonly fix: string;
}

/** 64 bits have 20 decimal digits; parsing longer numbers would take more than linear time. */
const maxNumberLength = 24;
const numberForm = /^(?:0[xX][0-9a-fA-F]+|\d+)$/;

const listingPrefix = /\s*(?:\d+:\s*)?(?:\([0-9a-f]{2}\)\s)?/y;
const helperSign = /#(?=\d)/y;
/** Groups: white space, start of a block comment, line comment, number, operator, word. */
const lexeme = new RegExp(
  [
    /(\s+)/,
    /(\/\*)/,
    /(#|\/\/|;)/,
    /(\d\w*)/,
    // Operators of signed arithmetic begin with a letter, so they are tried before words.
    /(s(?:>>=|[/%><]=|[><])|<<=|>>=|[-+*/%&|^=!<>]=|[-+*&=<>()[\],:])/,
    /(%?[A-Za-z_.][\w.$]*)/,
  ]
    .map(({ source }) => source)
    .join("|"),
  "y",
);

/** Tokens by line, and what could not be read. Takes time in proportion to the text. */
export function lex(text: string): { lines: TokenLine[]; problems: Problem[] } {
  const lines: TokenLine[] = [];
  const problems: Problem[] = [];
  let open: CommentStart | undefined;
  text.split(/\r\n|\n|\r/).forEach((line, index) => {
    const number = index + 1;
    const read = lexLine(line, number, open);
    open = read.open;
    if (read.problem !== undefined) problems.push(read.problem);
    else if (read.tokens.length > 0)
      lines.push({ number, tokens: read.tokens, endColumn: line.length + 1 });
  });
  if (open !== undefined)
    problems.push({
      code: "ASSEMBLY_SYNTAX",
      line: open.line,
      column: open.column,
      what: "comment without an end",
      fix: "close it with */",
    });
  return { lines, problems };
}

/** Names as they came may be megabytes: what an error quotes of them. */
export function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}

/** Where a block comment began that has not ended yet. */
interface CommentStart {
  readonly line: number;
  readonly column: number;
}

function lexLine(
  line: string,
  number: number,
  openBefore: CommentStart | undefined,
): { tokens: Token[]; open: CommentStart | undefined; problem?: Problem } {
  const tokens: Token[] = [];
  let open = openBefore;
  let at = open === undefined ? take(listingPrefix, line, 0) : 0;
  while (at < line.length) {
    if (open !== undefined) {
      const end = line.indexOf("*/", at);
      if (end < 0) break;
      open = undefined;
      at = end + 2;
      continue;
    }
    const column = at + 1;
    if (followsHelperName(tokens, at) && take(helperSign, line, at) > 0) {
      tokens.push({ kind: "sign", text: "#", column });
      at++;
      continue;
    }
    lexeme.lastIndex = at;
    const match = lexeme.exec(line);
    if (match === null) return { tokens, open, problem: unknownCharacter(line, number, at) };
    const [text, blank, opening, comment, digits, operator] = match;
    if (comment !== undefined) break;
    if (opening !== undefined) open = { line: number, column };
    else if (digits !== undefined) {
      if (digits.length > maxNumberLength || !numberForm.test(digits))
        return { tokens, open, problem: noNumber(digits, number, column) };
      tokens.push({ kind: "number", text, column });
    } else if (blank === undefined)
      tokens.push({ kind: operator === undefined ? "word" : "sign", text, column });
    at += text.length;
  }
  return { tokens, open };
}

/** Whether the tokens so far are `call NAME` with NAME ending right here. */
function followsHelperName(tokens: readonly Token[], at: number): boolean {
  const name = tokens.at(-1);
  return (
    name?.kind === "word" &&
    name.column - 1 + name.text.length === at &&
    tokens.at(-2)?.text === "call"
  );
}

function unknownCharacter(line: string, number: number, at: number): Problem {
  const character = String.fromCodePoint(line.codePointAt(at) as number);
  return {
    code: "ASSEMBLY_SYNTAX",
    line: number,
    column: at + 1,
    what: `unexpected character ${JSON.stringify(character)}`,
    fix: "comments begin with #, // or ;",
  };
}

function noNumber(text: string, line: number, column: number): Problem {
  return {
    code: "ASSEMBLY_SYNTAX",
    line,
    column,
    what: `\`${shorten(text)}\` is no number`,
    fix: "numbers are decimal, or 0x and hexadecimal, of at most 64 bits",
  };
}

/** Length of what matches there. */
function take(pattern: RegExp, line: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(line)?.[0].length ?? 0;
}
