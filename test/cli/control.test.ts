import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync, renameSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { needing } from "../support/needing.ts";
import {
  command,
  freePort,
  type Running,
  start,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";
import { inProcess } from "./in-process.ts";

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const weirCommand = fileURLToPath(new URL("../../bin/weir.js", import.meta.url));
const place = temporaryFolder();
const admin = `unix:${place.path}/admin.sock`;
let running: Running;
let port: number;

beforeAll(async () => {
  port = await freePort();
  running = await startWeir(
    place,
    `version: 1
admin: { listen: "${admin}" }
metrics: { listen: off }
upstreams: { app: { echo: true } }
filters:
  count: { object: ${filters}count-by-protocol.o }
  blocklist:
    object: ${filters}blocklist.o
    maps: { blocked: { entries: [{ key: 127.0.0.66/32, value: 1 }] } }
listeners:
  - { name: echo, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [count, blocklist], egress: [count] }
`,
  );
});
afterAll(async () => {
  await running.stop();
  place.remove();
});

function ask(...args: string[]) {
  return inProcess([...args, "--admin", admin]);
}

async function datagram(from: string, answered: boolean): Promise<void> {
  const client = createSocket("udp4").bind(0, from);
  const answer = answered ? once(client, "message") : undefined;
  await new Promise((resolve) => client.send("hello", port, "127.0.0.1", resolve));
  await answer;
  client.close();
}

test("programs are listed as bpftool lists them, and shown by name, number or tag", async () => {
  const { code, stdout } = await ask("prog", "list");
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^1: xdp {2}name xdp_count_by_protocol {2}tag [0-9a-f]{16}\n\tfilter count {2}engine \w+ {2}run_cnt \d+ {2}xlated 2880B {2}map_ids 1,2\n2: xdp {2}name xdp_blocklist /,
  );
  const { stdout: json } = await ask("prog", "show", "id", "2", "--json");
  const program = JSON.parse(json);
  expect(program).toMatchObject({ id: 2, name: "xdp_blocklist", filter: "blocklist" });
  for (const words of [["name", "xdp_blocklist"], ["tag", program.tag], ["blocklist"]])
    expect(JSON.parse((await ask("prog", "show", ...words, "--json")).stdout).id).toBe(2);
  const { stdout: offline } = await inProcess([
    "prog",
    "list",
    "--object",
    `${filters}blocklist.o`,
  ]);
  expect(offline).toContain(`1: xdp  name xdp_blocklist  tag ${program.tag}`);
});

test("a program's listing has opcodes, source lines and maps by number", async () => {
  const { stdout } = await ask("prog", "dump", "xlated", "id", "2", "opcodes", "linum");
  expect(stdout).toMatch(
    /^; void \*data = \(void \*\)\(long\)context->data; \[file:blocklist\.c line_num:92 line_col:\d+\]\n +\d+: \(61\) r\d = \*\(u32 \*\)\(r\d \+0\)\n {7}61( [0-9a-f]{2}){7}\n/m,
  );
  expect(stdout).toContain("r1 = map[id:3]");
  expect(stdout).toContain("call bpf_map_lookup_elem#1");
  const { stdout: graph } = await inProcess([
    "prog",
    "dump",
    "xlated",
    "visual",
    "--object",
    `${filters}blocklist.o`,
  ]);
  expect(graph).toMatch(/^digraph "DOT graph for eBPF program" \{\nsubgraph "cluster_0" \{/);
  const nodes = new Set([...graph.matchAll(/^\t(fn_0_bb_\d+) \[shape/gm)].map(([, name]) => name));
  const edges = [...graph.matchAll(/^\t(\w+):s -> (\w+):n/gm)];
  expect(edges.length).toBeGreaterThan(nodes.size / 2);
  for (const [, from, to] of edges) expect(nodes.has(from!) && nodes.has(to!)).toBe(true);
});

test("map entries are written typed, or in bytes as bpftool takes them, and change verdicts", async () => {
  expect(await ask("map", "update", "blocked", "key", "127.0.0.77/32", "value", "9")).toMatchObject(
    {
      code: 0,
      stdout: "",
    },
  );
  const bytes = ["key", "hex", "18", "00", "00", "00", "c0", "00", "02", "00", "value", "5"];
  await ask("map", "update", "blocklist/blocked", ...bytes, "0", "0", "0");
  const { stdout } = await ask("map", "dump", "blocked");
  expect(stdout.split("\n").sort().slice(1)).toEqual([
    "Found 3 elements",
    "key: 127.0.0.66/32  value: 1",
    "key: 127.0.0.77/32  value: 9",
    "key: 192.0.2.0/24  value: 5",
  ]);
  expect(await ask("map", "lookup", "blocked", "key", "192.0.2.0/24", "--json")).toMatchObject({
    stdout: '{"key":"192.0.2.0/24","value":5}\n',
  });
  const again = await ask(
    "map",
    "update",
    "blocked",
    "key",
    "127.0.0.77/32",
    "value",
    "1",
    "noexist",
  );
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("already") });
  expect((await ask("map", "delete", "blocked", "key", "192.0.2.0/24")).code).toBe(0);
  const gone = await ask("map", "delete", "blocked", "key", "192.0.2.0/24");
  expect(gone).toMatchObject({
    code: 1,
    stderr: "weir map delete: map blocked: there is no entry of this key\n",
  });
  expect((await ask("map", "getnext", "blocked")).stdout).toMatch(/^key: none\nnext key: 127/);
});

for (const { words, error } of [
  {
    words: ["map", "update", "blocked", "key", "1.2.3.4/32"],
    error: /expected key DATA value DATA/,
  },
  { words: ["map", "lookup", "blocked", "key", "hex", "0"], error: /"0" is no byte in hex/ },
  { words: ["map", "lookup", "blocked", "key", "1", "256"], error: /"256" is no byte/ },
  { words: ["prog", "show", "id", "1", "more"], error: /expected a name or number/ },
])
  test(`${words.join(" ")} is wrong usage: exit 2 and one line`, async () => {
    const { code, stderr } = await ask(...words);
    expect(code).toBe(2);
    expect(stderr).toMatch(error);
    expect(stderr.trimEnd().split("\n").length).toBe(1);
  });

test("without a proxy to ask a command says where it looked, exit 1", async () => {
  const { code, stderr } = await inProcess(["map", "list", "--admin", "unix:/tmp/weir-none.sock"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^weir map list: unix:\/tmp\/weir-none\.sock: no Weir runs here; start one/,
  );
});

test("capture -w writes packets that come and verdicts as comments, and ends after -c", async () => {
  const file = `${place.path}/live.pcapng`;
  const capture = start(process.execPath, [
    weirCommand,
    ...["capture", "--verdict", "drop", "-c", "2", "-w", file, "--admin", admin],
  ]);
  await capture.printed(/capturing/);
  await datagram("127.0.0.1", true);
  await datagram("127.0.0.66", false);
  await datagram("127.0.0.66", false);
  expect(await capture.ended).toEqual({ code: 0, signal: null });
  expect(capture.output()).toContain("2 packets captured, 0 lost");
  const packets = [...readCaptureBytes(readFileSync(file))];
  expect(packets.map(({ comments }) => comments)).toEqual(
    Array(2).fill(["weir: echo ingress, worker 0: drop by blocklist (filter_drop)"]),
  );
  expect(packets[0]!.data.subarray(26, 30)).toEqual(Uint8Array.of(127, 0, 0, 66));
});

test("explain goes through the chain that the capture says a packet met, and says where options contradict", async () => {
  const file = place.write("both.pcapng", "x".repeat(100_000));
  const capture = start(process.execPath, [
    weirCommand,
    ...["capture", "-c", "2", "-w", file, "--admin", admin],
  ]);
  await capture.printed(/capturing/);
  await datagram("127.0.0.1", true);
  expect((await capture.ended).code).toBe(0);
  // What was there before is gone.
  expect([...readCaptureBytes(readFileSync(file), file)].length).toBe(2);
  const explained = (packet: string, ...more: string[]) =>
    ask("explain", file, "--packet", packet, "--brief", ...more);
  const ingress = await explained("0");
  expect(ingress).toMatchObject({ code: 0, stderr: "" });
  expect(ingress.stdout).toMatch(/^echo ingress [\s\S]*verdict: pass, by filter blocklist\n$/);
  // Only count is asked on the way back.
  const egress = await explained("1");
  expect(egress).toMatchObject({ code: 0, stderr: "" });
  expect(egress.stdout).toMatch(/^echo egress [\s\S]*verdict: pass, by filter count\n$/);
  expect(await explained("1", "--direction", "ingress")).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/by filter blocklist\n$/),
    stderr: `weir explain: ${file}, packet 1 was captured at echo egress, and is explained at echo ingress\n`,
  });
  expect(await explained("2")).toMatchObject({
    code: 1,
    stderr: `weir explain: ${file}: has 2 packets, no number 2; they are numbered from 0 to 1\n`,
  });
});

for (const file of ["/dev/full", "/nowhere/packets.pcapng"])
  test(`capture -w ${file} ends with what is wrong with the file, exit 1`, async () => {
    const capture = start(process.execPath, [
      weirCommand,
      ...["capture", "-c", "2", "-w", file, "--admin", admin],
    ]);
    expect((await capture.ended).code).toBe(1);
    expect(capture.output().split("\n").filter(Boolean).at(-1)).toBe(
      file === "/dev/full"
        ? "weir capture: /dev/full: the disk is full"
        : "weir capture: /nowhere/packets.pcapng: its folder does not exist",
    );
  });

test("explain names the line that drops a packet, by what the proxy's maps hold now", async () => {
  const frame =
    "02005e00000102005e0000020800450000210000400040110000c63364077f00000112340035000d00000000000000";
  const before = await ask("explain", frame, "--listener", "echo", "--brief");
  expect(before.stdout).toMatch(/verdict: pass, by filter blocklist\n$/);
  await ask("map", "update", "blocked", "key", "198.51.100.0/24", "value", "3");
  const after = await ask("explain", frame, "--listener", "echo", "--json");
  const { verdict, runs } = JSON.parse(after.stdout);
  expect(verdict).toEqual({ kind: "drop", reason: "filter_drop" });
  const source = readFileSync(`${filters}blocklist.c`, "utf8").split("\n");
  const { decided, because, steps } = runs[1];
  expect(source[decided.line - 1]!.trim()).toBe("return default_action;");
  expect(source[because.line - 1]!.trim()).toBe("if (!rule)");
  expect(steps.map(({ effect }: { effect: string }) => effect)).toContain(
    "bpf_map_lookup_elem(blocked, key 198.51.100.7/32): found 3",
  );
});

test("a filter that is disabled lets pass what it dropped, until it is enabled", async () => {
  expect((await ask("filter", "disable", "blocklist")).stdout).toBe("blocklist: disabled\n");
  await datagram("127.0.0.66", true);
  expect((await ask("list")).stdout).toMatch(/ blocklist +xdp .* disabled\n/);
  expect((await ask("filter", "enable", "blocklist")).stdout).toBe("blocklist: enabled\n");
  expect((await ask("list")).stdout).toMatch(/ blocklist +xdp .* on\n/);
});

test("top --once gives rates by listener, filter and reason", async () => {
  const counting = ask("top", "--once", "--interval", "0.5", "--json");
  for (let i = 0; i < 20; i++) await datagram("127.0.0.1", true);
  const { listeners, filters: runs } = JSON.parse((await counting).stdout);
  expect(listeners.map(({ direction }: { direction: string }) => direction)).toEqual([
    "ingress",
    "egress",
  ]);
  expect(runs.map(({ filter }: { filter: string }) => filter)).toEqual(["count", "blocklist"]);
});

test("reload tells what it did or what is wrong, and capture shows what is inside a tunnel", async () => {
  const other = temporaryFolder();
  const socket = `unix:${other.path}/admin.sock`;
  const wire = await freePort();
  const text = `version: 1
admin: { listen: "${socket}" }
metrics: { listen: off }
filters: { count: { object: ${filters}count-by-protocol.o } }
listeners:
  - { name: wire, protocol: vxlan, mode: mirror, listen: "127.0.0.1:${wire}", ingress: [count] }
`;
  const second = await startWeir(other, text);
  const more = text.replace(
    "listeners:",
    `listeners:\n  - { name: more, protocol: geneve, mode: mirror, listen: "127.0.0.1:0", ingress: [count] }`,
  );
  other.write("weir.yaml", more);
  const done = await inProcess(["reload", "--admin", socket]);
  expect(done).toMatchObject({ code: 0, stderr: "" });
  expect(done.stdout).toMatch(/^reloaded in \d+ ms\nlisteners opened: more\n/);
  other.write("weir.yaml", more.replace("vxlan", "vlan"));
  const refused = await inProcess(["reload", "--admin", socket]);
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toMatch(/weir\.yaml:7:\d+: listeners\[1\]\.protocol: .*stays in force/s);
  const capture = start(process.execPath, [
    weirCommand,
    ...["capture", "-c", "1", "--listener", "wire", "--admin", socket],
  ]);
  await capture.printed(/capturing/);
  const client = createSocket("udp4");
  // VXLAN of network 42, then an ARP question in Ethernet.
  const frame =
    "ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002";
  client.send(Buffer.from(`0800000000002a00${frame}`, "hex"), wire, "127.0.0.1");
  expect(await capture.ended).toEqual({ code: 0, signal: null });
  expect(capture.output()).toMatch(
    new RegExp(
      `^\\S+ wire > \\[vxlan vni 42 flags 0x08, any, 127\\.0\\.0\\.1:\\d+ > 127\\.0\\.0\\.1:${wire}\\] .* pass by count$`,
      "m",
    ),
  );
  client.close();
  await second.stop();
  other.remove();
});

test("log-level shows and sets", async () => {
  expect((await ask("log-level")).stdout).toBe("info\n");
  expect((await ask("log-level", "error")).stdout).toBe("error\n");
  expect((await ask("log-level", "info")).stdout).toBe("info\n");
  const wrong = await ask("log-level", "loud");
  expect(wrong).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("Allowed choices are trace, debug, info,"),
  });
});

test("over TCP the API takes only those who show the token, and the default socket is left alone", async () => {
  const [adminPort, udpPort] = [await freePort(), await freePort()];
  const token = place.write("token", "0123456789abcdef0123456789abcdef\n");
  const guarded = await startWeir(
    { write: (_, text) => place.write("guarded.yaml", text) },
    `version: 1
admin: { listen: "127.0.0.1:${adminPort}", tokenFile: token }
metrics: { listen: off }
upstreams: { app: { echo: true } }
listeners:
  - { name: plain, protocol: udp, listen: "127.0.0.1:${udpPort}", upstream: app }
`,
  );
  const address = ["--admin", `127.0.0.1:${adminPort}`];
  const without = await inProcess(["list", ...address]);
  expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining("token is missing") });
  const shown = await inProcess(["list", ...address, "--token-file", token]);
  expect(shown).toMatchObject({ code: 0, stderr: "" });
  const next = place.write("next", "fedcba9876543210fedcba9876543210");
  renameSync(next, token);
  place.write("before", "0123456789abcdef0123456789abcdef");
  const before = await inProcess(["list", ...address, "--token-file", `${place.path}/before`]);
  expect(before).toMatchObject({ code: 1, stderr: expect.stringContaining("token is missing") });
  expect(await inProcess(["list", ...address, "--token-file", token])).toMatchObject({ code: 0 });
  place.write("short", "secret");
  const short = await inProcess(["list", ...address, "--token-file", `${place.path}/short`]);
  expect(short.stderr).toMatch(/holds no token of 16 characters or more; write one: openssl/);
  await guarded.stop();
});

test("a second proxy of a user runs without the default socket, and says so", async () => {
  const udpPort = await freePort();
  const config = place.write(
    "default.yaml",
    `version: 1
metrics: { listen: off }
upstreams: { app: { echo: true } }
listeners:
  - { name: plain, protocol: udp, listen: "127.0.0.1:${udpPort}", upstream: app, ingress: [] }
`,
  );
  const run = (text: string) => {
    const file = place.write("other.yaml", text);
    return start("env", [
      `XDG_RUNTIME_DIR=${place.path}`,
      process.execPath,
      weirCommand,
      "run",
      "-c",
      file,
    ]);
  };
  const text = readFileSync(config, "utf8");
  const first = run(text);
  await first.printed(/"admin":"unix:.*weir-\d+\/admin\.sock","msg":"ready"/);
  const second = run(text.replace(`:${udpPort}`, ":0"));
  await second.printed(/another Weir \(process \d+\) listens there.*"msg":"no control API/);
  await second.printed(/"msg":"ready"/);
  await Promise.all([first.stop(), second.stop()]);
});

needing("script")("on a terminal the same commands give tables for people", async () => {
  const node = `${process.execPath} ${weirCommand}`;
  const transcript = await command("script", [
    "-qec",
    `${node} list --admin ${admin} && ${node} map show blocked --admin ${admin} && ${node} top --once --interval 0.1 --admin ${admin}`,
    "/dev/null",
  ]);
  expect(transcript.code).toBe(0);
  const lines = transcript.stdout.replaceAll("\r", "").split("\n");
  expect(lines[0]).toMatch(/^PID +NAME +TYPE +ENGINE +RUNS +DROPPED +MAPS +STATE$/);
  expect(lines[2]).toMatch(/^\d+ +blocklist +xdp +\w+ +\d+ +\d+ +4 +on$/);
  expect(lines[3]).toMatch(/^3: lpm_trie {2}name blocked {2}flags 0x1 {2}filter blocklist$/);
  expect(lines[4]).toMatch(/^\tkey 8B {2}value 4B {2}max_entries 65536 {2}entries \d+ {2}memlock/);
  expect(transcript.stdout).toContain("LISTENER  DIRECTION  SESSIONS  PACKETS/s");
  expect(transcript.stdout).not.toContain("\x1b");
});
