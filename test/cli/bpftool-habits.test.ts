import { fileURLToPath } from "node:url";
import { afterAll, describe, expect } from "vitest";
import { type AdminRig, startAdminRig } from "../admin/rig.ts";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { inProcess } from "./in-process.ts";

/** What people type who know bpftool, against a proxy in this process. */
const test = needing("clang");
let rig: Promise<AdminRig> | undefined;
afterAll(async () => (await rig)?.stop());

function up(): Promise<AdminRig> {
  const object = build(fileURLToPath(new URL("../admin/containers.c", import.meta.url)));
  rig ??= startAdminRig({
    config: `version: 1
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
  one: { object: ${object} }
  two: { object: ${object} }
  match: { expression: "udp port 53" }
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [one, two, match] }
`,
  });
  return rig;
}

async function weir(words: string | readonly string[]) {
  const { socket } = await up();
  const args = typeof words === "string" ? words.split(" ") : words;
  return inProcess([...args, "--admin", `unix:${socket}`]);
}

/** What it prints as it succeeds. */
async function printed(words: string | readonly string[]): Promise<string> {
  const { stdout, ...others } = await weir(words);
  expect(others).toEqual({ code: 0, stderr: "" });
  return stdout;
}

test("show without a name lists all, as list does", async () => {
  for (const kind of ["prog", "map"]) {
    const listed = await printed(`${kind} list`);
    expect(listed.split("\n").length).toBeGreaterThan(4);
    expect(await printed(`${kind} show`)).toBe(listed);
  }
});

test("show lists all that have a name or a tag; in JSON one is an object, several a list", async () => {
  const programs = JSON.parse(await printed("prog show name xdp_limit --json"));
  expect(programs.map(({ filter }: { filter: string }) => filter)).toEqual(["one", "two"]);
  const [{ tag }] = programs;
  expect(JSON.parse(await printed(`prog show tag ${tag} --json`))).toEqual(programs);
  expect(JSON.parse(await printed("prog show id 2 --json"))).toEqual(programs[1]);
  const maps = JSON.parse(await printed("map show name jobs --json"));
  expect(maps.map(({ filter }: { filter: string }) => filter)).toEqual(["one", "two"]);
  expect(await weir("map show jobs")).toMatchObject({
    code: 1,
    stderr: "weir map show: map jobs: 2 have this name; name one: one/jobs, two/jobs\n",
  });
});

describe("-j and -p", () => {
  for (const [before, after] of [
    ["-j map show id 3", "map show id 3 -j"],
    ["-j prog list", "prog list --json"],
    ["-p map list", "map list --pretty"],
    ["-j -p map dump one/.data", "map dump one/.data -p"],
  ] as const)
    test(`stand before the command as after it: ${before}`, async () => {
      const printedBefore = await printed(before);
      expect(JSON.parse(printedBefore)).toBeTypeOf("object");
      expect(await printed(after)).toBe(printedBefore);
      expect(printedBefore.includes("\n\t")).toBe(before.includes("-p"));
    });

  test("are refused before a command that does not know them", async () => {
    expect(await weir("-p prog dump wasm id 1")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("error: unknown option '-p, --pretty' of wasm"),
    });
  });
});

for (const { words, command } of [
  { words: "map list q", command: "map list" },
  { words: "map show q", command: "map show" },
  { words: "prog list q", command: "prog list" },
])
  test(`${words} reports what is wrong as ${command}`, async () => {
    const { code, stderr } = await weir(words);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`^weir ${command}: .* q: there is no such`)),
    });
  });

test("a queue and a stack are written to, looked at and emptied, in their order", async () => {
  for (const value of ["7", "8"]) {
    expect(await printed(`map enqueue one/jobs value ${value}`)).toBe("");
    expect(await printed(`map push one/undo value ${value}`)).toBe("");
  }
  expect(await printed("map update one/jobs value hex 09 00 00 00")).toBe("");
  expect(await printed("map dump one/jobs")).toBe(
    "value: 7\nvalue: 8\nvalue: 9\nFound 3 elements\n",
  );
  expect(await printed("map dump one/undo --json")).toBe('[{"value":8},{"value":7}]\n');
  expect(await printed("map peek one/undo")).toBe("value: 8\n");
  expect(await printed("map lookup one/undo")).toBe("value: 8\n");
  expect(await printed("map dequeue one/jobs -j")).toBe('{"value":7}\n');
  expect(await printed("map pop one/undo")).toBe("value: 8\n");
  await printed("map pop one/undo");
  expect(await weir("map pop one/undo")).toMatchObject({
    code: 1,
    stderr: "weir map pop: map undo: it is empty\n",
  });
});

for (const { words, code, stderr } of [
  {
    words: "map update one/jobs key 1 value 2",
    code: 1,
    stderr: "weir map update: map jobs, key: a map of type queue has no keys; leave it out\n",
  },
  {
    words: "map pop one/.data",
    code: 1,
    stderr:
      "weir map pop: map .data: nothing is popped from a map of type array; name a queue or a stack\n",
  },
  {
    words: "map push one/undo key 1 value 2",
    code: 2,
    stderr: "weir map push: key 1 value 2: expected value DATA\n",
  },
  {
    words: "map update one/.data value 1",
    code: 1,
    stderr:
      'weir map update: map .data, value: "1" is no value of its variables; write {"limit": …}, or hex: and 32 hex digits\n',
  },
  {
    words: "map update one/.data limits 1",
    code: 1,
    stderr:
      'weir map update: map .data, value: there is no variable "limits"; it has limit, mark\n',
  },
  {
    words: "map update one/.data limit -1",
    code: 1,
    stderr: /^weir map update: map \.data, value\.limit: -1 does not fit __u32/,
  },
  {
    words: "map update one/.rodata fixed 1",
    code: 1,
    stderr: "weir map update: map .rodata: the map is read-only\n",
  },
])
  test(`${words} is refused`, async () => {
    expect(await weir(words)).toEqual({
      code,
      stdout: "",
      stderr: typeof stderr === "string" ? stderr : expect.stringMatching(stderr),
    });
  });

test("a data section is shown and changed by its variables, one beside the others", async () => {
  expect(await printed("map dump one/.data")).toBe(
    'key: 0  value: {"limit":4,"mark":1}\nFound 1 element\n',
  );
  await printed("map update one/.data limit 60");
  await printed(["map", "update", "one/.data", "value", '{"mark": 18446744073709551615}']);
  expect(await printed("map lookup one/.data")).toBe(
    'key: 0  value: {"limit":60,"mark":"18446744073709551615"}\n',
  );
  await printed(["map", "update", "one/.data", "value", "{limit: 61}"]);
  expect(await printed("map lookup one/.data")).toBe(
    'key: 0  value: {"limit":61,"mark":"18446744073709551615"}\n',
  );
  expect((await weir(["map", "update", "one/.data", "value", "{limit: 61"])).stderr).toMatch(
    /^weir map update: map \.data, value: "\{limit: 61" is not valid YAML: .*; write its variables/,
  );
  expect(await printed("map lookup two/.data key 0 -j")).toBe(
    '{"key":0,"value":{"limit":4,"mark":1}}\n',
  );
  expect(await printed("map dump one/.rodata -j")).toBe('[{"key":0,"value":{"fixed":9}}]\n');
  // All bytes at once, as a dump with --raw gives them.
  const [{ value }] = JSON.parse(await printed("map dump two/.data --raw -j"));
  await printed(["map", "update", "one/.data", "key", "0", "value", value]);
  expect(JSON.parse(await printed("map lookup one/.data -j")).value).toEqual({ limit: 4, mark: 1 });
});

const long = "00".repeat(200);

test("a program of a running proxy is traced on a copy of its maps, by what they hold now", async () => {
  const trace = (words: string) => printed(`prog trace ${words} --data ${"00".repeat(60)} --brief`);
  expect(await trace("id 1")).toMatch(/verdict: drop/);
  await printed("map update one/.data limit 100");
  expect(await trace("one")).toMatch(/verdict: pass/);
  expect(await trace("name two")).toMatch(/verdict: drop/);
  await printed("map update one/.data limit 4");
  expect(JSON.parse(await printed(`prog trace id 1 --data ${long} -j`))).toMatchObject({
    packet: 0,
    verdict: { kind: "drop" },
  });
  // What it ran on is its own.
  expect(JSON.parse(await printed("map lookup one/.bss -j")).value).toEqual({ seen: 0 });
});

for (const { words, stderr } of [
  {
    words: `prog trace name xdp_limit --data ${long}`,
    stderr: /2 programs are meant; name one by its number: 1, 2/,
  },
  { words: `prog trace id 1 --data ${long} --map jobs=:01`, stderr: /are for object files/ },
  { words: "prog dump wasm id 1 --program x", stderr: /is for object files/ },
])
  test(`${words.slice(0, 40)}… is wrong usage`, async () => {
    const { code, stderr: told } = await weir(words);
    expect(code).toBe(2);
    expect(told).toMatch(stderr);
  });

test("the WebAssembly of a running proxy's program is shown, with the constants that it runs with", async () => {
  for (const words of ["id 1", "one", "name match"])
    expect(await printed(`prog dump wasm ${words}`)).toMatch(/^\(module/);
  expect(await weir("prog dump wasm none")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^weir prog dump wasm: program none: there is no such program/),
  });
});
