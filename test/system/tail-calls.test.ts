import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { parseConfig } from "../../src/config/load-config.ts";
import { preparePlan } from "../../src/config/prepare-plan.ts";
import { cleanUp, onCleanUp, udpSocket, udpUpstream, until } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually, temporaryFolder, weir } from "../support/processes.ts";
import { allSeries, buildProgram, runWeir } from "./truth-rig.ts";

/** Tail calls of an object that clang built: offline, beside the kernel, and through a listener. */
const test = needing("clang");
afterAll(cleanUp);

const packet = new Uint8Array(64);
/** What a program returns; its runs in map `runs` under key 0 (`again`) or 1 (`holes`). */
const returned = [
  { program: "to_second", returns: 42 },
  { program: "to_empty", returns: 7 },
  { program: "to_beyond", returns: 7 },
  { program: "again", returns: 1034, runs: [0, 34] },
  { program: "holes", returns: 1034, runs: [1, 34] },
  { program: "from_function", returns: 142 },
  { program: "from_functions", returns: 10_330_005, runs: [0, 33] },
] as const;

for (const [i, { program, returns, ...counted }] of returned.entries())
  test(`prog run fills the object's prog_arrays: ${program} returns ${returns}`, async () => {
    const data = Buffer.from(packet).toString("hex");
    const engine = i % 2 === 0 ? "jit" : "interpreter";
    const object = buildProgram("tail-calls");
    const run = ["prog", "run", object, "--program", program, "--engine", engine, "--json"];
    const { stdout, stderr } = await weir([...run, "--data", data]);
    expect(stderr).toBe("");
    const [outcome, { maps }] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(outcome.ret).toBe(returns);
    if (!("runs" in counted)) return;
    const [key, runs] = counted.runs;
    expect(Buffer.from(maps.runs[key].value, "hex").readBigUInt64LE()).toBe(BigInt(runs));
  });

needing(
  "clang",
  "bpftool",
  "kernel bpf()",
)("the kernel returns the same, and counts the same runs", () => {
  const folder = temporaryFolder();
  execFileSync("mount", ["-t", "bpf", "none", folder.path]);
  try {
    const programs = join(folder.path, "programs");
    // Pinned maps too: a prog_array that user space has let go of is emptied.
    const maps = join(folder.path, "maps");
    const load = ["prog", "loadall", buildProgram("tail-calls"), programs, "pinmaps", maps];
    execFileSync("bpftool", load, { stdio: "pipe" });
    const input = temporaryFolder();
    onCleanUp(() => input.remove());
    const file = join(input.path, "packet");
    writeFileSync(file, packet);
    const runs = join(maps, "runs");
    for (const { program, returns, ...counted } of returned) {
      for (const key of [0, 1]) {
        const entry = ["key", `${key}`, "0", "0", "0", "value", ...Array(8).fill("0")];
        execFileSync("bpftool", ["map", "update", "pinned", runs, ...entry]);
      }
      const run = ["prog", "run", "pinned", join(programs, program), "data_in", file];
      const output = execFileSync("bpftool", [...run, "repeat", "1", "--json"], {
        encoding: "utf8",
      });
      expect([program, JSON.parse(output).retval]).toEqual([program, returns]);
      if (!("runs" in counted)) continue;
      const [key, times] = counted.runs;
      const look = ["map", "lookup", "pinned", runs, "key", `${key}`, "0", "0", "0", "--json"];
      const found = JSON.parse(execFileSync("bpftool", look, { encoding: "utf8" }));
      expect([program, found.formatted.value]).toEqual([program, times]);
    }
  } finally {
    execFileSync("umount", [folder.path]);
    folder.remove();
  }
});

test("prog run puts the program that --map names into a slot, and refuses what is none", async () => {
  const data = Buffer.alloc(64, "0").toString("hex");
  const run = (...map: string[]) =>
    weir([
      "prog",
      "run",
      buildProgram("tail-calls"),
      "--program",
      "dispatch",
      "--data",
      data,
      ...map,
    ]);
  expect((await run()).stdout.split("\n")[0]).toContain("pass (2)");
  for (const slot of ["chosen=00000000:send_back", "chosen=0:send_back"])
    expect((await run("--map", slot)).stdout.split("\n")[0]).toContain("tx (3)");
  for (const [text, code, message] of [
    ["chosen=00000000:send_bak", 1, 'map chosen[0]: no program "send_bak"'],
    ["chosen=04000000:send_back", 1, "map chosen[4]: the map has 4 entries"],
    ["chosen=00000000:of_a_socket", 1, "program of_a_socket is of type socket, and dispatch"],
    ["chosen=first:send_back", 2, 'key: "first" is no'],
    ["chosen=send_back", 2, "expected NAME=KEY:VALUE"],
  ] as const) {
    const refused = await run("--map", text);
    expect(refused.stderr).toContain(message);
    expect(refused.code).toBe(code);
  }
});

/** A config with one filter of the object. */
const config = (filter: string, upstream = 9): string => `version: 1
upstreams: { app: { addresses: ["127.0.0.1:${upstream}"] } }
filters:
  split: { object: ${buildProgram("tail-calls")}, ${filter} }
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [split] }
`;

test("a listener's packets go where the config's entries send them", async () => {
  const upstream = await udpUpstream();
  const entries = "[{ key: 1, value: drop_it }, { key: 2, value: send_back }]";
  const filter = `program: dispatch, maps: { chosen: { entries: ${entries} } }, metrics: { counters: [{ name: runs_total, help: Runs, map: runs, labels: [{ name: program, size: 4, decoders: [{ name: uint }] }] }] }`;
  const running = await runWeir(config(filter, upstream.address.port).replace("version: 1\n", ""));
  const client = await udpSocket();
  const address = { host: "127.0.0.1", port: running.port("dns") };
  for (const payload of ["0 passes", "1 is dropped", "2 comes back", "9 passes"])
    client.send(payload, address);
  await until(() => upstream.received === 2);
  const judged = (text: string) => allSeries(text, "weir_filter_verdicts_total");
  const text = await eventually(async () => {
    const scraped = await running.metrics();
    const runs = Object.values(judged(scraped)).reduce((sum, count) => sum + count, 0);
    return runs === 4 ? scraped : undefined;
  }, "four datagrams judged");
  expect(judged(text)).toMatchObject({ "split pass": 2, "split drop": 1, "split tx": 1 });
  expect(allSeries(text, "runs_total")).toMatchObject({ 2: 1, 3: 1 });
});

test("a plan carries each program that tail calls reach once, numbered over all filters", async () => {
  const text = config(
    "program: from_function, maps: { filled: { entries: [{ key: 3, value: dispatch }] } }",
  ).replace(
    "listeners:",
    `  other: { object: ${buildProgram("tail-calls")}, program: again }\nlisteners:`,
  );
  const parsed = parseConfig(text.replace("[split]", "[split, other]"), "config/t.yaml");
  if (!parsed.ok) throw new AggregateError(parsed.error);
  const prepared = await preparePlan(parsed.value);
  if (!prepared.ok) throw new AggregateError(prepared.error);
  const { plan, filters } = prepared.value;
  const names = plan.tailCalled!.map(({ name }) => name);
  // Reached: what the object puts into `filled`, with the config's choice in place of `second`.
  expect(names).toEqual([
    "split:again",
    "split:dispatch",
    "split:holes",
    "other:again",
    "other:second",
    "other:holes",
  ]);
  const [split, other] = filters.map(({ maps }) => {
    const { source } = maps.find(({ name }) => name === "filled")!;
    return [...source.entries()].map(
      ({ key, values }) => `${key[0]}: ${names[values[0]![0]! - 1]}`,
    );
  });
  expect(split).toEqual(["1: split:again", "3: split:dispatch", "4: split:holes"]);
  expect(other).toEqual(["1: other:again", "3: other:second", "4: other:holes"]);
  // One object, so that a worker makes it ready once.
  expect(plan.tailCalled![3]!.program).toBe(plan.filters[1]!.program);
});

test("entries that cannot be are told at their place", () => {
  const problems = (filter: string): string[] => {
    const parsed = parseConfig(config(filter), "t.yaml");
    return parsed.ok ? [] : parsed.error.map(({ message }) => message.replaceAll(/\/\S*\//g, ""));
  };
  const entry = (value: string) =>
    problems(`program: dispatch, maps: { chosen: { entries: [{ key: 0, value: ${value} }] } }`);
  expect(entry("send_back")).toEqual([]);
  expect(entry("send_bak")).toHaveLength(1);
  expect(entry("send_bak")[0]).toMatch(
    /^t\.yaml:4:\d+: .*no program "send_bak" in .*; did you mean send_back\?$/,
  );
  expect(entry("of_a_socket")[0]).toMatch(
    /^t\.yaml:4:\d+: filters\.split\.maps\.chosen\.entries\[0\]: \S+, map chosen\[0\]: program of_a_socket is of type socket, and dispatch/,
  );
});
