import { expect, test } from "vitest";
import { assemble } from "../../src/isa/assembler.ts";
import { type ProgramType, programTypes } from "../../src/object/object-spec.ts";
import { findStructureProblem, type MapShape } from "../../src/verifier/structure.ts";

/** All types may call the first two, and only tc programs the third. */
const helpers = new Map<number, { name: string; types: readonly ProgramType[] }>([
  [1, { name: "map_lookup_elem", types: programTypes }],
  [5, { name: "ktime_get_ns", types: programTypes }],
  [44, { name: "xdp_adjust_head", types: ["tc"] }],
]);
const counters: MapShape = { name: "counters", type: "array", valueSize: 16, maxEntries: 1 };
const table: MapShape = { name: "table", type: "hash", valueSize: 16, maxEntries: 1 };
const many: MapShape = { name: "many", type: "array", valueSize: 16, maxEntries: 2 };

function check(text: string, type: ProgramType = "xdp") {
  const instructions = assemble(text);
  if (!instructions.ok) throw new AggregateError(instructions.error);
  return findStructureProblem(
    { type, instructions: instructions.value, maps: [counters, table, many] },
    helpers,
  );
}

/** For each rule a program that keeps it beside one that breaks it. */
for (const { rule, good, bad, code, at, what } of [
  {
    rule: "a jump stays inside the program",
    good: "r0 = 0\ngoto +0\nexit",
    bad: "r0 = 0\ngoto +1\nexit",
    code: "PROGRAM_JUMP_OUTSIDE",
    at: 1,
    what: /jumps to 3, and the program has instructions 0 to 2/,
  },
  {
    rule: "a jump goes to no slot before the program",
    good: "r0 = 0\nif r0 == 1 goto -2\nexit",
    bad: "r0 = 0\nif r0 == 1 goto -3\nexit",
    code: "PROGRAM_JUMP_OUTSIDE",
    at: 1,
    what: /jumps to -1/,
  },
  {
    rule: "a jump does not hit the second half of lddw",
    good: "goto +2\nr0 = 1 ll\nexit",
    bad: "goto +1\nr0 = 1 ll\nexit",
    code: "PROGRAM_JUMP_INTO_LDDW",
    at: 0,
    what: /second half of a 16-byte instruction/,
  },
  {
    rule: "a jump does not leave its function",
    good: "call f\nexit\nf:\nr0 = 0\nexit",
    bad: "call f\ngoto +1\nf:\nr0 = 0\nexit",
    code: "PROGRAM_JUMP_LEAVES_FUNCTION",
    at: 1,
    what: /jumps to 3, out of its function \(0 to 1\)/,
  },
  {
    rule: "a call goes to an instruction of the program",
    good: "call local +1\nexit\nr0 = 0\nexit",
    bad: "call local +9\nexit\nr0 = 0\nexit",
    code: "PROGRAM_JUMP_OUTSIDE",
    at: 0,
    what: /refers to 10/,
  },
  {
    rule: "a call does not hit the second half of lddw",
    good: "call local +1\nexit\nr0 = 1 ll\nexit",
    bad: "call local +2\nexit\nr0 = 1 ll\nexit",
    code: "PROGRAM_JUMP_INTO_LDDW",
    at: 0,
    what: /refers to 3/,
  },
  {
    rule: "the address of a function is one of the program",
    good: "r1 = code_addr(+2) ll\nexit\nr0 = 0\nexit",
    bad: "r1 = code_addr(+7) ll\nexit\nr0 = 0\nexit",
    code: "PROGRAM_JUMP_OUTSIDE",
    at: 0,
    what: /refers to 8/,
  },
  {
    rule: "a program ends with exit or a jump",
    good: "exit\nr0 = 0\ngoto -3",
    bad: "exit\nr0 = 0\nif r0 == 0 goto -3",
    code: "PROGRAM_FALLS_OFF",
    at: 2,
    what: /the last instruction/,
  },
  {
    rule: "a program does not end with lddw",
    good: "r0 = 1 ll\nexit",
    bad: "exit\nr0 = 0x1 ll",
    code: "PROGRAM_FALLS_OFF",
    at: 2,
    what: /the last instruction/,
  },
  {
    rule: "a function ends with exit or a jump",
    good: "call f\nexit\nf:\nexit",
    bad: "call f\nr0 = 0\nf:\nexit",
    code: "PROGRAM_FALLS_OFF",
    at: 1,
    what: /the function at 2 would be run into/,
  },
  ...[
    "r10 = 0",
    "r10 += -8",
    "w10 = 1",
    "r10 = -r10",
    "r10 = be16 r10",
    "r10 = (s8)r1",
    "r10 = 0x1 ll",
    "r10 = *(u64 *)(r1 + 0)",
    "r10 = xchg_64(r1 + 0, r10)",
  ].map((bad) => ({
    rule: `r10 is not written by \`${bad}\``,
    good: bad.replaceAll("10", "9").replace("be9", "be16").concat("\nexit"),
    bad: `${bad}\nexit`,
    code: "PROGRAM_FRAME_POINTER",
    at: 0,
    what: /writes r10/,
  })),
  {
    rule: "a map operand names a map",
    good: "r1 = map_by_fd(2) ll\nexit",
    bad: "r1 = map_by_fd(3) ll\nexit",
    code: "PROGRAM_MAP",
    at: 0,
    what: /names map 3, and there are 3 maps/,
  },
  {
    rule: "a value's address lies inside the value",
    good: "r1 = map_val(map_by_fd(0)) + 15 ll\nexit",
    bad: "r1 = map_val(map_by_fd(0)) + 16 ll\nexit",
    code: "PROGRAM_MAP_VALUE",
    at: 0,
    what: /byte 16 of map counters, whose value has 16 bytes/,
  },
  {
    rule: "only an array's value has an address",
    good: "r1 = map_val(map_by_idx(0)) + 0 ll\nexit",
    bad: "r1 = map_val(map_by_idx(1)) + 0 ll\nexit",
    code: "PROGRAM_MAP_VALUE",
    at: 0,
    what: /map table \(hash, 1 entries\)/,
  },
  {
    rule: "only an array of one entry has such an address",
    good: "r1 = map_val(map_by_idx(0)) + 0 ll\nexit",
    bad: "r1 = map_val(map_by_idx(2)) + 0 ll\nexit",
    code: "PROGRAM_MAP_VALUE",
    at: 0,
    what: /map many \(array, 2 entries\)/,
  },
  {
    rule: "a helper is allowed to the program's type",
    good: "call 5\nexit",
    bad: "call 44\nexit",
    code: "PROGRAM_HELPER_NOT_ALLOWED",
    at: 0,
    what: /bpf_xdp_adjust_head \(helper 44\), which programs of type xdp may not call/,
  },
  {
    rule: "a helper exists",
    good: "call 1\nexit",
    bad: "call 9999\nexit",
    code: "PROGRAM_HELPER_UNKNOWN",
    at: 0,
    what: /helper 9999, and Linux has no helper of that number/,
  },
  {
    rule: "a helper is one that user space can have",
    good: "call 1\nexit",
    bad: "call 124\nexit",
    code: "PROGRAM_HELPER_UNAVAILABLE",
    at: 0,
    what: /bpf_sk_assign \(helper 124\), which needs a kernel socket: it is not available/,
  },
  {
    rule: "there are no kernel functions",
    good: "call 1\nexit",
    bad: "call btf_id(7)\nexit",
    code: "PROGRAM_KERNEL_FUNCTION",
    at: 0,
    what: /kfunc/,
  },
  {
    rule: "there are no kernel variables",
    good: "r1 = 0 ll\nexit",
    bad: "r1 = var_addr(7) ll\nexit",
    code: "PROGRAM_KERNEL_VARIABLE",
    at: 0,
    what: /kernel variable 7/,
  },
])
  test(`findStructureProblem holds that ${rule}`, () => {
    expect(check(good)).toBeUndefined();
    const refused = check(bad);
    expect(refused).toMatchObject({ code, slot: at });
    expect(refused!.what).toMatch(what);
  });

test("findStructureProblem allows a helper by register to raw programs alone", () => {
  expect(check("r1 = 5\ncallx r1\nexit", "raw")).toBeUndefined();
  expect(check("r1 = 5\ncallx r1\nexit", "xdp")).toMatchObject({ code: "PROGRAM_CALLX", slot: 1 });
  expect(check("r1 = 5\ncallx r1\nexit", "xdp")?.what).toMatch(/BPF has no indirect calls/);
});

test("findStructureProblem allows packet loads to socket and tc programs alone", () => {
  const text = "r6 = r1\nr0 = *(u8 *)skb[0]\nexit";
  for (const type of ["socket", "tc", "action"] as const) expect(check(text, type)).toBeUndefined();
  for (const type of ["xdp", "raw", "cgroup_skb"] as const)
    expect(check(text, type)).toMatchObject({ code: "PROGRAM_PACKET_LOAD" });
});

test("findStructureProblem takes a program of a million instructions", () => {
  const exit = { kind: "exit" } as const;
  const jump = { kind: "jump", offset: -2, long: false } as const;
  const program = {
    type: "xdp",
    instructions: [...Array.from({ length: 999_999 }, () => exit), jump],
    maps: [],
  } as const;
  expect(findStructureProblem(program, helpers)).toBeUndefined();
});
