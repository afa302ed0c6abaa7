import type { Ip6Address } from "./token.ts";

/** Bits and value of a full or partial IPv4 address: `10.1` is 16 bits. */
export interface DottedAddress {
  /** The numbers as they stand, in the low bits; unsigned. */
  readonly value: number;
  /** 8 for each number. */
  readonly bits: number;
}

/** One to four decimal numbers of 0 to 255 with dots, or undefined. Leading zeros are decimal. */
export function parseDotted(text: string): DottedAddress | undefined {
  let value = 0;
  const parts = text.split(".");
  if (parts.length > 4) return undefined;
  for (const part of parts) {
    const digits = /^0*(\d{1,3})$/.exec(part)?.[1];
    if (digits === undefined || Number(digits) > 255) return undefined;
    value = value * 256 + Number(digits);
  }
  return { value, bits: parts.length * 8 };
}

/** DECnet's `area.node`, 6 and 10 bits, or undefined. */
export function parseDecnet(text: string): number | undefined {
  const match = /^(\d{1,9})\.(\d{1,9})$/.exec(text);
  if (match === null) return undefined;
  const area = Number(match[1]);
  const node = Number(match[2]);
  return area > 63 || node > 1023 ? undefined : (area << 10) | node;
}

const group = /[0-9A-Fa-f]{1,4}/y;
const dottedQuad = /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/y;

/** Longest IPv6 address that starts at `at`: its end, and its value unless the IPv4 part is none. */
export interface Ip6Match {
  readonly end: number;
  readonly address: Ip6Address | undefined;
}

/** RFC 4291 §2.2: eight groups, or fewer with one `::`, the last two perhaps as an IPv4 address. */
export function matchIp6(text: string, at: number): Ip6Match | undefined {
  const groups: number[] = [];
  let gap: number | undefined;
  let position = at;
  let best: Ip6Match | undefined;
  if (text.startsWith("::", at)) {
    gap = 0;
    position += 2;
    best = { end: position, address: [0, 0, 0, 0] };
  }
  for (;;) {
    const quad = matchAt(dottedQuad, text, position);
    if (quad !== undefined && (gap === undefined ? groups.length === 6 : groups.length <= 5))
      return { end: position + quad.length, address: withQuad(groups, gap, quad) };
    const digits = matchAt(group, text, position);
    if (digits === undefined || groups.length === 8) return best;
    groups.push(Number.parseInt(digits, 16));
    position += digits.length;
    if (gap === undefined ? groups.length === 8 : groups.length <= 7)
      best = { end: position, address: expand(groups, gap) };
    if (text.startsWith("::", position) && gap === undefined) {
      if (groups.length > 7) return best;
      gap = groups.length;
      position += 2;
      best = { end: position, address: expand(groups, gap) };
    } else if (text[position] === ":") position++;
    else return best;
  }
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

function withQuad(
  groups: readonly number[],
  gap: number | undefined,
  quad: string,
): Ip6Address | undefined {
  const parts = quad.split(".").map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : 256));
  if (parts.some((part) => part > 255)) return undefined;
  const [a, b, c, d] = parts as [number, number, number, number];
  return expand([...groups, (a << 8) | b, (c << 8) | d], gap);
}

function expand(groups: readonly number[], gap: number | undefined): Ip6Address {
  const missing = 8 - groups.length;
  const all =
    gap === undefined
      ? groups
      : [...groups.slice(0, gap), ...new Array<number>(missing).fill(0), ...groups.slice(gap)];
  const word = (i: number): number => all[i]! * 0x1_0000 + all[i + 1]!;
  return [word(0), word(2), word(4), word(6)];
}

const byte = "[0-9A-Fa-f]{1,2}";

/**
 * Six bytes with colons, dashes or dots, three groups of four digits with dots, or twelve digits.
 * Sticky: matches at `lastIndex`.
 */
export const macPattern = new RegExp(
  `${byte}(?::${byte}){5}|${byte}(?:-${byte}){5}|${byte}(?:\\.${byte}){5}` +
    "|[0-9A-Fa-f]{4}\\.[0-9A-Fa-f]{4}\\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]{12}",
  "y",
);

/** The six bytes of text that `macPattern` matched. */
export function parseMac(text: string): Uint8Array {
  const parts = text.split(/[:.-]/);
  const pairs = parts.length === 6 ? parts : parts.join("").match(/../g)!;
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}
