import { expect, test } from "vitest";
import { maxConfigBytes, readYaml, type YamlSource } from "../../src/config/read-yaml.ts";

function read(text: string): YamlSource {
  const source = readYaml(text, "t.yaml");
  if (!source.ok) throw new Error(source.error.map((problem) => problem.message).join("\n"));
  return source.value;
}

function problems(text: string): string[] {
  const source = readYaml(text, "t.yaml");
  return source.ok ? [] : source.error.map((problem) => problem.message);
}

const text = `# comment
first: 1
list:
  - a
  - { inner: "x", 7: y }
"quoted key": |
  block
nothing:
`;

for (const { path, key, value } of [
  { path: [], key: [1, 1], value: [2, 1] },
  { path: ["first"], key: [2, 1], value: [2, 8] },
  { path: ["list"], key: [3, 1], value: [4, 3] },
  { path: ["list", 1], key: [5, 5], value: [5, 5] },
  { path: ["list", 1, "inner"], key: [5, 7], value: [5, 14] },
  { path: ["list", 1, "7"], key: [5, 19], value: [5, 22] },
  { path: ["quoted key"], key: [6, 1], value: [6, 15] },
  // What is absent is at the key of what lacks it.
  { path: ["list", 1, "absent", "deeper"], key: [5, 5], value: [5, 5] },
  { path: ["absent"], key: [1, 1], value: [1, 1] },
] as const)
  test(`the value at ${JSON.stringify(path)} is found in the text`, () => {
    const source = read(text);
    const at = ([line, column]: readonly [number, number]) => ({ line, column });
    expect(source.locateKey(path)).toEqual(at(key));
    expect(source.locate(path)).toEqual(at(value));
  });

test("scalars are read by YAML's core schema, and integers stay exact", () => {
  expect(
    read(`[1, 0x10, 0o17, 1.5, true, null, ~, "1", no, 9007199254740993, 12:30, 2001-01-01]`).value,
  ).toEqual([
    1,
    16,
    15,
    1.5,
    true,
    null,
    null,
    "1",
    "no",
    9007199254740993n,
    "12:30",
    "2001-01-01",
  ]);
});

test("anchors and aliases give the same values, each with the place of the anchor's", () => {
  const source = read("a: &x { b: [1, 2] }\nc: *x\n");
  expect(source.value).toEqual({ a: { b: [1, 2] }, c: { b: [1, 2] } });
  expect(source.locate(["c", "b", 1])).toEqual({ line: 1, column: 16 });
});

test("an alias stands for the last anchor of its name before it, not for one after it", () => {
  const text = "a: &x 1\nb: &y [*x]\nc: &x 2\nd: *x\ne: *y\n";
  expect(read(text).value).toEqual({ a: 1, b: [1], c: 2, d: 2, e: [1] });
  expect(problems("a: *x\nb: &x 1\n")).toEqual(["t.yaml:1:4: no anchor &x before this alias"]);
});

// Were the text gone through for each of 100,000 values, this took most of a minute.
test("many aliases in a long text are followed in no time", () => {
  const levels = Array.from({ length: 2_000 }, (_, i) =>
    i === 0 ? "- &a0 1" : `- &a${i} [*a${i - 1}, *a${i - 1}]`,
  );
  expect(problems(levels.join("\n"))).toEqual([
    expect.stringMatching(/more than 100000 values after aliases are followed; use fewer$/),
  ]);
});

test("keys that mean something to JavaScript stay plain keys", () => {
  const { value } = read("constructor: 1\ntoString: 2\nhasOwnProperty: 3\n");
  expect(value).toEqual({ constructor: 1, toString: 2, hasOwnProperty: 3 });
  expect(problems("__proto__: { polluted: true }")).toEqual(["t.yaml:1:1: the key __proto__"]);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

test("a byte order mark and CRLF line ends are read past", () => {
  const source = read("\uFEFFa: 1\r\nb: x\r\n");
  expect(source.value).toEqual({ a: 1, b: "x" });
  expect(source.locate(["b"])).toEqual({ line: 2, column: 4 });
});

test("an alias bomb is refused after a bounded number of values", () => {
  const levels = ["a: &l0 [x, x, x, x, x, x, x, x, x, x]"];
  for (let i = 1; i < 12; i++)
    levels.push(
      `b${i}: &l${i} [${Array(10)
        .fill(`*l${i - 1}`)
        .join(", ")}]`,
    );
  expect(problems(levels.join("\n"))).toEqual([
    expect.stringMatching(
      /^t\.yaml:\d+:\d+: more than 100000 values after aliases are followed; use fewer$/,
    ),
  ]);
});

for (const { name, text: deep } of [
  { name: "brackets", text: "[\n".repeat(10_000) },
  { name: "braces", text: "{ a:\n".repeat(10_000) },
  { name: "hyphens of one line", text: `${"- ".repeat(2_000)}a\nb: c` },
  { name: "question marks of one line", text: `${"? ".repeat(2_000)}a\nb: c` },
  { name: "as many question marks as a line may begin with", text: `${"? ".repeat(128)}a\nb: c` },
  { name: "colons of one line", text: `${": ".repeat(2_000)}a\nb: c` },
  {
    name: "indented blocks",
    text: Array.from({ length: 1_000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"),
  },
])
  test(`nesting by ${name} ends in problems, not in a stack overflow`, () => {
    expect(problems(deep).length).toBeGreaterThan(0);
    expect(problems(deep).join("\n")).not.toContain("call stack");
  });

for (const { name, text: deep, at } of [
  { name: "open brackets", text: `a: 1\nb: [[\n ${"[".repeat(4_000)}`, at: "3:33" },
  { name: "open braces", text: "{a: ".repeat(900), at: "1:133" },
  { name: "closed brackets", text: `${"[".repeat(34)}${"]".repeat(34)}`, at: "1:34" },
  { name: "closed ones and stray ends", text: `${"]".repeat(99)}\n${"[".repeat(99)}`, at: "2:34" },
])
  test(`more ${name} than a config has levels are one problem, at the first that is too many`, () => {
    expect(problems(deep)).toEqual([`t.yaml:${at}: nested deeper than 32 levels`]);
  });

test("brackets that are text, in comments or after one another are no nesting", () => {
  const many = "[".repeat(99);
  const text = `a: "${many}"\nb: |\n  ${many}\n# ${many}\nc: [${"[], {}, ".repeat(99)}]\n`;
  expect(Object.keys(read(text).value as object)).toEqual(["a", "b", "c"]);
  // As a block's only line at the margin a bracket is a token like another.
  expect(read(`--- |\n${"[\n".repeat(99)}`).value).toBe("[\n".repeat(99));
  expect(read(`${"[".repeat(33)}${"]".repeat(33)}`).value).toBeInstanceOf(Array);
});

test("a line that no person writes is refused", () => {
  expect(problems(`a: 1\nb: ${"x".repeat(4_096)}`)).toEqual([
    "t.yaml:2:4097: the line is longer than 4096 characters; break it into several",
  ]);
});

test("a text larger than a config can be is refused", () => {
  expect(problems("#\n".repeat(maxConfigBytes / 2 + 1))).toEqual([
    "t.yaml:1:1: larger than 1048576 bytes; put map entries into files",
  ]);
});

test("as many keys as a config has bytes for take linear time", () => {
  const keys = Array.from({ length: 90_000 }, (_, i) => `k${i}: 1`).join("\n");
  expect(Object.keys(read(keys).value as object)).toHaveLength(90_000);
});

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: it is what configs say
for (const { text, hint } of [
  { text: "a: { b: [${APP}:53] }\n", hint: "as on line 1" },
  { text: "a: 1\nb: { c: ${X} }\n", hint: "as on line 2" },
  { text: 'a: { b: "${X}", c: [x, ${Y:-1}] }\n', hint: "as on line 1" },
  { text: 'a: "${X}"\nb: [1\n', hint: undefined },
  { text: "a: ${X} # [${Y}]\nb: [1\n", hint: undefined },
])
  test(`a bare substitution between brackets is ${hint ? "told once" : "not suspected"}: ${JSON.stringify(text)}`, () => {
    const hinted = problems(text).filter((problem) => problem.includes("with quotes"));
    expect(problems(text).length).toBeGreaterThan(0);
    if (hint === undefined) expect(hinted).toEqual([]);
    else
      expect(hinted).toEqual([expect.stringMatching(new RegExp(`write "\\$\\{…\\}" .*${hint}$`))]);
  });
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: it is what configs say
