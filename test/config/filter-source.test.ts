import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/load-config.ts";

/** A config with one filter, which begins at line 4, column 6. */
function withFilter(filter: string): ReturnType<typeof parseConfig> {
  return parseConfig(
    `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
filters:
  f: ${filter}
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app, ingress: [f] }
`,
    "weir.yaml",
  );
}

for (const { title, filter, program } of [
  {
    title: "an expression becomes a socket filter",
    filter: '{ expression: "udp port 53" }',
    program: { name: "expression", type: "socket" },
  },
  {
    title: "protochain, which loops in classic BPF, is unrolled",
    filter: '{ expression: "ip6 protochain 17" }',
    program: { name: "expression", type: "socket" },
  },
  {
    title: "the direction of a packet may be asked for, as in a live capture",
    filter: '{ expression: "inbound and udp" }',
    program: { name: "expression", type: "socket" },
  },
  {
    title: "tcpdump -ddd output is classic BPF",
    filter: '{ bytecode: "1\\n6 0 0 262144\\n" }',
    program: { name: "bytecode", type: "socket" },
  },
  {
    title: "any other bytecode is eBPF assembly, for XDP",
    filter: '{ bytecode: "r0 = 2\\nexit" }',
    program: { name: "bytecode", type: "xdp" },
  },
  {
    title: "section says of what type bytecode is",
    filter: '{ bytecode: "r0 = 2\\nexit", section: socket }',
    program: { name: "bytecode", type: "socket" },
  },
])
  test(`In a filter, ${title}`, () => {
    const config = withFilter(filter);
    if (!config.ok) throw new Error(config.error.map(String).join("\n"));
    expect(config.value.filters[0]?.programs[0]).toMatchObject(program);
  });

test("a match passes and a miss drops unless the config says otherwise", () => {
  const matchOf = (filter: string): unknown => {
    const config = withFilter(filter);
    return config.ok ? config.value.filters[0]?.match : config.error;
  };
  expect(matchOf('{ expression: "udp" }')).toEqual({ onMatch: "pass", onMiss: "drop" });
  expect(matchOf('{ expression: "udp", onMatch: drop, onMiss: pass }')).toEqual({
    onMatch: "drop",
    onMiss: "pass",
  });
  expect(matchOf('{ bytecode: "r0 = 2\\nexit" }')).toBeUndefined();
});

for (const { title, filter, problems } of [
  {
    title: "an expression with a name that is none, by its column",
    filter: '{ expression: "udp port foo" }',
    problems: [
      '4:20: filters.f.expression: expression, column 10: "foo" is no port known by name; write its number',
    ],
  },
  {
    title: "what matches is dropped, and the rest by default",
    filter: '{ expression: "udp", onMatch: drop }',
    problems: [
      "4:36: filters.f.onMatch: onMiss is drop as well, without being named, so that the expression decides nothing; add onMiss: pass, or change onMatch",
    ],
  },
  {
    title: "what does not match passes, and the rest by default",
    filter: '{ expression: "udp", onMiss: pass }',
    problems: [
      "4:35: filters.f.onMiss: onMatch is pass as well, without being named, so that the expression decides nothing; add onMatch: drop, or change onMiss",
    ],
  },
  {
    title: "one verdict for both",
    filter: '{ expression: "udp", onMatch: drop, onMiss: drop }',
    problems: [
      "4:50: filters.f.onMiss: onMatch is drop as well, so that the expression decides nothing; make it onMatch: pass, or change onMiss",
    ],
  },
  {
    title: "two programs in one filter",
    filter: '{ expression: "udp", object: x.o }',
    problems: [
      "4:8: filters.f.expression: a filter has one program, and this one has object as well; remove object or expression",
    ],
  },
  {
    title: "a filter without a program",
    filter: "{ engine: interpreter }",
    problems: [
      "4:6: filters.f: the filter has no program; add object: FILE, expression: TEXT or bytecode: TEXT",
    ],
  },
  {
    title: "assembly that does not assemble, and onMatch where nothing matches",
    filter: '{ bytecode: "r0 = r99", onMatch: drop }',
    problems: [
      "4:18: filters.f.bytecode: bytecode:1:6: no register `r99`; registers are r0 to r10",
    ],
  },
  {
    title: "onMiss beside assembly",
    filter: '{ bytecode: "r0 = 2\\nexit", onMiss: drop }',
    problems: ["4:34: filters.f.onMiss: onMiss is for filters with an expression; remove onMiss"],
  },
  {
    title: "a listing with an instruction of three numbers",
    filter: '{ bytecode: "1\\n6 0 0" }',
    problems: [
      '4:18: filters.f.bytecode: bytecode:2: "6 0 0" is no instruction; expected four numbers: code jt jf k',
    ],
  },
  {
    title: "a program that runs off its end",
    filter: '{ bytecode: "r0 = 2" }',
    problems: [
      "4:18: filters.f.bytecode: program bytecode, instruction 0 (r0 = 2): is the last instruction, and the program goes on behind it; end every function with exit or a jump",
    ],
  },
])
  test(`refused: ${title}`, () => {
    const config = withFilter(filter);
    expect(config.ok ? [] : config.error.map((problem) => problem.message)).toEqual(
      problems.map((problem) => `weir.yaml:${problem}`),
    );
  });
