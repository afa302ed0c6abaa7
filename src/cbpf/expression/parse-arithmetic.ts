import type { Arithmetic, ArithmeticOperator, RelationOperator } from "./ast.ts";
import { Refusal } from "./refusal.ts";
import { type ProtocolWord, protocolWords } from "./token.ts";
import type { TokenReader } from "./token-reader.ts";

/**
 * How tightly an operator binds. `%` and `^` have no place in libpcap's grammar: whatever follows
 * them or precedes them, the parser goes on reading. So `8 % 2 + 1` is `8 % (2 + 1)`, and
 * `1 + 8 % 2` is `1 + (8 % 2)`.
 */
const precedence: ReadonlyMap<string, number | undefined> = new Map<
  ArithmeticOperator,
  number | undefined
>([
  ["|", 1],
  ["&", 2],
  ["<<", 3],
  [">>", 3],
  ["+", 4],
  ["-", 4],
  ["*", 5],
  ["/", 5],
  ["%", undefined],
  ["^", undefined],
]);

const negation = 6;

const relations: ReadonlySet<string> = new Set<RelationOperator>(["=", "!=", "<", "<=", ">", ">="]);

const protocols: ReadonlySet<string> = new Set(protocolWords);

export function isProtocol(word: string): word is ProtocolWord {
  return protocols.has(word);
}

/** Whether the next token continues an arithmetic expression or compares it. */
export function continuesArithmetic(reader: TokenReader): boolean {
  const { next } = reader;
  return next.kind === "symbol" && (precedence.has(next.symbol) || relations.has(next.symbol));
}

/** Whether the next token can only begin an arithmetic expression. */
export function beginsArithmetic(reader: TokenReader): boolean {
  const { next, afterNext } = reader;
  if (next.kind === "symbol") return next.symbol === "-";
  if (next.kind !== "word") return false;
  if (next.word === "len") return true;
  return isProtocol(next.word) && afterNext.kind === "symbol" && afterNext.symbol === "[";
}

export function takeRelation(reader: TokenReader): RelationOperator | undefined {
  const { next } = reader;
  if (next.kind !== "symbol" || !relations.has(next.symbol)) return undefined;
  reader.take();
  return next.symbol as RelationOperator;
}

export function parseArithmetic(reader: TokenReader): Arithmetic {
  return continueArithmetic(reader, parseOperand(reader), 0);
}

/**
 * Reads on after a left operand. `binding` is the precedence of the operator in front of it, 0 if
 * there is none, undefined for `%` and `^`: those never end before an operator.
 */
export function continueArithmetic(
  reader: TokenReader,
  first: Arithmetic,
  binding: number | undefined = 0,
): Arithmetic {
  let left = first;
  for (;;) {
    const { next } = reader;
    if (next.kind !== "symbol" || !precedence.has(next.symbol)) return left;
    const own = precedence.get(next.symbol);
    if (own !== undefined && binding !== undefined && own <= binding) return left;
    reader.take();
    const right = reader.nested(() => continueArithmetic(reader, parseOperand(reader), own));
    const operator = next.symbol as ArithmeticOperator;
    left = { kind: "binary", operator, left, right, at: next.at };
  }
}

function parseOperand(reader: TokenReader): Arithmetic {
  const { next } = reader;
  const { at } = next;
  if (next.kind === "number") {
    reader.take();
    return { kind: "constant", value: next.value, at };
  }
  if (reader.takeSymbol("-")) {
    const operand = reader.nested(() => continueArithmetic(reader, parseOperand(reader), negation));
    return { kind: "negative", operand, at };
  }
  if (reader.takeSymbol("(")) {
    const inside = reader.nested(() => parseArithmetic(reader));
    reader.expectSymbol(")");
    return inside;
  }
  if (reader.takeWord("len")) return { kind: "length", at };
  if (next.kind === "word" && isProtocol(next.word)) return parseLoad(reader, next.word, at);
  return reader.fail("a number, len or protocol[offset]");
}

function parseLoad(reader: TokenReader, protocol: ProtocolWord, at: number): Arithmetic {
  reader.take();
  reader.expectSymbol("[");
  const index = reader.nested(() => parseArithmetic(reader));
  let size = 1;
  if (reader.takeSymbol(":")) {
    const sizeAt = reader.next.at;
    size = reader.expectNumber("the number of bytes: 1, 2 or 4");
    if (size !== 1 && size !== 2 && size !== 4)
      throw new Refusal(
        "EXPRESSION_VALUE",
        sizeAt,
        `${size} bytes at once cannot be read`,
        "expected 1, 2 or 4",
      );
  }
  reader.expectSymbol("]");
  return { kind: "load", protocol, index, size, at };
}
