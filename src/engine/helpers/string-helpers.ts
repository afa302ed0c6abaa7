import { errno } from "../../common/errno.ts";
import { anyType, type Helper, type HelperRun, R1, R2, R3, R4 } from "./helper.ts";

/** 0 finds the base in the text. */
const bases: readonly number[] = [0, 8, 10, 16];
/** Kernel: what it copies of the text behind space and sign, `str[64]` with its closing zero. */
const maxNumberBytes = 63;

/** Helpers on text: kernel/bpf/helpers.c. */
export const stringHelpers: readonly Helper[] = [
  {
    id: 105,
    name: "strtol",
    arguments: ["readable_memory", "size", "anything", "writable_u64"],
    types: anyType,
    work: 20,
    call: (run) => parseNumber(run, true),
  },
  {
    id: 106,
    name: "strtoul",
    arguments: ["readable_memory", "size", "anything", "writable_u64"],
    types: anyType,
    work: 20,
    call: (run) => parseNumber(run, false),
  },
  {
    id: 182,
    name: "strncmp",
    arguments: ["readable_memory", "size", "constant_string"],
    types: anyType,
    /** The sign of the first difference: lib/string.c. The third string ends at its zero byte. */
    call({ registers, context }) {
      const { bytes } = context.arena;
      const [first, size, second] = [registers[R1]!, registers[R2]!, registers[R3]!];
      for (let i = 0; i < size; i++) {
        const [a, b] = [bytes[first + i]!, bytes[second + i]!];
        if (a !== b) return a < b ? -1 : 1;
        if (a === 0) return 0;
      }
      return 0;
    },
  },
];

/** The number at the start of r1's r2 bytes into r4; how many bytes it took. r3: the base. */
function parseNumber(run: HelperRun, signed: boolean): number {
  const { registers, context } = run;
  const { bytes, view } = context.arena;
  const start = registers[R1]!;
  const textEnd = start + registers[R2]!;
  const to = registers[R4]!;
  const flags = registers[R3]!;
  let at = start;
  while (at < textEnd && isSpace(bytes[at]!)) at++;
  const negative = at < textEnd && bytes[at] === minus;
  if (negative) at++;
  const known = registers[R3 + 1] === 0 && bases.includes(flags);
  const number =
    known && at < textEnd
      ? digits(bytes, at, Math.min(textEnd, at + maxNumberBytes), flags)
      : undefined;
  // After the text has been read: the result may lie where the text does.
  view.setBigInt64(to, 0n, true);
  if (number === undefined) return -errno.EINVAL;
  const { value, next } = number;
  if (value >= 2n ** 64n) return -errno.ERANGE;
  if (negative && !signed) return -errno.EINVAL;
  if (signed && value > (negative ? 2n ** 63n : 2n ** 63n - 1n)) return -errno.ERANGE;
  view.setBigUint64(to, BigInt.asUintN(64, negative ? -value : value), true);
  return next - start;
}

const minus = 0x2d;
const zero = 0x30;
const letterX = 0x78;
/** Upper case and lower case letters differ by this bit. */
const caseBit = 0x20;

function digits(
  bytes: Uint8Array,
  start: number,
  end: number,
  asked: number,
): { readonly value: bigint; readonly next: number } | undefined {
  const byteAt = (i: number): number => (i < end ? bytes[i]! : 0);
  const prefixed = byteAt(start) === zero && (byteAt(start + 1) | caseBit) === letterX;
  let base = asked;
  if (base === 0) {
    if (byteAt(start) !== zero) base = 10;
    else base = prefixed && digit(byteAt(start + 2)) < 16 ? 16 : 8;
  }
  const first = prefixed && base === 16 ? start + 2 : start;
  let at = first;
  let value = 0n;
  while (at < end && digit(bytes[at]!) < base)
    value = value * BigInt(base) + BigInt(digit(bytes[at++]!));
  return at === first ? undefined : { value, next: at };
}

function digit(byte: number): number {
  if (byte >= zero && byte <= zero + 9) return byte - zero;
  const letter = (byte | caseBit) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : Number.POSITIVE_INFINITY;
}

/** Kernel: isspace, lib/ctype.c. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 9 && byte <= 13) || byte === 0xa0;
}
