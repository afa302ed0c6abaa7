import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder, weir } from "../support/processes.ts";

const blocklist = fileURLToPath(new URL("../../filters/blocklist.o", import.meta.url));
const firewall = fileURLToPath(new URL("../../filters/port-firewall.o", import.meta.url));
const sizes = fileURLToPath(new URL("../../filters/size-limit.o", import.meta.url));
const count = fileURLToPath(new URL("../../filters/count-by-protocol.o", import.meta.url));

/** An ELF header of an x86-64 executable: 64 bytes. */
const elfHeader = Buffer.alloc(64);
Buffer.from("7f454c46020101", "hex").copy(elfHeader);
elfHeader.writeUInt16LE(2, 16);
elfHeader.writeUInt16LE(62, 18);
elfHeader.writeUInt32LE(1, 20);
elfHeader.writeUInt16LE(64, 52);
const machines = temporaryFolder();
const otherMachine = `${machines.path}/x86-64.o`;
writeFileSync(otherMachine, elfHeader);
afterAll(() => machines.remove());

const ethernet = "02005e00000102005e0000020800";
/** UDP from 203.0.113.7:4660 to 127.0.0.1:53 with one byte of payload. */
const datagram = `${ethernet}4500001d0000000040110000cb0071077f000001123400350009000078`;
const listed = "blocked=18000000cb007100:07000000";

test("prog run says verdict, lengths and whether the packet changed", async () => {
  const { code, stdout } = await weir(["prog", "run", blocklist, "--data", datagram]);
  expect(code).toBe(0);
  expect(stdout.split("\n")[0]).toBe("packet 0: pass (2), 43 bytes, unchanged");
});

const firstLine = async (...args: string[]): Promise<string | undefined> => {
  const { code, stdout, stderr } = await weir(["prog", "run", ...args, "--data", datagram]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.split("\n")[0];
};

for (const [object, map, verdict] of [
  [blocklist, "blocked=203.0.113.0/24:7", "drop"],
  [blocklist, "blocked=203.0.113.0/24=0x7", "drop"],
  [blocklist, "blocked=hex:18000000cb007100:hex:07000000", "drop"],
  [blocklist, "blocked=18000000cb007100:07000000", "drop"],
  [blocklist, "blocked={prefixlen: 24, address: 203.0.113.0}:7", "drop"],
  [blocklist, "blocked6=2001:db8::/32:7", "pass"],
  [sizes, "limits=udp:{min: 12, max: 512}", "drop"],
  [sizes, 'limits=17={"min": 1}', "pass"],
] as const)
  test(`prog run --map takes an entry by its types, or as bytes: ${map}`, async () => {
    expect(await firstLine(object, "--map", map)).toMatch(`packet 0: ${verdict} `);
  });

test("prog run --global takes structs as YAML or JSON has them", async () => {
  for (const rules of [
    "[{action: drop, protocol: udp, source: 203.0.113.0/24}]",
    '[{"action": "drop", "protocol": 17}]',
  ])
    expect(await firstLine(firewall, "--global", `rules=${rules}`)).toMatch("packet 0: drop ");
});

test("prog run --json gives a line a packet, then the maps, with entries set before", async () => {
  const run = ["prog", "run", blocklist, "--json", "--data", datagram, "--data", ethernet];
  const { code, stdout, stderr } = await weir([...run, "--map", listed, "--repeat", "3"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [first, second, last, ...rest] = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(first).toEqual({ i: 0, ret: 1, verdict: "drop", in_len: 43, out_len: 43, data: datagram });
  expect(second).toEqual({
    i: 1,
    ret: 2,
    verdict: "pass",
    in_len: 14,
    out_len: 14,
    data: ethernet,
  });
  expect(rest).toEqual([]);
  expect(last).toMatchObject({
    run_cnt: 6,
    maps: {
      blocked: [{ key: "18000000cb007100", value: "07000000" }],
      blocked6: [],
      blocked_packets_total: [{ key: "07000000", values: ["0300000000000000"] }],
    },
  });
  expect(last.run_time_ns).toBeGreaterThan(0);
});

test("prog run --global sets a variable before the program is loaded", async () => {
  const run = ["prog", "run", blocklist, "--json", "--data", datagram, "--map", listed];
  const { stdout } = await weir([...run, "--global", "default_action=2"]);
  expect(JSON.parse(stdout.split("\n")[0]!)).toMatchObject({ ret: 2, verdict: "pass" });
});

test("prog dump wasm prints what a program is compiled to, and refuses as prog run does", async () => {
  const { stdout, stderr, code } = await weir(["prog", "dump", "wasm", "filters/size-limit.o"]);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  expect(stdout).toMatch(/^\(module \$xdp_size_limit\.\d+\n/);
  expect(stdout).toContain('(export "run")');
  const wrong = await weir(["prog", "dump", "wasm", "filters/size-limit.o", "--program", "nine"]);
  expect(wrong).toMatchObject({ stdout: "", code: 1 });
  expect(wrong.stderr).toContain('has no program "nine"');
});

needing("clang")(
  "prog dump wasm knows what an object's constants hold, as prog run does",
  async () => {
    const source = fileURLToPath(new URL("../system/programs/skb-helpers.c", import.meta.url));
    const dumped = await weir(["prog", "dump", "wasm", build(source), "--program", "tc_strncmp"]);
    expect(dumped).toMatchObject({ stderr: "", code: 0 });
    expect(dumped.stdout).toMatch(/^\(module \$tc_strncmp\.\d+\n/);
  },
);

test("prog run gives with the JIT, the default, what the interpreter gives", async () => {
  const run = ["prog", "run", blocklist, "--json", "--data", datagram, "--map", listed];
  const [interpreted, compiled] = await Promise.all([
    weir([...run, "--engine", "interpreter"]),
    weir(run),
  ]);
  const timeless = (text: string): string => text.replace(/"run_time_ns":\d+/, "");
  expect(compiled.code).toBe(0);
  expect(timeless(compiled.stdout)).toBe(timeless(interpreted.stdout));
});

test("prog run --insns runs raw instructions on memory and prints all 64 bits of r0", async () => {
  // r0 = *(u64 *)(r1 + 0); exit
  const insns = "79100000000000009500000000000000";
  const run = ["prog", "run", "--insns", insns, "--type", "raw", "--data", "88776655443322f1"];
  expect((await weir(run)).stdout).toBe("r0 = 0xf122334455667788 (17375506680932366216)\n");
  expect(JSON.parse((await weir([...run, "--json"])).stdout.split("\n")[0]!)).toMatchObject({
    ret: "f122334455667788",
  });
});

test("prog run --asm reads assembly text from a file and from standard input", async () => {
  const folder = temporaryFolder();
  const text = "r0 = r2\nr0 *= 21\nexit\n";
  const file = folder.write("times.s", text);
  const run = ["--type", "raw", "--data", "0000"];
  const expected = { code: 0, stdout: "r0 = 0x2a (42)\n" };
  expect(await weir(["prog", "run", "--asm", file, ...run])).toMatchObject(expected);
  expect(await weir(["prog", "run", "--asm", "-", ...run], text)).toMatchObject(expected);
  folder.remove();
});

needing("clang")(
  "prog run names the instruction and the cause of a run that ended as ABORTED",
  async () => {
    const object = build(fileURLToPath(new URL("../system/programs/long-run.c", import.meta.url)));
    const run = ["prog", "run", object, "--data", `${ethernet}${"00".repeat(28)}73`, "--json"];
    const line = JSON.parse((await weir(run)).stdout.split("\n")[0]!);
    expect(line).toMatchObject({ ret: 0, verdict: "aborted", fault: { code: "BUDGET_EXCEEDED" } });
    expect(line.fault.message).toMatch(/^instruction \d+: .*67108864/);
    const { stdout } = await weir(run.slice(0, -1));
    expect(stdout).toMatch(
      /^packet 0: aborted: BUDGET_EXCEEDED, 43 bytes, unchanged\n {2}instruction \d+: .*67108864/,
    );
  },
);

test("prog run shows the value of a run that is ABORTED for what it returned", async () => {
  const run = ["prog", "run", "--asm", "-", "--type", "xdp", "--data", ethernet];
  const { stdout } = await weir(run, "r0 = 7\nexit\n");
  expect(stdout).toBe("packet 0: aborted (7), 14 bytes, unchanged\n");
});

test("prog run refuses a program that cannot be proven safe, with all that mends it", async () => {
  // r0 = *(u32 *)(r1 + 0); r0 = *(u8 *)(r0 + 14); exit: one byte beyond the frame.
  const insns = "611000000000000071000e00000000009500000000000000";
  const run = ["prog", "run", "--insns", insns, "--type", "xdp", "--data", ethernet];
  const where = "program insns, instruction 1 (r0 = *(u8 *)(r0 + 14))";
  const what = "packet byte 14 is accessed, and none is known to be there";
  const fix = "compare r0 + 15 with data_end before this, and leave where it is greater";
  const register = "r0: packet data, not compared with data_end yet";
  const stderr = `weir prog run: ${where}: ${what}; ${fix}\n    ${register}\n`;
  expect(await weir(run)).toMatchObject({ code: 1, stdout: "", stderr });
  const asJson = await weir([...run, "--json"]);
  expect(asJson).toMatchObject({ code: 1, stderr });
  expect(JSON.parse(asJson.stdout)).toEqual({
    error: { code: "PACKET_BOUNDS", where, what, fix, detail: [register] },
  });
});

test("prog run proves a raw program for the length of each packet", async () => {
  // r0 = *(u8 *)(r1 + 1); exit
  const insns = "71100100000000009500000000000000";
  const run = ["prog", "run", "--insns", insns, "--type", "raw", "--json"];
  const data = ["--data", "0a0b", "--data", "0c0d0e", "--data", "0f10"];
  const { code, stdout } = await weir([...run, ...data]);
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.slice(0, 3).map((line) => JSON.parse(line).ret)).toEqual(["b", "d", "10"]);
  const short = await weir([...run, ...data, "--data", "ff"]);
  expect(short.code).toBe(1);
  // Nothing ran: what is refused is refused before the first packet.
  expect(JSON.parse(short.stdout)).toMatchObject({ error: { code: "MEMORY_BOUNDS" } });
});

test("prog run --batch answers each line in order, the refused ones with a named error", async () => {
  const lines = [
    { id: 1, insns: "b7000000ffffffff9500000000000000", type: "raw" },
    { id: "two", insns: "b7000000ffffffff", type: "raw" },
    { id: 3, insns: "b7000000020000009500000000000000", type: "xdp", data: ethernet },
    { id: 4, insns: "b70000000200000095", type: "raw" },
    { id: 5, insns: "00", type: "tracepoint" },
    {
      id: 6,
      // r1 = map 0 value + 0; *(u32 *)(r1 + 0) += 5; r0 = *(u32 *)(r1 + 0); exit
      insns:
        "1821000000000000000000000000000062010000050000006110000000000000" + "9500000000000000",
      type: "raw",
      maps: [{ type: "array", key_size: 4, value_size: 4, max_entries: 1 }],
    },
  ];
  const input = `${lines.map((line) => JSON.stringify(line)).join("\n")}\nnot json\n`;
  const { code, stdout } = await weir(["prog", "run", "--batch", "-"], input);
  expect(code).toBe(0);
  const results = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(results).toEqual([
    { id: 1, ret: "ffffffffffffffff" },
    { id: "two", error: { code: expect.any(String), message: expect.stringContaining("exit") } },
    { id: 3, ret: 2 },
    { id: 4, error: { code: "PROGRAM_LENGTH", message: expect.any(String) } },
    {
      id: 5,
      error: {
        code: "BATCH_ITEM",
        message: expect.stringContaining("xdp, tc, tcx, action, socket, cgroup_skb, raw"),
      },
    },
    { id: 6, ret: "5" },
    { id: null, error: { code: "BATCH_LINE", message: expect.any(String) } },
  ]);
});

test("prog run --batch starts every line with fresh maps and gives their memory back", async () => {
  const line = JSON.stringify({
    // Value 0 of map 0: r0 = its first byte, which then becomes 9.
    insns: "182100000000000000000000000000007110000000000000" + "72010000090000009500000000000000",
    type: "raw",
    maps: [{ type: "array", key_size: 4, value_size: 800_000, max_entries: 1 }],
  });
  // 2,000 × 0.8 MB is three times what the arena may hold.
  const { stdout } = await weir(["prog", "run", "--batch", "-"], `${line}\n`.repeat(2_000));
  const results = stdout.trimEnd().split("\n");
  expect(results).toHaveLength(2_000);
  expect(new Set(results)).toEqual(new Set(['{"ret":"0"}']));
});

for (const { title, args, code, error } of [
  {
    title: "no program at all",
    args: [],
    code: 2,
    error: /give one of: an object, --insns HEX/,
  },
  {
    title: "an object and --insns at once",
    args: [count, "--insns", "95", "--data", ethernet],
    code: 2,
    error: /give one of/,
  },
  {
    title: "no packet",
    args: [count],
    code: 2,
    error: /needs a packet: --data HEX .* or --pcap FILE/,
  },
  { title: "--insns without a type", args: ["--insns", "95"], code: 2, error: /need --type/ },
  {
    title: "an unknown type",
    args: ["--insns", "95", "--type", "tp"],
    code: 2,
    error: /xdp, tc, tcx, action, socket, cgroup_skb, raw/,
  },
  {
    title: "an unknown option",
    args: [count, "--dat", "00"],
    code: 2,
    error: /Did you mean --data/,
  },
  { title: "data that is not hex", args: [count, "--data", "0x0g"], code: 2, error: /is not hex/ },
  {
    title: "a repeat of 0",
    args: [count, "--data", ethernet, "--repeat", "0"],
    code: 2,
    error: /whole number from 1/,
  },
  {
    title: "a frame without an Ethernet header",
    args: [count, "--data", "00"],
    code: 1,
    error: /at least its Ethernet header of 14 bytes/,
  },
  {
    title: "a map that is not there",
    args: [blocklist, "--data", ethernet, "--map", "x=00:00"],
    code: 1,
    error: /no map "x"; the object has blocked, blocked6/,
  },
  {
    title: "a key that is none, typed or in hex",
    args: [blocklist, "--data", ethernet, "--map", "blocked=00:00"],
    code: 2,
    error:
      /key: "00" is no address prefix; .*; or both in hex, a key of 16 digits and a value of 8$/m,
  },
  {
    title: "a key in hex with a value that is not",
    args: [blocklist, "--data", ethernet, "--map", "blocked=18000000cb007100:7"],
    code: 2,
    error: /"18000000cb007100" could be hex, .*; write hex:18000000cb007100 for bytes, or 0x and/,
  },
  {
    title: "an entry without a value",
    args: [blocklist, "--data", ethernet, "--map", "blocked=hex:18000000cb007100"],
    code: 2,
    error: /expected NAME=KEY:VALUE/,
  },
  {
    title: "a global whose members do not end",
    args: [firewall, "--data", ethernet, "--global", "rules=[{action: drop]"],
    code: 1,
    error: /"rules": "\[\{action: drop\]" is not valid YAML: /,
  },
  {
    title: "a global that is not there",
    args: [blocklist, "--data", ethernet, "--global", "x=1"],
    code: 1,
    error: /no global variable "x"; it has default_action/,
  },
  {
    title: "a program that is not there",
    args: [blocklist, "--data", ethernet, "--program", "x"],
    code: 1,
    error: /has no program "x"; it has xdp_blocklist/,
  },
  {
    title: "a file that is not there",
    args: ["no.o", "--data", ethernet],
    code: 1,
    error: /^weir prog run: no\.o: there is no such file; check the path$/m,
  },
  {
    title: "a program for another machine",
    args: [otherMachine, "--data", ethernet],
    code: 1,
    error: /x86-64 object, not eBPF; build it with clang -target bpf/,
  },
  {
    title: "a file that is no object",
    args: [fileURLToPath(import.meta.url), "--data", ethernet],
    code: 1,
    error: /not an ELF object/,
  },
  {
    title: "a helper that does not exist",
    args: ["--insns", "850000000f2700009500000000000000", "--type", "xdp", "--data", ethernet],
    code: 1,
    error: /9999/,
  },
])
  test(`prog run refuses ${title} in one line, exit ${code}`, async () => {
    const result = await weir(["prog", "run", ...args]);
    expect(result).toMatchObject({ code, stdout: "" });
    expect(result.stderr).toMatch(error);
    expect(result.stderr).not.toMatch(/\n\s+at /);
  });

needing("clang")(
  "prog run runs a program beside others that need the kernel, which it refuses by name",
  async () => {
    const object = build("parted.c");
    const run = (...args: string[]) =>
      weir(["prog", "run", object, "--data", "00".repeat(60), ...args]);
    const plain = await run("--program", "plain");
    expect(plain).toMatchObject({ code: 0, stderr: "" });
    expect(plain.stdout).toMatch(/pass/);
    const refused = await run("--program", "in_sockmap");
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    const cause =
      "its type, sockmap, holds sockets of the kernel: not available in user space; use";
    expect(refused.stderr).toContain(
      `weir prog run: ${object}, program in_sockmap, section "xdp", instruction `,
    );
    expect(refused.stderr).toContain(`: uses map "peers", which cannot be: ${cause}`);
    const filled = await run("--program", "plain", "--map", "peers=00000000:00000000");
    expect(filled).toMatchObject({ code: 1, stdout: "" });
    expect(filled.stderr).toContain(`: map "peers" cannot be: ${cause}`);
  },
);

test("prog run refuses a truncated object at whatever byte it ends, without a stack trace", async () => {
  const whole = readFileSync(blocklist);
  const folder = temporaryFolder();
  for (const length of [0, 3, 16, 63, 64, 200, Math.floor(whole.length / 2), whole.length - 1]) {
    const file = `${folder.path}/cut-${length}.o`;
    writeFileSync(file, whole.subarray(0, length));
    const { code, stderr } = await weir(["prog", "run", file, "--data", ethernet]);
    expect({ length, code, stack: /\n\s+at |internal error/.test(stderr) }).toEqual({
      length,
      code: 1,
      stack: false,
    });
    expect(stderr).toContain(`cut-${length}.o`);
  }
  folder.remove();
});

test("prog run --batch says which file it could not read", async () => {
  for (const { file, reason } of [
    { file: "/nonexistent.jsonl", reason: "no such file" },
    { file: "/", reason: "is a folder" },
  ])
    expect(await weir(["prog", "run", "--batch", file])).toEqual({
      code: 1,
      signal: null,
      stdout: "",
      stderr: `weir prog run: ${file}: ${reason}\n`,
    });
});

test("prog run --pcap runs the packets of captures, and names the byte where one is broken", async () => {
  const folder = temporaryFolder();
  const writer = new ClassicWriter(1);
  const records = [datagram, ethernet].map((hex) => {
    const data = Buffer.from(hex, "hex");
    return writer.record({ seconds: 1, nanoseconds: 0, originalLength: data.length, data });
  });
  const whole = Buffer.concat([writer.header, ...records]);
  const file = `${folder.path}/two.pcap`;
  writeFileSync(file, whole);
  const run = ["prog", "run", blocklist, "--json", "--map", listed, "--pcap"];
  const { stdout } = await weir([...run, file]);
  const verdicts = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).verdict);
  expect(verdicts).toEqual(["drop", "pass", undefined]);
  writeFileSync(file, whole.subarray(0, -1));
  const cut = await weir([...run, file]);
  expect(cut.code).toBe(1);
  expect(JSON.parse(cut.stdout)).toMatchObject({ error: { code: "CAPTURE_TRUNCATED" } });
  expect(cut.stderr).toMatch(/two\.pcap, byte \d+: /);
  folder.remove();
});
