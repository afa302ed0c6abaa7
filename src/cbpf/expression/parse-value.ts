import type { AddressType, Direction, Protocol, Qualifiers, Value } from "./ast.ts";
import { isProtocol } from "./parse-arithmetic.ts";
import type { Token, Word } from "./token.ts";
import type { TokenReader } from "./token-reader.ts";

const addressTypes: ReadonlySet<Word> = new Set<AddressType & Word>([
  "host",
  "net",
  "port",
  "portrange",
]);

/** Types that take no direction before them. */
const undirectedTypes: ReadonlySet<Word> = new Set<AddressType & Word>([
  "proto",
  "protochain",
  "gateway",
]);

/**
 * `[protocol] [direction] [type]`, at least a direction or a type; or undefined, and nothing read,
 * where the next tokens are no qualifiers: a protocol that stands alone.
 */
export function parseQualifiers(reader: TokenReader): Qualifiers | undefined {
  const { next, afterNext } = reader;
  if (next.kind !== "word") return undefined;
  let protocol: Protocol = "default";
  if (isProtocol(next.word)) {
    if (!isQualifier(afterNext)) return undefined;
    protocol = next.word;
    reader.take();
  } else if (!isQualifier(next)) return undefined;
  const word = wordOf(reader);
  if (word !== undefined && undirectedTypes.has(word)) {
    reader.take();
    return { protocol, direction: "default", type: word as AddressType };
  }
  const direction = parseDirection(reader);
  const type = wordOf(reader);
  if (type === undefined || !addressTypes.has(type))
    return { protocol, direction, type: "default" };
  reader.take();
  return { protocol, direction, type: type as AddressType };
}

function isQualifier(token: Token): boolean {
  if (token.kind !== "word") return false;
  const { word } = token;
  return word === "src" || word === "dst" || addressTypes.has(word) || undirectedTypes.has(word);
}

function wordOf(reader: TokenReader): Word | undefined {
  return reader.next.kind === "word" ? reader.next.word : undefined;
}

/** `src`, `dst`, or both in either order with `and` or `or` between them. */
function parseDirection(reader: TokenReader): Direction {
  const first = wordOf(reader);
  if (first !== "src" && first !== "dst") return "default";
  reader.take();
  const other = first === "src" ? "dst" : "src";
  for (const operator of ["or", "and"] as const)
    if (reader.takeWord(operator)) {
      if (!reader.takeWord(other)) reader.fail(other);
      return `src_${operator}_dst`;
    }
  return first;
}

/** An address or name with its mask, or undefined, and nothing read, where none begins. */
export function parseValue(reader: TokenReader): Value | undefined {
  const token = reader.next;
  switch (token.kind) {
    case "name":
      reader.take();
      return { kind: "name", name: token.name };
    case "mac":
      reader.take();
      return { kind: "mac", address: token.address };
    case "ip6": {
      reader.take();
      const { text, address } = token;
      const isNetwork = reader.takeSymbol("/");
      const bitsAt = reader.next.at;
      const bits = isNetwork ? reader.expectNumber("a prefix length") : 128;
      return { kind: "ip6", text, address, bits, bitsAt };
    }
    case "dotted":
      reader.take();
      return parseMask(reader, token.text);
    default:
      return undefined;
  }
}

function parseMask(reader: TokenReader, text: string): Value {
  if (reader.takeSymbol("/")) {
    const bitsAt = reader.next.at;
    return { kind: "prefix", text, bits: reader.expectNumber("a prefix length"), bitsAt };
  }
  if (!reader.takeWord("mask")) return { kind: "dotted", text };
  const mask = reader.next;
  if (mask.kind !== "dotted") return reader.fail("a mask such as 255.255.255.0");
  reader.take();
  return { kind: "masked", text, mask: mask.text, maskAt: mask.at };
}
