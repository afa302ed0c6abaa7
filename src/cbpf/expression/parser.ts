import { closest } from "../../common/closest.ts";
import type { Arithmetic, Expression, Qualifiers } from "./ast.ts";
import { foreignWord, short } from "./lexer.ts";
import {
  beginsArithmetic,
  continueArithmetic,
  continuesArithmetic,
  isProtocol,
  parseArithmetic,
  takeRelation,
} from "./parse-arithmetic.ts";
import { beginsStandalone, parseStandalone } from "./parse-standalone.ts";
import { parseQualifiers, parseValue } from "./parse-value.ts";
import { Refusal } from "./refusal.ts";
import { type Token, words } from "./token.ts";
import { spacedDifference, TokenReader } from "./token-reader.ts";

/**
 * What stands between two of `and`, `or`, `not` and parentheses. The grammar of libpcap tells
 * apart terms, which are complete, from addresses, which take over the qualifiers of the term
 * before them: `tcp port 80 or 443`. A number may be an address or the start of a comparison, so
 * what a parenthesis holds is known only when it has been read.
 */
type Operand =
  | {
      readonly kind: "term";
      readonly expression: Expression;
      /** What addresses after it take over. */
      readonly qualifiers: Qualifiers | undefined;
    }
  | {
      readonly kind: "address";
      readonly expression: Expression;
      /** False for addresses in parentheses, which may not begin a list in parentheses. */
      readonly mayLead: boolean;
    }
  | { readonly kind: "number"; readonly value: number; readonly at: number; readonly text: string }
  | { readonly kind: "arithmetic"; readonly arithmetic: Arithmetic };

const addressExpected = "an address, a name or a number";
const termExpected = "a protocol, a qualifier such as host or port, or a comparison";

/** The syntax tree of an expression; undefined for an empty one, which all packets match. */
export function parseExpression(tokens: readonly Token[]): Expression | undefined {
  const reader = new TokenReader(tokens);
  if (reader.atEnd) return undefined;
  const { at, text } = reader.next;
  const first = parseOperand(reader, undefined, false);
  if (first.kind === "arithmetic") return reader.fail("a comparison such as = or <");
  if (first.kind !== "term") throw withoutQualifier(text, at);
  const expression = parseRest(reader, first, false);
  return reader.atEnd ? expression : reader.fail("and, or, or the end");
}

/** The `and`s and `or`s after a first operand. */
function parseRest(
  reader: TokenReader,
  first: Operand & { kind: "term" | "address" },
  addressesOnly: boolean,
  inherited?: Qualifiers,
): Expression {
  let qualifiers = first.kind === "term" ? first.qualifiers : inherited;
  const rest: { operator: "and" | "or"; operand: Expression }[] = [];
  for (;;) {
    const operator = reader.takeWord("and") ? "and" : reader.takeWord("or") ? "or" : undefined;
    if (operator === undefined) break;
    const operand = parseOperand(reader, qualifiers, addressesOnly);
    if (operand.kind === "arithmetic") return reader.fail("a comparison such as = or <");
    if (operand.kind === "term") qualifiers = operand.qualifiers;
    rest.push({ operator, operand: asAddress(operand, qualifiers).expression });
  }
  if (rest.length === 0) return first.expression;
  return { kind: "sequence", first: first.expression, rest };
}

/** A number that is not compared with anything is an address. */
function asAddress(
  operand: Exclude<Operand, { kind: "arithmetic" }>,
  inherited: Qualifiers | undefined,
): Operand & { kind: "term" | "address" } {
  if (operand.kind !== "number") return operand;
  return addressOf({ kind: "number", value: operand.value }, inherited, operand);
}

function withoutQualifier(text: string, at: number): Refusal {
  const spaced = spacedDifference(text);
  if (spaced !== undefined)
    return new Refusal("EXPRESSION_SYNTAX", at, `"${short(text)}" is read as one name`, spaced);
  const near = /^[A-Za-z]/.test(text) ? closest(text, words.keys()) : undefined;
  return new Refusal(
    "EXPRESSION_SYNTAX",
    at,
    text === "(" ? "these addresses have no qualifier" : `"${short(text)}" has no qualifier`,
    near === undefined ? "put host, net, port or proto before it" : `did you mean ${near}?`,
  );
}

/**
 * As in libpcap, `net 10` is a network and `net 10.1/16` is one, but a single number takes neither a
 * prefix length nor a mask.
 */
function refuseShortNetwork(reader: TokenReader, text: string): void {
  const isMask = reader.isWord("mask");
  if (!isMask && !reader.isSymbol("/")) return;
  throw new Refusal(
    "EXPRESSION_SYNTAX",
    reader.next.at,
    `a network of a single number takes no ${isMask ? "mask" : "prefix length"}`,
    `write ${short(text)}.0.0.0 in full`,
  );
}

function addressOf(
  value: (Expression & { kind: "primitive" })["value"],
  qualifiers: Qualifiers | undefined,
  { at, text }: { readonly at: number; readonly text: string },
): Operand & { kind: "address" } {
  if (qualifiers === undefined) throw withoutQualifier(text, at);
  const expression = { kind: "primitive", qualifiers, value, at } as const;
  return { kind: "address", expression, mayLead: true };
}

function parseOperand(
  reader: TokenReader,
  inherited: Qualifiers | undefined,
  addressesOnly: boolean,
): Operand {
  const { next } = reader;
  if (reader.takeSymbol("!"))
    return reader.nested(() => parseNot(reader, inherited, addressesOnly));
  if (reader.takeSymbol("(")) {
    const group = reader.nested(() => parseGroup(reader, inherited, addressesOnly));
    if (addressesOnly || !continuesArithmetic(reader)) return group;
    if (group.kind === "number")
      return parseComparison(reader, { kind: "constant", value: group.value, at: group.at });
    return group.kind === "arithmetic" ? parseComparison(reader, group.arithmetic) : group;
  }
  if (next.kind === "number") {
    reader.take();
    const { value, at, text } = next;
    if (addressesOnly && inherited?.type === "net") refuseShortNetwork(reader, text);
    if (addressesOnly || !continuesArithmetic(reader)) return { kind: "number", value, at, text };
    return parseComparison(reader, { kind: "constant", value, at });
  }
  const value = parseValue(reader);
  if (value !== undefined) return addressOf(value, inherited, next);
  if (addressesOnly) return reader.fail(addressExpected);
  return parseTerm(reader);
}

function parseTerm(reader: TokenReader): Operand {
  const { next } = reader;
  if (beginsArithmetic(reader)) return parseComparison(reader, undefined);
  if (beginsStandalone(reader))
    return { kind: "term", expression: parseStandalone(reader), qualifiers: undefined };
  const qualifiers = parseQualifiers(reader);
  if (qualifiers !== undefined) {
    const operand = parseOperand(reader, qualifiers, true);
    if (operand.kind === "arithmetic") return reader.fail(addressExpected);
    return { kind: "term", expression: asAddress(operand, qualifiers).expression, qualifiers };
  }
  // Outside of llc this is PF's number of a rule.
  if (reader.isWord("rnr")) throw foreignWord(next.text, next.at, "PF log");
  if (next.kind !== "word" || !isProtocol(next.word)) return reader.fail(termExpected);
  reader.take();
  const expression = { kind: "protocol", protocol: next.word, at: next.at } as const;
  return { kind: "term", expression, qualifiers: undefined };
}

/** Goes on after `left`, or from the start, to the end of a comparison if there is one. */
function parseComparison(reader: TokenReader, left: Arithmetic | undefined): Operand {
  const first = left === undefined ? parseArithmetic(reader) : continueArithmetic(reader, left);
  const { at } = reader.next;
  const operator = takeRelation(reader);
  if (operator === undefined) return { kind: "arithmetic", arithmetic: first };
  const right = parseArithmetic(reader);
  const expression = { kind: "relation", operator, left: first, right, at } as const;
  return { kind: "term", expression, qualifiers: undefined };
}

function parseNot(
  reader: TokenReader,
  inherited: Qualifiers | undefined,
  addressesOnly: boolean,
): Operand {
  const operand = parseOperand(reader, inherited, addressesOnly);
  if (operand.kind === "arithmetic") return reader.fail("a comparison such as = or <");
  const inner = asAddress(operand, inherited);
  const expression = { kind: "not", operand: inner.expression } as const;
  if (inner.kind === "term") return { ...inner, expression };
  return { kind: "address", expression, mayLead: true };
}

/** What is in parentheses, the opening one having been read. */
function parseGroup(
  reader: TokenReader,
  inherited: Qualifiers | undefined,
  addressesOnly: boolean,
): Operand {
  const { at } = reader.next;
  const first = parseOperand(reader, inherited, addressesOnly);
  if (first.kind === "arithmetic" || (first.kind === "number" && reader.isSymbol(")"))) {
    reader.expectSymbol(")");
    return first;
  }
  const leader = asAddress(first, inherited);
  if (leader.kind === "address" && !leader.mayLead)
    throw new Refusal(
      "EXPRESSION_SYNTAX",
      at,
      "a list of addresses cannot begin with a parenthesis",
      "leave the inner parentheses out, or repeat the qualifier in them",
    );
  const expression = parseRest(reader, leader, leader.kind === "address", inherited);
  reader.expectSymbol(")");
  if (leader.kind === "address") return { kind: "address", expression, mayLead: false };
  return { kind: "term", expression, qualifiers: inherited };
}
