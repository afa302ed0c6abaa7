import { lookup, out, type RuleCase } from "./rule-case.ts";

export const flowRules: readonly RuleCase[] = [
  {
    rule: "registers are set before they are read",
    accepted: "r3 = 5\nr0 = r3\nexit",
    refused: "r0 = r3\nexit",
    code: "UNINITIALISED_REGISTER",
    says: /r3 is read and holds nothing/,
  },
  {
    rule: "r0 is set at exit",
    accepted: "r0 = 0\nexit",
    refused: "r6 = 0\nexit",
    code: "UNINITIALISED_REGISTER",
    says: /r0 is read/,
  },
  {
    rule: "calls leave nothing in r1 to r5",
    accepted: "r6 = r1\ncall 5\nr0 = r6\nr0 = 0\nexit",
    refused: "call 5\nr0 = r1\nexit",
    code: "UNINITIALISED_REGISTER",
    says: /calls leave nothing in r1 to r5/,
  },
  {
    rule: "every instruction can be reached",
    accepted: "goto l\nl: r0 = 0\nexit",
    refused: "goto l\nr0 = 1\nl: r0 = 0\nexit",
    code: "UNREACHABLE_CODE",
    says: /no jump, call or fall-through comes here/,
  },
  {
    rule: "a loop comes to an end",
    accepted: "r6 = 0\nl: r6 += 1\nif r6 != 100 goto l\nr0 = 0\nexit",
    refused: "r6 = 0\nl: r7 = 1\nif r6 != 100 goto l\nr0 = 0\nexit",
    code: "INFINITE_LOOP",
    says: /nothing changed/,
  },
  {
    rule: "a loop whose end is not known is followed only so far",
    accepted:
      "r6 = *(u32 *)(r1 + 12)\nr6 &= 63\nr7 = 0\nl: if r7 >= r6 goto o\nr7 += 1\ngoto l\no: r0 = 0\nexit",
    refused: "call 7\nr6 = r0\nr7 = 0\nl: if r7 >= r6 goto o\nr7 += 1\ngoto l\no: r0 = 0\nexit",
    code: "TOO_COMPLEX",
    says: /8192 branches are open on one path; make loops shorter.* or let bpf_loop go round: its callback is most often followed for a few iterations/,
  },
  {
    rule: "what depends on a loop's counter is checked with its last value",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr6 = 0\nl: r1 = r0\nr1 += r6\nr2 = *(u8 *)(r1 + 0)\nr6 += 1\nif r6 != 32 goto l\n${out}`,
    refused: `${lookup(1)}\nif r0 == 0 goto out\nr6 = 0\nl: r1 = r0\nr1 += r6\nr2 = *(u8 *)(r1 + 0)\nr6 += 1\nif r6 != 33 goto l\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /byte 32 is accessed/,
  },
  {
    rule: "paths that meet are covered only by what they relied on",
    accepted: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nr7 = 4\nif r6 == 1 goto l\nr7 = 8\nl: r0 += r7\nr1 = *(u64 *)(r0 + 16)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nr7 = 4\nif r6 == 1 goto l\nr7 = 16\nl: r0 += r7\nr1 = *(u64 *)(r0 + 16)\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /bytes 32 to 39/,
  },
  {
    rule: "nothing jumps into the middle of a 16-byte instruction",
    accepted: "goto +2\nr1 = 5 ll\nr0 = 0\nif r0 == 1 goto -4\nexit",
    refused: "r0 = 0\nif r0 == 1 goto +1\nr1 = 5 ll\nexit",
    code: "PROGRAM_JUMP_INTO_LDDW",
    says: /second half/,
  },
];
