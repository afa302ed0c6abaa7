import { macPattern, matchIp6, parseMac } from "./address.ts";
import { Refusal } from "./refusal.ts";
import { foreignWords, namedNumbers, type Token, tokenSymbols, words } from "./token.ts";

/** Room for 50,000 hosts; what is longer is refused before it is read. */
export const maxExpressionChars = 1_048_576;

/**
 * Splits an expression into tokens as libpcap's scanner does: the longest match counts, and of
 * equally long ones keywords, then hardware addresses, numbers, addresses and names, in this order.
 * The last token is `end`.
 */
export function tokenise(text: string): readonly Token[] {
  if (text.length > maxExpressionChars)
    throw new Refusal(
      "EXPRESSION_TOO_LARGE",
      maxExpressionChars,
      `${text.length} characters`,
      `an expression has at most ${maxExpressionChars}`,
    );
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    at = skipBlanks(text, at);
    if (at === text.length) break;
    const token = readToken(text, at);
    tokens.push(token);
    at += token.text.length;
  }
  tokens.push({ kind: "end", at, text: "" });
  return tokens;
}

function skipBlanks(text: string, at: number): number {
  let position = at;
  while (position < text.length && " \r\n\t".includes(text[position]!)) position++;
  return position;
}

const digits = "(?:0[xX][0-9A-Fa-f]+|[0-9]+)";
const patterns = {
  number: new RegExp(digits, "y"),
  dotted: new RegExp(`${digits}\\.${digits}(?:\\.${digits}(?:\\.${digits})?)?`, "y"),
  brokenMac: /[0-9A-Fa-f]{1,2}:+(?:[0-9A-Fa-f]{1,2}:+)+/y,
  groups: /[0-9A-Fa-f:.]+/y,
  name: /[A-Za-z0-9](?:[-_.A-Za-z0-9]*[.A-Za-z0-9])?/y,
  escaped: /\\[^ !()\n\t]+/y,
  arcnet: /\$[0-9A-Fa-f]{1,2}/y,
} as const;

function lengthOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}

function readToken(text: string, at: number): Token {
  const first = text[at]!;
  if (first === "\\") return readEscaped(text, at);
  if (first === "$") refuseArcnet(text, at);
  return readAddressOrName(text, at) ?? readSymbol(text, at);
}

/** The alternatives that may begin with a hexadecimal digit, a letter or a colon, longest first. */
function readAddressOrName(text: string, at: number): Token | undefined {
  const ip6 = matchIp6(text, at);
  const lengths = {
    mac: lengthOf(macPattern, text, at),
    number: lengthOf(patterns.number, text, at),
    dotted: lengthOf(patterns.dotted, text, at),
    ip6: ip6 === undefined ? 0 : ip6.end - at,
    brokenMac: lengthOf(patterns.brokenMac, text, at),
    name: lengthOf(patterns.name, text, at),
  };
  const longest = Math.max(...Object.values(lengths));
  if (longest === 0) return undefined;
  const piece = text.slice(at, at + longest);
  const base = { at, text: piece };
  if (lengths.name === longest) {
    const word = readWord(piece, at);
    if (word !== undefined) return word;
  }
  if (lengths.mac === longest) return { ...base, kind: "mac", address: parseMac(piece) };
  if (lengths.number === longest) return { ...base, kind: "number", value: numberOf(piece, at) };
  if (lengths.dotted === longest) return { ...base, kind: "dotted" };
  if (lengths.ip6 === longest) {
    if (ip6?.address === undefined)
      throw new Refusal("EXPRESSION_VALUE", at, `${short(piece)} is no IPv6 address`);
    return { ...base, kind: "ip6", address: ip6.address };
  }
  if (lengths.brokenMac === longest) throw brokenAddress(text, at);
  return { ...base, kind: "name", name: piece };
}

/** Of groups with colons that are neither a hardware address nor an IPv6 address. */
function brokenAddress(text: string, at: number): Refusal {
  const whole = short(text.slice(at, at + lengthOf(patterns.groups, text, at)));
  const refusal = (what: string, fix: string): Refusal =>
    new Refusal("EXPRESSION_VALUE", at, what, fix);
  if (text[at - 1] === "[")
    return refusal(
      `${whole} is no offset with a number of bytes`,
      "expected one colon at most: ip[2:2]",
    );
  if (whole.includes("::"))
    return refusal(
      `${whole} is no IPv6 address`,
      "expected eight groups, or fewer with one :: among them",
    );
  return refusal(
    `${whole} is no Ethernet address`,
    "expected six bytes in hexadecimal, 00:00:5e:00:53:01",
  );
}

function readWord(piece: string, at: number): Token | undefined {
  const base = { at, text: piece };
  if (piece === "not") return { ...base, kind: "symbol", symbol: "!" };
  const word = words.get(piece);
  if (word !== undefined) return { ...base, kind: "word", word };
  const value = namedNumbers.get(piece);
  if (value !== undefined) return { ...base, kind: "number", value };
  const purpose = foreignWords.get(piece);
  if (purpose === undefined) return undefined;
  throw foreignWord(piece, at, purpose);
}

/** A keyword that has a meaning for captures of another link type only. */
export function foreignWord(piece: string, at: number, purpose: string): Refusal {
  return new Refusal(
    "EXPRESSION_LINK_TYPE",
    at,
    `"${short(piece)}" is for ${purpose} captures only`,
    `escape it as \\${short(piece)} where a name is meant`,
  );
}

function readEscaped(text: string, at: number): Token {
  const length = lengthOf(patterns.escaped, text, at);
  if (length === 0)
    throw new Refusal("EXPRESSION_SYNTAX", at, "nothing after \\", "expected a name after it");
  const piece = text.slice(at, at + length);
  return { at, text: piece, kind: "name", name: piece.slice(1) };
}

function refuseArcnet(text: string, at: number): never {
  const length = lengthOf(patterns.arcnet, text, at);
  if (length > 0)
    throw new Refusal(
      "EXPRESSION_LINK_TYPE",
      at,
      `${text.slice(at, at + length)} is an address of ARCNET captures`,
    );
  throw unexpectedCharacter("$", at);
}

const spellings: ReadonlyMap<string, Token> = new Map<string, Token>([
  ["==", { at: 0, text: "==", kind: "symbol", symbol: "=" }],
  ["&&", { at: 0, text: "&&", kind: "word", word: "and" }],
  ["||", { at: 0, text: "||", kind: "word", word: "or" }],
  ...tokenSymbols.map(
    (symbol) => [symbol, { at: 0, text: symbol, kind: "symbol", symbol }] as const,
  ),
]);

function readSymbol(text: string, at: number): Token {
  const token = spellings.get(text.slice(at, at + 2)) ?? spellings.get(text[at]!);
  if (token === undefined)
    throw unexpectedCharacter(String.fromCodePoint(text.codePointAt(at)!), at);
  return { ...token, at };
}

function unexpectedCharacter(character: string, at: number): Refusal {
  return new Refusal("EXPRESSION_SYNTAX", at, `${JSON.stringify(character)} has no meaning here`);
}

/** Decimal, octal after 0, hexadecimal after 0x; at most 32 bits. */
function numberOf(piece: string, at: number): number {
  const isHex = /^0[xX]/.test(piece);
  const isOctal = !isHex && piece.startsWith("0");
  if (isOctal && /[89]/.test(piece))
    throw new Refusal(
      "EXPRESSION_VALUE",
      at,
      `${short(piece)} begins with 0, so it is octal, and has a digit that octal has not`,
      "leave the 0 out",
    );
  const value = isHex
    ? Number.parseInt(piece, 16)
    : isOctal
      ? Number.parseInt(piece, 8)
      : Number(piece);
  if (value > 0xffff_ffff)
    throw new Refusal("EXPRESSION_VALUE", at, `${short(piece)} is more than 32 bits`);
  return value;
}

/** Enough of a piece of the text to recognise it. */
export function short(piece: string): string {
  return piece.length > 40 ? `${piece.slice(0, 40)}…` : piece;
}
