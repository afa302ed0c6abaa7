import { expect } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import { verify } from "../../src/verifier/verify.ts";
import { needing } from "../support/needing.ts";
import { brokenRule } from "../verifier/broken-rule.ts";
import { typed } from "../verifier/function-types.ts";
import { kernelVerdicts } from "../verifier/kernel-verdicts.ts";
import { functionRules } from "../verifier/rules/function-rules.ts";
import {
  lookup,
  packetStart,
  programOf,
  programOfRule,
  type RuleCase,
} from "../verifier/rules/rule-case.ts";

/** The lists of filters/README.md, "Weir's verifier refuses what the kernel's refuses, but for …". */
interface Difference {
  readonly name: string;
  readonly program: VerifiableProgram;
  /** What the one that refuses it says. */
  readonly says: RegExp;
}

function program(text: string, type: ProgramType = "xdp"): VerifiableProgram {
  return programOf(text, type);
}

function ruleOf(beginning: string): RuleCase {
  return functionRules.find(({ rule }) => rule.startsWith(beginning))!;
}

/** One byte of the stack is written at the place that r2 says, from -16 on. */
const usePlace = `
  r1 = r10
  r1 += -16
  r1 += r2
  *(u8 *)(r1 + 0) = 1
  out: r0 = 0
  exit`;

const onlyWeAccept: readonly Difference[] = [
  {
    name: "a packet load in a function that is never called",
    program: program(
      "r6 = r1\nr0 = 1\nif r0 == 0 goto l\nexit\nl: r1 = r6\ncall f\nexit\nf: r6 = r1\nr0 = *(u8 *)skb[0]\nexit",
      "socket",
    ),
    says: /LD_ABS is not allowed in subprogs without BTF/,
  },
  {
    name: "a pointer moved by a sign-extended number whose low half is bounded",
    program: program(
      `r6 = r1\ncall 7\nr5 = r0\nr1 = r6\nif w5 > 10 goto out\nr5 = (s8)r5\n${packetStart}\nr2 += r5\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u8 *)(r2 + 0)\nout: r0 = 1\nexit`,
    ),
    says: /R2 min value is negative/,
  },
  {
    name: "a shift by more than the width",
    program: program(`r3 = 67\nr2 = 1\nr2 <<= r3${usePlace}`),
    says: /math between fp pointer and register with unbounded min value/,
  },
  {
    name: "a shift by more than the width in 32 bits",
    program: program(`r3 = 35\nr2 = 1\nw2 <<= w3${usePlace}`),
    says: /math between fp pointer and register with unbounded min value/,
  },
  {
    name: "the negative of a number of 32 bits",
    program: program(
      `r6 = r1\nr8 = *(u32 *)(r6 + 12)\nr8 = -r8\n${lookup(1)}\nif r0 == 0 goto out\nif r8 > 31 goto out\nr0 += r8\n*(u8 *)(r0 + 5) = 1\nout: r0 = 2\nexit`,
    ),
    says: /R0 max value is outside of the allowed memory range/,
  },
  {
    name: "what stands behind a compare of a number with itself that never comes out so",
    program: program("call 7\nif w0 < w0 goto l\nr0 = 0\nexit\nl: r0 = r9\nexit"),
    says: /R9 !read_ok/,
  },
];

const onlyTheKernelAccepts: readonly Difference[] = [
  {
    name: "a field of the kernel's struct bpf_map",
    program: program("r1 = map_by_fd(0) ll\nr0 = *(u32 *)(r1 + 24)\nexit"),
    says: /what it holds cannot be read through/,
  },
  {
    name: "an index bounded by a compare of a sum that may wrap in 32 bits",
    program: program(`call 7\nw2 = w0\nr3 = r2\nw3 += -8\nif w3 > 7 goto out${usePlace}`),
    says: /points into the stack at an unknown distance/,
  },
  {
    name: "memory that may be null, of a size that is not 0, for a helper that takes null",
    program: program(
      `${lookup(1)}\nr1 = r0\nr2 = 4\nr3 = 0\nr4 = 0\nr5 = 0\ncall 28\nr0 = 0\nexit`,
    ),
    says: /bpf_csum_diff takes in r1 memory, and r1 may be null/,
  },
  {
    name: "a number for a global function's memory, where another way to the call has null",
    program: programOfRule(ruleOf("a global function's memory is null by each way"), false),
    says: /takes in r1 a pointer to 8 bytes of memory/,
  },
  {
    name: "a pointer into the packet for a global function that moves the packet",
    program: typed(
      program(
        `${packetStart}\nr4 = r2\nr4 += 14\nif r4 > r3 goto out\ncall f\nout: r0 = 2\nexit\nf: r6 = r2\nr2 = 4\ncall 44\nr0 = 0\nif r6 == 0 goto o\nr0 = *(u8 *)(r6 + 0)\no: exit`,
      ),
      new Map([[8, ["context", { bytes: 8 }]]]),
    ),
    says: /global function function1, which may move the packet, takes in r2 memory/,
  },
  {
    name: "a loop around bpf_loop that nothing shows to end",
    program: typed(
      program(
        "*(u64 *)(r10 - 8) = 0\nl: r1 = 3\nr2 = code_addr(f) ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall 181\ncall 7\nif r0 > 5 goto l\nr0 = 0\nexit\nf: r0 = 0\nexit",
      ),
    ),
    says: /a loop comes back here with nothing changed/,
  },
];

const test = needing("clang", "kernel bpf()");

for (const { name, program: one, says } of onlyWeAccept)
  test(`only Weir accepts ${name}, and it runs without breaking a rule`, () => {
    const [kernel] = kernelVerdicts([one]);
    expect(kernel?.accepted).toBe(false);
    expect(kernel?.log).toMatch(says);
    const ours = verify(one, helpers);
    expect(ours.ok ? "accepted" : ours.error.message).toBe("accepted");
    expect(brokenRule(one, 1000)).toBeUndefined();
  });

for (const { name, program: one, says } of onlyTheKernelAccepts)
  test(`only the kernel accepts ${name}`, () => {
    const [kernel] = kernelVerdicts([one]);
    expect(kernel?.log).toMatch(/^ok/);
    const ours = verify(one, helpers);
    expect(ours.ok ? "accepted" : ours.error.message).toMatch(says);
  });

test("the kernel follows callbacks that count on and on for longer than its limit", () => {
  const rule = ruleOf("rounds that begin with a count");
  const [kernel] = kernelVerdicts([typed(programOfRule(rule, true))]);
  expect(kernel?.log).toMatch(/BPF program is too large/);
});
