import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { CapturedPacket } from "../../src/pcap/captured-packet.ts";
import { needing } from "../support/needing.ts";
import { command } from "../support/processes.ts";
import { inProcess } from "./in-process.ts";
import type { Given } from "./replay-rig.ts";
import { captureFile, folder, frame, packetsOf, replay, three, verdictsOf } from "./replay-rig.ts";

test("replay sums up verdicts by filter and reason, filters' answers and the config's metrics", async () => {
  const { code, stdout, stderr } = await replay(three, "dns");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(
    stdout.replace(/replayed in \d+ ms/, "replayed in N ms"),
  ).toBe(`${three} → dns (udp), ingress: dns → blocklist
3 packets, 138 bytes, 2.0 s from 2023-11-14 22:13:20 UTC, replayed in N ms

verdict  by filter  reason       packets  share     bytes
pass     -          -                  1  33.3%  46 bytes
drop     dns        filter_drop        1  33.3%  46 bytes
drop     blocklist  filter_drop        1  33.3%  46 bytes

filter     runs  pass  drop
dns           3     2     1
blocklist     2     1     1

metric                           value
blocked_packets_total{rule="7"}      1
`);
});

test("replay compares a shadow with its chain, which goes on as without it", async () => {
  const { stdout } = await replay(three, "tried");
  expect(stdout).toMatch(/pass +- +- +2 [\s\S]*drop +dns +filter_drop +1 /);
  expect(stdout).toContain(`
shadow  live  says  packets
next    pass  same        1
next    pass  drop        1
next    drop  pass        1
`);
  const { stdout: json } = await replay(three, "tried", "--json");
  const { filters: runs } = JSON.parse(json) as { filters: Record<string, unknown>[] };
  expect(runs.map(({ filter, shadow }) => ({ filter, shadow }))).toEqual([
    {
      filter: "next",
      shadow: [
        { live: "pass", shadow: "pass", packets: 1 },
        { live: "pass", shadow: "drop", packets: 1 },
        { live: "drop", shadow: "pass", packets: 1 },
      ],
    },
    { filter: "dns", shadow: undefined },
  ]);
});

test("replay --json is one object", async () => {
  const passed = `${folder.path}/json.pcapng`;
  const { code, stdout } = await replay(three, "dns", "--json", "-w", passed);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    file: three,
    listener: "dns",
    direction: "ingress",
    chain: ["dns", "blocklist"],
    packets: 3,
    bytes: 138,
    cut: 0,
    first: "1700000000.000000005",
    last: "1700000002.000000005",
    verdicts: [
      { verdict: "pass", filter: null, packets: 1, bytes: 46 },
      { verdict: "drop", filter: "dns", reason: "filter_drop", packets: 1, bytes: 46 },
      { verdict: "drop", filter: "blocklist", reason: "filter_drop", packets: 1, bytes: 46 },
    ],
    filters: [
      { filter: "dns", runs: 3, pass: 2, drop: 1, tx: 0, redirect: 0, aborted: 0 },
      { filter: "blocklist", runs: 2, pass: 1, drop: 1, tx: 0, redirect: 0, aborted: 0 },
    ],
    metrics: { 'blocked_packets_total{rule="7"}': 1 },
    written: [{ path: passed, packets: 1 }],
    interrupted: false,
  });
});

test("replay writes what passed and what was dropped, with times and comments", async () => {
  const [passed, dropped] = [`${folder.path}/passed.pcapng`, `${folder.path}/dropped.pcapng`];
  await replay(three, "dns", "-w", passed, "--dropped", dropped);
  const brief = ({ seconds, nanoseconds, originalLength, data, comments }: CapturedPacket) => ({
    seconds,
    nanoseconds,
    originalLength,
    hex: Buffer.from(data).toString("hex"),
    comments,
  });
  const [first, second, third] = packetsOf(three).map(brief);
  expect(packetsOf(passed).map(brief)).toEqual([
    { ...first, comments: ["as it came", "verdict=pass"] },
  ]);
  expect(packetsOf(dropped).map(brief)).toEqual([
    { ...second, comments: ["verdict=drop filter=blocklist reason=filter_drop"] },
    { ...third, comments: ["verdict=drop filter=dns reason=filter_drop"] },
  ]);
});

needing("tshark")("tshark shows what replay says of each packet", async () => {
  const dropped = `${folder.path}/shark.pcapng`;
  await replay(three, "dns", "--dropped", dropped);
  const shown = await command("tshark", [
    "-n",
    "-r",
    dropped,
    "-T",
    "fields",
    "-e",
    "frame.comment",
  ]);
  expect(shown.stdout).toBe(
    "verdict=drop filter=blocklist reason=filter_drop\nverdict=drop filter=dns reason=filter_drop\n",
  );
});

test("replay writes classic pcap where the name says so, an empty one where nothing came", async () => {
  const [passed, dropped] = [`${folder.path}/passed.pcap`, `${folder.path}/dropped.pcap`];
  await replay(three, "open", "-w", passed, "--dropped", dropped);
  expect(readFileSync(passed).subarray(0, 4).toString("hex")).toBe("4d3cb2a1");
  expect(packetsOf(passed).map(({ data }) => data)).toEqual(
    packetsOf(three).map(({ data }) => data),
  );
  expect(readFileSync(dropped).length).toBe(24);
  expect(packetsOf(dropped)).toEqual([]);
});

test("a rate limit does in a replay what it would have done at the packets' times", async () => {
  const data = frame("10.0.0.1", 53);
  const at = (...seconds: number[]): Given[] =>
    seconds.map((second) => ({ data, seconds: second }));
  // The clock never goes back, so the packet out of order finds no token either.
  const file = captureFile("rate.pcapng", at(1000, 1000, 1000, 1001, 1000, 1002, 1010, 1010));
  expect(await verdictsOf(file, "limited")).toEqual(["pass   4", "drop slow filter_drop 4"]);
});

for (const direction of ["ingress", "egress"])
  test(`what ${direction} replays goes the way it says to inbound and outbound`, async () => {
    const file = captureFile(`ways-${direction}.pcapng`, [{ data: frame("10.0.0.1", 53) }]);
    const { stdout } = await replay(file, "ways", "--direction", direction, "--json");
    expect(JSON.parse(stdout).verdicts).toMatchObject([{ verdict: "pass", packets: 1 }]);
  });

for (const { listener, direction = "ingress", expected } of [
  { listener: "aside", expected: "redirect aside honeypot 1" },
  { listener: "nowhere", expected: "drop nowhere redirect_unknown_port 1" },
  { listener: "back", expected: "tx back  1" },
  { listener: "aside", direction: "egress", expected: "drop back not_routable 1" },
  { listener: "elsewhere", expected: "drop  destination_not_allowed 1" },
  { listener: "open", direction: "egress", expected: "pass   1" },
  { listener: "no-tunnel", expected: "drop east redirect_unknown_port 1" },
  { listener: "wire", expected: "redirect north other.north 1" },
  { listener: "wire", direction: "egress", expected: "drop east not_routable 1" },
  { listener: "other", expected: "drop nowhere redirect_unknown_port 1" },
  { listener: "aside-wire", expected: "redirect aside honeypot 1" },
  { listener: "rewritten", expected: "pass   1" },
  { listener: "tap", expected: "drop east tunnel_mirror_only 1" },
])
  test(`replay lets no filter do more than listener ${listener} would, ${direction}: ${expected}`, async () => {
    const file = captureFile("one.pcapng", [{ data: frame("10.0.0.1", 53) }]);
    expect(await verdictsOf(file, listener, "--direction", direction)).toEqual([expected]);
  });

test("replay writes the packet as filters left it: cut, redirected, rewritten", async () => {
  const data = frame("10.0.0.1", 53);
  const arp = Buffer.from(`ffffffffffff02005e0000020806${"00".repeat(60)}`, "hex");
  const file = captureFile("changed.pcapng", [
    { data: Buffer.concat([data, data]) },
    { data: arp },
  ]);
  const passed = `${folder.path}/changed-passed.pcapng`;
  await replay(file, "short", "-w", passed);
  expect(packetsOf(passed).map((one) => one.data.length)).toEqual([50, 50]);
  await replay(file, "aside", "-w", passed);
  expect(packetsOf(passed)[0]!.comments).toEqual(["verdict=redirect filter=aside ifindex=3"]);
  // No socket brings ARP, so no destination of the listener's is left by what is written to it.
  await replay(file, "elsewhere", "-w", passed);
  const [rewritten] = packetsOf(passed);
  expect([rewritten!.data.length, rewritten!.data[33]]).toEqual([arp.length, 9]);
});

needing("clang")(
  "a filter that aborts is told once with its first packet, and counted",
  async () => {
    const source = fileURLToPath(new URL("../system/programs/long-run.c", import.meta.url));
    const headers = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const object = `${folder.path}/long-run.o`;
    const built = ["-O2", "-g", "-target", "bpf", headers, "-c", source, "-o", object];
    expect(await command("clang", built)).toMatchObject({ code: 0 });
    const own = folder.write(
      "aborting.yaml",
      `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
filters: { faulty: { object: ${object} } }
listeners: [ { name: all, protocol: udp, listen: "127.0.0.1:5306", upstream: app, ingress: [faulty] } ]
`,
    );
    const slow = Buffer.concat([frame("10.0.0.1", 53).subarray(0, 42), Buffer.from("s")]);
    const file = captureFile("slow.pcapng", [{ data: slow }, { data: slow }]);
    const { code, stdout, stderr } = await inProcess(["replay", file, "-c", own]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^aborted {2}faulty {5}budget_exceeded {8}2 {2}100\.0%/m);
    expect(stderr).toMatch(/^packet 0: filter faulty aborted: program \w+, instruction \d+: .+\n$/);
  },
);
