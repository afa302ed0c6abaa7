import { lookup, out, packetCheck, type RuleCase } from "./rule-case.ts";

export const pointerRules: readonly RuleCase[] = [
  {
    rule: "numbers are no pointers",
    accepted: "r2 = r10\n*(u64 *)(r2 - 8) = 0\nr0 = 0\nexit",
    refused: "r2 = 65536\n*(u64 *)(r2 - 8) = 0\nr0 = 0\nexit",
    code: "NOT_A_POINTER",
    says: /holds a number/,
  },
  {
    rule: "a pointer that is the same as one that is not null is not null either",
    accepted:
      "*(u64 *)(r10 - 8) = 0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nr6 = r0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nif r0 == 0 goto l\nif r0 != r6 goto l\nr0 = *(u8 *)(r6 + 0)\nl: r0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 8) = 0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nr6 = r0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nif r0 == 0 goto l\nif r0 == r6 goto l\nr0 = *(u8 *)(r6 + 0)\nl: r0 = 0\nexit",
    code: "MAYBE_NULL",
    says: /r6 is used as a pointer/,
  },
  {
    rule: "a pointer that is the same as one that may be null may be null",
    accepted:
      "*(u64 *)(r10 - 8) = 0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nr6 = r0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nif r0 == 0 goto l\nif r6 != r0 goto l\nr0 = *(u8 *)(r6 + 0)\nl: r0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 8) = 0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nr6 = r0\nr2 = r10\nr2 += -8\nr1 = map_by_fd(1) ll\ncall 1\nif r6 != r0 goto l\nr0 = *(u8 *)(r6 + 0)\nl: r0 = 0\nexit",
    code: "MAYBE_NULL",
    says: /r6 is used as a pointer/,
  },
  {
    rule: "a pointer that was moved down by the address it points to may be null",
    accepted: indexAfterCompare("r3 += 8"),
    refused: indexAfterCompare("r6 &= 0xffffff\nr3 -= r6"),
    code: "MAP_VALUE_BOUNDS",
    says: /byte 64 is accessed, and the value of map flows has 32/,
    notInKernel: "its addresses are too large to be made 0",
  },
  {
    rule: "a number stays linked to its sum in 32 bits where that does not wrap",
    accepted: linkedIndex("w6 &= 255\nw7 = w6\nw7 += 4\nif w7 > 67 goto l"),
    refused: linkedIndex("w6 &= 255\nw7 = w6\nw7 += 3\nif w7 > 67 goto l"),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "only addition and subtraction are done on pointers",
    accepted: "r1 += 8\nr0 = 0\nexit",
    refused: "r1 *= 8\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /"mul" is done on it/,
  },
  {
    rule: "bits are not set in pointers, as compilers do for array[x & 7]",
    accepted: "r1 = r10\nr1 += -8\nr1 += 3\nr0 = 0\nexit",
    refused: "r1 = r10\nr1 += -8\nr1 |= 3\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /"or" is done on it; .*bound the index by a compare instead/,
  },
  {
    rule: "32-bit arithmetic does not cut pointers",
    accepted: "r1 += 8\nr0 = 0\nexit",
    refused: "w1 += 8\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /cut it in half/,
  },
  {
    rule: "two pointers are not added",
    accepted: "r2 = r10\nr2 -= r1\nr0 = 0\nexit",
    refused: "r2 = r10\nr2 += r1\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /both pointers/,
  },
  {
    rule: "the negative of a number is known where that has a copy, too",
    accepted: negativePlace(8),
    refused: negativePlace(16),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "shifts stay within the width",
    accepted: "r0 = 1\nr0 <<= 63\nexit",
    refused: "r0 = 1\nr0 <<= 64\nexit",
    code: "INVALID_SHIFT",
    says: /shifts a 64-bit number by 64/,
  },
  {
    rule: "nothing is divided by the constant 0",
    accepted: "r0 = 1\nr1 = 0\nr0 /= r1\nexit",
    refused: "r0 = 1\nr0 /= 0\nexit",
    code: "DIVISION_BY_ZERO",
    says: /constant 0/,
  },
  {
    rule: "atomics are aligned",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 + 8) += r1\n${out}`,
    refused: `${lookup(1)}\nif r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 + 4) += r1\n${out}`,
    code: "MISALIGNED",
    says: /not aligned to 8/,
  },
  {
    rule: "atomics do not work on packets",
    accepted: "*(u64 *)(r10 - 8) = 0\nr1 = 1\nlock *(u64 *)(r10 - 8) += r1\nr0 = 0\nexit",
    refused: `${packetCheck(16)}\nr1 = 1\nlock *(u64 *)(r2 + 8) += r1\n${out}`,
    code: "ATOMIC_TARGET",
    says: /works on the packet/,
  },
  {
    rule: "a 32-bit copy of a pointer is a number",
    accepted: "r2 = r1\nr0 = *(u32 *)(r2 + 12)\nexit",
    refused: "w2 = w1\nr0 = *(u32 *)(r2 + 12)\nexit",
    code: "NOT_A_POINTER",
    says: /r2 is used as a pointer, and holds a number since instruction 0 \(w2 = w1\)/,
  },
  {
    rule: "a pointer is not subtracted from a number",
    accepted: "r2 = r10\nr2 += -8\nr0 = 0\nexit",
    refused: "r2 = 8\nr2 -= r10\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /subtract the number from the pointer/,
  },
];

/** Uses 64 as an index into a value of 32 bytes where r3, the value's address that was moved, is 0. */
function indexAfterCompare(move: string): string {
  return `${packetCheck(8)}
    r6 = *(u32 *)(r2 + 0)
    ${lookup(1)}
    if r0 == 0 goto out
    r3 = r0
    ${move}
    r5 = 64
    if r3 == 0 goto join
    r5 = 0
    join: r0 += r5
    r0 = *(u8 *)(r0 + 0)
    ${out}`;
}

/** Uses r6, a random number that `bound` bounds, as an index into 64 bytes of stack. */
function linkedIndex(bound: string): string {
  return `call 7
    r6 = r0
    ${bound}
    r1 = r10
    r1 += -64
    r1 += r6
    *(u8 *)(r1 + 0) = 1
    l: r0 = 0
    exit`;
}

/** A byte of the stack from -16 on, at `added` less than 0 to 7. */
function negativePlace(added: number): string {
  return `call 7\nr6 = r0\nr6 &= 7\nr7 = r6\nr6 = -r6\nr6 += ${added}\nr1 = r10\nr1 += -16\nr1 += r6\n*(u8 *)(r1 + 0) = 1\nr0 = 0\nexit`;
}
