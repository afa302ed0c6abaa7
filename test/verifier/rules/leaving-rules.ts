import { allStatic, out, packetCheck, type RuleCase } from "./rule-case.ts";

/** With the context in r1. */
const tailCall = "r2 = map_by_fd(5) ll\nr3 = 0\ncall 12";

const loadInFunction =
  "asked about a packet load in a function with types, Linux 6.18 fails itself";

/** Functions that end where they do not exit: by tail calls and packet loads. */
export const leavingRules: readonly RuleCase[] = [
  {
    rule: "the target of a function's tail call may move the packet that the caller points into",
    accepted: `r6 = r1\ncall f\nr1 = r6\n${packetCheck(20)}\nr0 = *(u8 *)(r2 + 19)\n${out}\nf: ${tailCall}\nr0 = 0\nexit`,
    refused: `r6 = r1\n${packetCheck(20)}\nr7 = r2\nr1 = r6\ncall f\nr0 = *(u8 *)(r7 + 19)\n${out}\nf: ${tailCall}\nr0 = 0\nexit`,
    code: "NOT_A_POINTER",
    says: /r7 .*pointed into the packet until the tail call, whose target may move that, at instruction 15; load data and data_end again behind the call of the function/,
    typed: allStatic,
  },
  {
    rule: "the target of a function's tail call returns any number to the function's caller",
    accepted: `call f\nr0 &= 15\n${stackByteAt("r0")}\nr0 = 0\nexit\nf: ${tailCall}\nr0 = 8\nexit`,
    refused: `call f\n${stackByteAt("r0")}\nr0 = 0\nexit\nf: ${tailCall}\nr0 = 8\nexit`,
    code: "POINTER_OFFSET",
    says: /r2 is moved by any number/,
    typed: allStatic,
  },
  {
    rule: "what a function writes behind a tail call may not have been written",
    accepted: writtenByFunction(`*(u64 *)(r2 + 0) = 8\n${tailCall}`),
    refused: writtenByFunction(`r6 = r2\n${tailCall}\n*(u64 *)(r6 + 0) = 8`),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
    typed: allStatic,
  },
  {
    rule: "the target of a nested function's tail call returns to the function in between",
    accepted: writtenByFunction(writtenUnlessOne(15), `\ng: ${tailCall}\nr0 = 1\nexit`),
    refused: writtenByFunction(writtenUnlessOne(700), `\ng: ${tailCall}\nr0 = 1\nexit`),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
    typed: allStatic,
  },
  {
    rule: "a global function that makes a tail call may move the packet",
    accepted: `r6 = r1\ncall f\nr1 = r6\n${packetCheck(20)}\nr0 = *(u8 *)(r2 + 19)\n${out}\nf: ${tailCall}\nr0 = 0\nexit`,
    refused: `r6 = r1\n${packetCheck(20)}\nr7 = r2\nr1 = r6\ncall f\nr0 = *(u8 *)(r7 + 19)\n${out}\nf: ${tailCall}\nr0 = 0\nexit`,
    code: "NOT_A_POINTER",
    says: /r7 .*pointed into the packet until the call of global function function1, which may move that,/,
    typed: new Map([
      [11, ["context"]],
      [12, ["context"]],
    ]),
  },
  {
    rule: "a tail call in what a global function calls returns to that",
    accepted: `call g\nr0 = 0\nexit\ng: call f\nr0 &= 15\n${stackByteAt("r0")}\nr0 = 0\nexit\nf: ${tailCall}\nr0 = 8\nexit`,
    refused: `call g\nr0 = 0\nexit\ng: call f\nr0 = r0\n${stackByteAt("r0")}\nr0 = 0\nexit\nf: ${tailCall}\nr0 = 8\nexit`,
    code: "POINTER_OFFSET",
    says: /r2 is moved by any number/,
    typed: new Map([[3, ["context"]]]),
  },
  {
    rule: "a callback makes no tail call",
    accepted: calledBack(`r0 = 1\nexit`, tailCall),
    refused: calledBack(`r1 = *(u64 *)(r2 + 0)\n${tailCall}\nr0 = 1\nexit`, "r0 = 0"),
    code: "CALLBACK",
    says: /a tail call is made in a callback, where it would abort the run; note .* make the tail call behind the helper/,
    typed: allStatic,
  },
  {
    rule: "a function that a callback calls makes no tail call",
    accepted: calledBack("r1 = *(u64 *)(r2 + 0)\ncall g\nr0 = 1\nexit\ng: r0 = 1\nexit", tailCall),
    refused: calledBack(
      `r1 = *(u64 *)(r2 + 0)\ncall g\nr0 = 1\nexit\ng: ${tailCall}\nr0 = 1\nexit`,
      "r0 = 0",
    ),
    code: "CALLBACK",
    says: /a tail call is made in a callback/,
    notInKernel: "it refuses those alone that stand in the callback itself",
  },
  {
    rule: "a callback calls no global function that makes a tail call",
    accepted: calledBack("r1 = *(u64 *)(r2 + 0)\ncall g\nr0 = 1\nexit\ng: r0 = 1\nexit", "r0 = 0"),
    refused: calledBack(
      `r1 = *(u64 *)(r2 + 0)\ncall g\nr0 = 1\nexit\ng: ${tailCall}\nr0 = 1\nexit`,
      "r0 = 0",
    ),
    code: "CALLBACK",
    says: /global function function2, which makes a tail call, is called in a callback, where it would abort the run/,
    typed: new Map([[18, ["context"]]]),
    notInKernel: "it refuses those alone that stand in the callback itself",
  },
  {
    rule: "a packet load behind the packet's end makes its function return 0",
    type: "socket",
    accepted: `call f\n${stackByteAt("r0")}\nr0 = 0\nexit\nf: r6 = r1\nr0 = *(u8 *)skb[9]\nr0 = 8\nexit`,
    refused: `call f\nr0 += -500\n${stackByteAt("r0")}\nr0 = 0\nexit\nf: r6 = r1\nr0 = *(u8 *)skb[9]\nr0 = 508\nexit`,
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
    typed: allStatic,
    notInKernel: loadInFunction,
  },
  {
    rule: "what a function writes behind a packet load may not have been written",
    type: "socket",
    accepted: writtenByFunction("*(u64 *)(r2 + 0) = 8\nr6 = r1\nr0 = *(u8 *)skb[9]"),
    refused: writtenByFunction("r7 = r2\nr6 = r1\nr0 = *(u8 *)skb[9]\n*(u64 *)(r7 + 0) = 8"),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
    typed: allStatic,
    notInKernel: loadInFunction,
  },
  {
    rule: "what a callback writes behind a packet load may not have been written",
    type: "socket",
    accepted: calledBack(
      "*(u64 *)(r2 - 8) = 8\nr6 = *(u64 *)(r2 + 0)\nr0 = *(u8 *)skb[9]\nr0 = 0\nexit",
      `r0 = *(u64 *)(r10 - 16)\n${stackByteAt("r0")}`,
    ),
    refused: calledBack(
      "r7 = r2\n*(u64 *)(r7 - 8) = 700\nr6 = *(u64 *)(r2 + 0)\nr0 = *(u8 *)skb[9]\n*(u64 *)(r7 - 8) = 8\nr0 = 0\nexit",
      `r0 = *(u64 *)(r10 - 16)\n${stackByteAt("r0")}`,
    ),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
    typed: allStatic,
    notInKernel: loadInFunction,
  },
];

/** A byte among 16 of the stack, at the place that a register says. */
function stackByteAt(register: string): string {
  return `r2 = r10\nr2 += -32\nr2 += ${register}\n*(u8 *)(r2 + 0) = 1`;
}

/** A function gets in r2 the place of a number, 700, that its caller then takes for a place on its stack. */
function writtenByFunction(body: string, more = ""): string {
  return `*(u64 *)(r10 - 8) = 700
    r2 = r10
    r2 += -8
    call f
    r0 = *(u64 *)(r10 - 8)
    ${stackByteAt("r0")}
    r0 = 0
    exit
    f: ${body}
    r0 = 0
    exit${more}`;
}

/** Writes this where a function did not return the 1 that it does return, but for its tail call's target. */
function writtenUnlessOne(value: number): string {
  return `r6 = r2
    *(u64 *)(r6 + 0) = 8
    call g
    if r0 == 1 goto end
    *(u64 *)(r6 + 0) = ${value}
    end: r0 = 0`;
}

/** A callback that gets in r2 the place of the context, above that of the number 8; `after` has it in r1. */
function calledBack(body: string, after: string): string {
  return `r6 = r1
    *(u64 *)(r10 - 8) = r1
    *(u64 *)(r10 - 16) = 8
    r1 = 3
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 181
    r1 = r6
    ${after}
    r0 = 0
    exit
    f: ${body}`;
}
