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
    rule: "only addition and subtraction are done on pointers",
    accepted: "r1 += 8\nr0 = 0\nexit",
    refused: "r1 *= 8\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /"mul" is done on it/,
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
