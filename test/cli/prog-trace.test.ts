import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { inProcess } from "./in-process.ts";

/** What a trace says of each instruction. */
const test = needing("clang");
const objectOf = (name: string): string =>
  build(fileURLToPath(new URL(`./${name}.c`, import.meta.url)));

async function traced(program: string, ...more: string[]): Promise<string> {
  const words = ["prog", "trace", objectOf("traced"), "--program", program];
  const data = more.includes("--data") ? [] : ["--data", "00".repeat(46)];
  const { code, stdout, stderr } = await inProcess([...words, ...data, ...more]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

// Addresses at which a packet, the context and the stack lie in traces.
for (const number of [0x10350, 0x10000, 0x20713, 0x207ff])
  test(`a counter of ${number} in a map is a number, and its address the map's value`, async () => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(number);
    const text = await traced("count", "--map", `counter=00000000:${bytes.toString("hex")}`);
    const hex = (value: number): string => `0x${value.toString(16)}`;
    expect(text).toMatch(
      new RegExp(` r\\d = \\*\\(u64 \\*\\)\\(r\\d \\+0\\) +r\\d ← ${hex(number)}\n`),
    );
    expect(text).toContain(` value of counter ← ${hex(number + 1)}\n`);
    expect(text).toContain(` total ← ${hex(number + 1)}\n`);
    expect(text).toContain(" value of counter += 3\n");
    expect(text).not.toMatch(/fp[+-]\d{3}/);
  });

for (const { program, type, shown } of [
  { program: "bounds", type: "xdp", shown: "packet+54 > packet end (46): goes to" },
  { program: "bounds_cgroup", type: "cgroup_skb", shown: "packet end (32) < packet+54: goes on" },
])
  test(`a packet that is too short for a program of type ${type} is told by its length`, async () => {
    const brief = await traced(program, "--brief");
    expect(brief).toContain(`: if (START(context) + 54 > END(context)) (${shown}`);
    const long = await traced(program, "--data", "00".repeat(80));
    expect(long).toMatch(/ packet\+54 <= packet end \(\d+\): | packet end \(\d+\) >= packet\+54: /);
  });

test("tail calls name the program that goes on, or say that there is none", async () => {
  const text = await traced("calls", "--map", "programs=00000000:bounds");
  expect(text).toContain(" bpf_tail_call(context, programs, 1): no program there\n");
  expect(text).toContain(" bpf_tail_call(context, programs, 0): goes on as program bounds\n");
  expect(text).toMatch(/decided at .* \(packet\+54 > packet end \(46\): goes to \d+\)\n/);
});

test("functions that helpers call are shown inside the call, with what they were given", async () => {
  const text = await traced("callbacks", "--map", "counter=00000000:0300000000000000");
  expect(text).toContain(" bpf_loop(4, function turn, fp-8, 0) = 2\n");
  expect(text).toContain(" bpf_for_each_map_elem(counter, function each, fp-8, 0) = 1\n");
  // The frame is the caller's.
  expect(text.match(/ fp\[0\]-8 ← \d+\n/g)).toEqual([
    " fp[0]-8 ← 0\n",
    " fp[0]-8 ← 1\n",
    " fp[0]-8 ← 4\n",
  ]);
  expect(text.match(/^ {5}\d\d: exit +returns \d$/gm)).toHaveLength(3);
  expect(text).toMatch(/^because at .*: return sum == 1 .* \(4 != 1: goes on\)$/m);
});

test("maps that maps hold, records, queues and errors have their names", async () => {
  const nested = await traced("nested", "--map", "own=00000000:4003010000000000");
  expect(nested).toContain(" bpf_map_lookup_elem(outer, key 0): found map own\n");
  expect(nested).toContain(" map own != 0: goes on\n");
  expect(nested).toContain(" value of own ← 0x10341\n");
  const records = await traced("records");
  expect(records).toContain(" bpf_map_push_elem(jobs, value 5, 0) = 0\n");
  expect(records).toContain(" bpf_map_push_elem(jobs, value 5, 0) = -7 (E2BIG)\n");
  expect(records).toMatch(/ bpf_map_pop_elem\(jobs, fp-4\): found 5\n/);
  expect(records).toContain(" bpf_ringbuf_reserve(events, 16, 0): reserved\n");
  expect(records).toContain(" record of events+8 ← 0x10340\n");
  expect(records).toContain(" bpf_ringbuf_submit(record of events, 0)\n");
});

test("a packet whose start has moved is counted from where it begins now", async () => {
  const text = await traced("moves");
  expect(text).toContain(" bpf_xdp_adjust_head(context, 4) = 0\n");
  expect(text).toContain(" packet+14 <= packet end (42): goes on\n");
  expect(text).toContain(" packet+1 ← 7\n");
});

test("where an object has no text of its lines the instruction stands for it", async () => {
  const object = objectOf("traced-without-text");
  const trace = async (...more: string[]): Promise<string> =>
    (await inProcess(["prog", "trace", object, "--data", "00".repeat(46), ...more])).stdout;
  expect(await trace("--brief")).toMatch(
    /^decided at \/elsewhere\/filter\.c:7\d, instruction \d: if .* \(1 == 1: goes to \d\)$/m,
  );
  expect(await trace()).toMatch(/^\n\/elsewhere\/filter\.c:71\n +\d: r/m);
  const { runs } = JSON.parse(await trace("--json", "--brief"));
  expect(runs[0].decided).toMatchObject({
    text: expect.stringMatching(/^if /),
    effect: expect.stringMatching(/^1 == 1: goes to/),
    file: "/elsewhere/filter.c",
    source: "",
  });
  const listed = await inProcess(["prog", "dump", "xlated", "--object", object, "linum"]);
  expect(listed.stdout).toMatch(/^; \[file:\/elsewhere\/filter\.c line_num:71 line_col:\d+\]$/m);
  const plain = await inProcess(["prog", "dump", "xlated", "--object", object]);
  expect(plain.stdout).toMatch(/^; \/elsewhere\/filter\.c:71$/m);
});
