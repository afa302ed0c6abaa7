import { spawn } from "node:child_process";
import { once } from "node:events";
import { linkSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CommanderError } from "commander";
import { afterAll, expect, test } from "vitest";
import { commands } from "../../src/cli/commands.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import type { CapturedPacket } from "../../src/pcap/captured-packet.ts";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { PcapngWriter } from "../../src/pcap/pcapng-writer.ts";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { needing } from "../support/needing.ts";
import { command, temporaryFolder } from "../support/processes.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const weirCommand = fileURLToPath(new URL("../../bin/weir.js", import.meta.url));

const config = folder.write(
  "weir.yaml",
  `version: 1
upstreams:
  app: { addresses: ["app.invalid:53"] }
  honeypot: { addresses: ["192.0.2.99:53"] }
ports: { 3: honeypot }
filters:
  blocklist:
    object: ${filters}blocklist.o
    program: xdp_blocklist
    maps: { blocked: { entries: [ { key: 203.0.113.0/24, value: 7 } ] } }
    metrics:
      counters:
        - name: blocked_packets_total
          help: Packets dropped, by rule
          labels: [ { name: rule, size: 4, decoders: [ { name: uint } ] } ]
  dns: { expression: "udp port 53", engine: jit }
  slow:
    object: ${filters}rate-limit.o
    program: xdp_rate_limit
    globals: { packets_per_second: 1, packet_burst: 1 }
  aside: { bytecode: "r1 = 3\\nr2 = 0\\ncall 23\\nexit" }
  nowhere: { bytecode: "r1 = 4\\nr2 = 0\\ncall 23\\nexit" }
  back: { bytecode: "r0 = 3\\nexit" }
  short: { bytecode: "2\\n48 0 0 0\\n6 0 0 50\\n" }
  none: { bytecode: "r0 = 1\\nexit" }
  elsewhere: { bytecode: "ENDING" }
  inward: { expression: "inbound" }
  outward: { expression: "outbound" }
  next: { expression: "host 10.0.0.1", shadow: true }
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:5300", upstream: app, ingress: [dns, blocklist], egress: [dns] }
  - { name: limited, protocol: udp, listen: "127.0.0.1:5301", upstream: app, ingress: [slow] }
  - { name: aside, protocol: udp, listen: "127.0.0.1:5302", upstream: app, ingress: [aside], egress: [back] }
  - { name: nowhere, protocol: udp, listen: "127.0.0.1:5303", upstream: app, ingress: [nowhere] }
  - { name: back, protocol: udp, listen: "127.0.0.1:5304", upstream: app, ingress: [back] }
  - { name: short, protocol: udp, listen: "127.0.0.1:5305", upstream: app, ingress: [short] }
  - { name: none, protocol: tcp, listen: "127.0.0.1:5306", upstream: app, ingress: [none] }
  - { name: open, protocol: udp, listen: "127.0.0.1:5307", upstream: app }
  - { name: elsewhere, protocol: udp, listen: "127.0.0.1:5308", upstream: app, ingress: [elsewhere] }
  - { name: ways, protocol: udp, listen: "127.0.0.1:5309", upstream: app, ingress: [inward], egress: [outward] }
  - { name: tried, protocol: udp, listen: "127.0.0.1:5310", upstream: app, ingress: [next, dns] }
`.replace(
    "ENDING",
    // The last byte of the destination: 10.0.0.2 becomes 10.0.0.9.
    "r2 = *(u32 *)(r1 + 0)\\nr3 = *(u32 *)(r1 + 4)\\nr4 = r2\\nr4 += 42\\nif r4 > r3 goto +2\\nr5 = 9\\n*(u8 *)(r2 + 33) = r5\\nr0 = 2\\nexit",
  ),
);

/** A datagram to 10.0.0.2, from its IPv4 header on. */
function datagram(source: string, port: number): Buffer {
  const packet = Buffer.from(
    "4500002000000000401100000a0000010a0000021234000000 0c000061626364".replace(" ", ""),
    "hex",
  );
  for (const [i, part] of source.split(".").entries()) packet[12 + i] = Number(part);
  packet.writeUInt16BE(port, 22);
  return packet;
}

function frame(source: string, port: number): Buffer {
  return Buffer.concat([
    Buffer.from("02005e00000102005e0000020800", "hex"),
    datagram(source, port),
  ]);
}

interface Given {
  readonly data: Buffer;
  readonly seconds?: number;
  readonly linkType?: number;
  readonly comments?: readonly string[];
}

function captureFile(name: string, packets: readonly Given[]): string {
  const types = [...new Set(packets.map(({ linkType = 1 }) => linkType))];
  const writer = new PcapngWriter(types.map((linkType) => ({ linkType })));
  const records = packets.map(({ data, seconds = 1_700_000_000, linkType = 1, comments = [] }) =>
    writer.record({
      seconds,
      nanoseconds: 5,
      originalLength: data.length,
      data,
      comments,
      interfaceId: types.indexOf(linkType),
    }),
  );
  const file = `${folder.path}/${name}`;
  writeFileSync(file, Buffer.concat([writer.header, ...records]));
  return file;
}

function packetsOf(file: string): CapturedPacket[] {
  return [...readCaptureBytes(readFileSync(file))];
}

/** In this process: a process of its own takes half a second, and there are many cases. */
async function replay(file: string, listener: string, ...more: string[]) {
  return inProcess("replay", file, "-c", config, "--listener", listener, ...more);
}

async function inProcess(...args: string[]) {
  const run = { code: 0, stdout: "", stderr: "" };
  const terminal: Terminal = {
    out: (text) => {
      run.stdout += text;
    },
    error: (text) => {
      run.stderr += text;
    },
    interactive: false,
    environment: {},
    input: () => {
      throw new Error("a replay reads bytes");
    },
  };
  const program = commands(terminal, (code) => {
    run.code = code;
  });
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    // As main.ts has it.
    if (!(error instanceof CommanderError)) throw error;
    run.code = 2;
  }
  return run;
}

async function verdictsOf(file: string, listener: string, ...more: string[]) {
  const { code, stdout, stderr } = await replay(file, listener, "--json", ...more);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const { verdicts } = JSON.parse(stdout) as { verdicts: Record<string, unknown>[] };
  return verdicts.map(({ verdict, filter, reason, port, packets }) =>
    [verdict, filter, reason ?? port ?? "", packets].join(" "),
  );
}

const three = captureFile("three.pcapng", [
  { data: frame("10.0.0.1", 53), comments: ["as it came"] },
  { data: frame("203.0.113.9", 53) },
  { data: frame("10.0.0.1", 80), seconds: 1_700_000_002 },
]);

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
    const { code, stdout, stderr } = await inProcess("replay", file, "-c", own);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^aborted {2}faulty {5}budget_exceeded {8}2 {2}100\.0%/m);
    expect(stderr).toMatch(/^packet 0: filter faulty aborted: program \w+, instruction \d+: .+\n$/);
  },
);

const ip = datagram("10.0.0.1", 53);
const ip6 = Buffer.concat([
  Buffer.from(
    `60000000000c1140${"20010db8".padEnd(32, "0")}${"20010db8".padEnd(30, "0")}01`,
    "hex",
  ),
  ip.subarray(20),
]);
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

for (const { name, linkType, data, header } of [
  { name: "RAW IPv4", linkType: 101, data: ip, header: "02040a000002 02040a000001 0800" },
  { name: "OpenBSD's RAW", linkType: 14, data: ip, header: "02040a000002 02040a000001 0800" },
  { name: "RAW IPv6", linkType: 101, data: ip6, header: "0206........ 0206........ 86dd" },
  {
    name: "NULL of a little-endian machine",
    linkType: 0,
    data: Buffer.concat([hex("02000000"), ip]),
    header: "02040a000002 02040a000001 0800",
  },
  {
    name: "NULL of a big-endian machine",
    linkType: 0,
    data: Buffer.concat([hex("00000002"), ip]),
    header: "02040a000002 02040a000001 0800",
  },
  {
    name: "LOOP IPv6",
    linkType: 108,
    data: Buffer.concat([hex("00000018"), ip6]),
    header: "0206........ 0206........ 86dd",
  },
  {
    name: "LINUX_SLL",
    linkType: 113,
    data: Buffer.concat([hex("0000 0001 0006 0200aabbccdd 0000 0800"), ip]),
    header: "02040a000002 0200aabbccdd 0800",
  },
  {
    name: "LINUX_SLL broadcast",
    linkType: 113,
    data: Buffer.concat([hex("0001 0001 0006 0200aabbccdd 0000 0800"), ip]),
    header: "ffffffffffff 0200aabbccdd 0800",
  },
  {
    name: "LINUX_SLL2 of a tunnel",
    linkType: 276,
    data: Buffer.concat([hex("0800 0000 00000002 fffe 00 00 0000000000000000"), ip]),
    header: "02040a000002 02040a000001 0800",
  },
])
  test(`${name} gets an Ethernet header, and is written so where it passes, as it came where not`, async () => {
    const file = captureFile("link.pcapng", [{ data, linkType }]);
    const [passed, dropped] = [`${folder.path}/link-p.pcapng`, `${folder.path}/link-d.pcapng`];
    await replay(file, "dns", "-w", passed);
    const [one] = packetsOf(passed);
    expect(one!.linkType).toBe(1);
    const text = Buffer.from(one!.data).toString("hex");
    expect(text.slice(0, 28)).toMatch(new RegExp(`^${header.replaceAll(" ", "")}$`));
    expect(text.slice(28)).toBe(
      (linkType === 101 && data === ip6) || linkType === 108
        ? ip6.toString("hex")
        : ip.toString("hex"),
    );
    await replay(file, "none", "--dropped", dropped);
    expect(packetsOf(dropped)).toMatchObject([{ linkType, data: new Uint8Array(data) }]);
  });

for (const { name, linkType, data, reason } of [
  {
    name: "less than an Ethernet header",
    linkType: 1,
    data: hex("0200"),
    reason: "frame_truncated",
  },
  { name: "RAW that is no IP", linkType: 101, data: hex("00"), reason: "frame_bad_header" },
  { name: "empty RAW", linkType: 101, data: hex(""), reason: "frame_truncated" },
  { name: "half a NULL header", linkType: 0, data: hex("0200"), reason: "frame_truncated" },
  { name: "an unknown family", linkType: 0, data: hex("0700000000"), reason: "frame_bad_header" },
  {
    name: "netlink",
    linkType: 113,
    data: hex("0004 0338 0000 0000000000000000 0000 00"),
    reason: "frame_bad_header",
  },
  {
    name: "a cooked CAN frame",
    linkType: 113,
    data: hex("0000 0118 0000 0000000000000000 000c 00"),
    reason: "frame_bad_header",
  },
  { name: "a cut cooked header", linkType: 276, data: hex("0800"), reason: "frame_truncated" },
  {
    name: "more than a slot holds",
    linkType: 1,
    data: Buffer.alloc(65_600),
    reason: "frame_too_large",
  },
])
  test(`${name} is dropped unseen: ${reason}`, async () => {
    const file = captureFile("odd.pcapng", [{ data, linkType }]);
    expect(await verdictsOf(file, "dns")).toEqual([`drop  ${reason} 1`]);
  });

test("a link type without frames is refused by name, after what came before it", async () => {
  const file = captureFile("wifi.pcapng", [
    { data: frame("10.0.0.1", 53) },
    { data: ip, linkType: 105 },
  ]);
  const { code, stdout, stderr } = await replay(file, "dns");
  expect(code).toBe(1);
  expect(stdout).toMatch(/^1 packet, /m);
  expect(stderr).toMatch(
    /packet 1: .*link type 105 \(IEEE802_11\).*frames are made of EN10MB, RAW/,
  );
});

test("a classic pcap does not take a second link type", async () => {
  const mixed = captureFile("mixed.pcapng", [
    { data: frame("10.0.0.1", 53) },
    { data: ip, linkType: 101 },
  ]);
  const { code, stderr } = await replay(mixed, "none", "--dropped", `${folder.path}/mixed.pcap`);
  expect(code).toBe(1);
  expect(stderr).toMatch(/mixed\.pcap: a classic pcap holds packets of one link type.*\.pcapng\n$/);
});

test("a truncated capture is replayed as far as it is whole, exit 1, and so are the files", async () => {
  const cut = `${folder.path}/cut.pcapng`;
  const passed = `${folder.path}/cut-passed.pcapng`;
  writeFileSync(cut, readFileSync(three).subarray(0, -30));
  const { code, stdout, stderr } = await replay(cut, "open", "--json", "-w", passed);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^weir replay: .*cut\.pcapng, byte \d+: the capture ends within /);
  expect(JSON.parse(stdout)).toMatchObject({ packets: 2, error: { code: "CAPTURE_TRUNCATED" } });
  expect(packetsOf(passed).length).toBe(2);
});

test("packets that had been cut when captured are pointed out, and stay marked as cut", async () => {
  const writer = new ClassicWriter(1, "microseconds");
  const data = frame("10.0.0.1", 53);
  const file = `${folder.path}/snap.pcap`;
  const passed = `${folder.path}/snap-passed.pcap`;
  const record = writer.record({ seconds: 1, nanoseconds: 0, originalLength: 1000, data });
  writeFileSync(file, Buffer.concat([writer.header, record]));
  const { stdout } = await replay(file, "open", "-w", passed);
  expect(stdout).toMatch(/^1 packet had been cut when captured: filters saw what is left$/m);
  expect(packetsOf(passed)).toMatchObject([{ originalLength: 1000 }]);
});

for (const { args, code, message } of [
  {
    args: ["no.pcap", "--listener", "dns"],
    code: 1,
    message: /^weir replay: no\.pcap: no such file\n$/,
  },
  { args: [folder.path, "--listener", "dns"], code: 1, message: /: is a folder\n$/ },
  {
    args: [config, "--listener", "dns"],
    code: 1,
    message: /byte 0: this is neither pcap nor pcapng/,
  },
  { args: [three], code: 2, message: /has 11 listeners; name one with --listener: dns, limited/ },
  {
    args: [three, "--listener", "dnss"],
    code: 2,
    message: /no such listener; did you mean dns\?\n$/,
  },
  {
    args: [three, "--listener", "dns", "--direction", "up"],
    code: 2,
    message: /Allowed choices are ingress, egress/,
  },
  {
    args: [three, "--listener", "dns", "-w", three],
    code: 2,
    message: /-w .*is the capture that is read; name another file\n$/,
  },
  {
    args: [three, "--listener", "dns", "-w", "-", "--metrics", "-"],
    code: 2,
    message: /--metrics -: standard output is what -w writes already/,
  },
  {
    args: [three, "--listener", "dns", "-w", "/no/such/x.pcap"],
    code: 1,
    message: /x\.pcap: its folder does not exist\n$/,
  },
  {
    args: [three, "--listener", "dns", "--metrics", "/no/such/x"],
    code: 1,
    message: /x: its folder does not exist\n$/,
  },
])
  test(`replay ${args.slice(1).join(" ")} of ${args[0]!.replace(folder.path, "")} ends with exit code ${code}`, async () => {
    const before = readFileSync(three);
    const run = await inProcess("replay", ...args, "-c", config);
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(message);
    expect(run.stderr).not.toMatch(/\n\s+at /);
    expect(readFileSync(three).equals(before)).toBe(true);
  });

test("the capture that is read is not overwritten under another name either", async () => {
  linkSync(three, `${folder.path}/alias.pcapng`);
  const run = await replay(three, "dns", "--dropped", `${folder.path}/alias.pcapng`);
  expect(run.code).toBe(2);
  expect(packetsOf(three).length).toBe(3);
});

test("a file that takes nothing is no file that was written, exit 1", async () => {
  const file = captureFile("to-full.pcapng", [{ data: frame("10.0.0.1", 53) }]);
  const { code, stdout, stderr } = await replay(file, "open", "-w", "/dev/full", "--json");
  expect({ code, written: JSON.parse(stdout).written }).toEqual({ code: 1, written: [] });
  expect(stderr).toMatch(/\/dev\/full: the disk is full/);
});

test("a broken config is reported as check does, exit 2", async () => {
  mkdirSync(`${folder.path}/bad`, { recursive: true });
  const bad = folder.write("bad/weir.yaml", "version: 1\nlistenerz: []\n");
  const { code, stderr } = await inProcess("replay", three, "-c", bad);
  expect(code).toBe(2);
  expect(stderr).toMatch(/bad\/weir\.yaml:2:1: /);
});

test("replay --metrics writes the metrics as a scrape finds them", async () => {
  const { stdout, stderr } = await replay(three, "dns", "--metrics", "-");
  expect(stdout).toContain('blocked_packets_total{rule="7"} 1\n');
  expect(stdout).toContain(
    'weir_packets_total{listener="dns",direction="ingress",verdict="drop"} 2\n',
  );
  expect(stdout).toContain(
    'weir_drops_total{listener="dns",direction="ingress",reason="filter_drop"} 2\n',
  );
  // The summary makes room.
  expect(stdout).not.toMatch(/^verdict /m);
  expect(stderr).toMatch(/^verdict /m);
});

/** Weir with bytes on its standard input; both outputs as bytes and text. */
async function piped(args: readonly string[], input: readonly Uint8Array[]) {
  const child = spawn(process.execPath, [weirCommand, ...args], { stdio: "pipe" });
  const out: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {});
  for (const chunk of input) if (!child.stdin.write(chunk)) await once(child.stdin, "drain");
  child.stdin.end();
  const [code] = await once(child, "close");
  return { code, stdout: Buffer.concat(out), stderr };
}

test("replay - reads a pipe, and -w - writes one: the summary goes beside it", async () => {
  const args = ["replay", "-", "-c", config, "--listener", "dns", "-w", "-"];
  const { code, stdout, stderr } = await piped(args, [readFileSync(three)]);
  expect(code).toBe(0);
  expect([...readCaptureBytes(stdout)].length).toBe(1);
  expect(stderr).toMatch(/^standard input → dns \(udp\), ingress: dns → blocklist\n3 packets, /);
});

test("what is piped in and on keeps its order, however much it is", async () => {
  const writer = new ClassicWriter(1);
  const data = Buffer.concat([frame("10.0.0.1", 53), Buffer.alloc(1000)]);
  const records = Array.from({ length: 20_000 }, (_, seconds) =>
    writer.record({ seconds, nanoseconds: 0, originalLength: data.length, data }),
  );
  const args = ["replay", "-", "-c", config, "--listener", "open", "-w", "-"];
  const { stdout } = await piped(args, [writer.header, ...records]);
  let next = 0;
  for (const { seconds } of readCaptureBytes(stdout)) expect(seconds).toBe(next++);
  expect(next).toBe(records.length);
});

test("SIGINT ends a replay with the summary so far, exit 1, and whole files", async () => {
  const passed = `${folder.path}/interrupted.pcapng`;
  const args = ["replay", "-", "-c", config, "--listener", "dns", "-w", passed, "--dropped", "-"];
  const child = spawn(process.execPath, [weirCommand, ...args], { stdio: "pipe" });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {});
  // One that passes, and much that is dropped: the first bytes out tell that it works.
  const writer = new ClassicWriter(1);
  const record = (port: number, bytes: number): Uint8Array => {
    const data = Buffer.concat([frame("10.0.0.1", port), Buffer.alloc(bytes)]);
    return writer.record({ seconds: 1, nanoseconds: 0, originalLength: data.length, data });
  };
  child.stdin.write(writer.header);
  child.stdin.write(record(53, 0));
  for (let i = 0; i < 10; i++) child.stdin.write(record(80, 60_000));
  await once(child.stdout, "data");
  child.kill("SIGINT");
  const [code] = await once(child, "close");
  expect(code).toBe(1);
  expect(stderr).toMatch(/^interrupted: this is what was replayed until then$/m);
  expect(stderr).toMatch(/^drop +dns +filter_drop +\d+ /m);
  expect(packetsOf(passed).length).toBe(1);
});

test("a reader that goes away ends the replay without a word, and leaves the other file whole", async () => {
  const writer = new ClassicWriter(1);
  const data = Buffer.concat([frame("10.0.0.1", 53), Buffer.alloc(1000)]);
  const drop = frame("10.0.0.1", 80);
  const records = Array.from({ length: 3000 }, () => [
    writer.record({ seconds: 1, nanoseconds: 0, originalLength: data.length, data }),
    writer.record({ seconds: 1, nanoseconds: 0, originalLength: drop.length, data: drop }),
  ]).flat();
  const file = `${folder.path}/long.pcap`;
  const dropped = `${folder.path}/long-dropped.pcapng`;
  writeFileSync(file, Buffer.concat([writer.header, ...records]));
  const args = ["replay", file, "-c", config, "--listener", "dns", "-w", "-", "--dropped", dropped];
  const child = spawn(process.execPath, [weirCommand, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  await once(child.stdout!, "data");
  child.stdout!.destroy();
  const [code] = await once(child, "close");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(packetsOf(dropped).length).toBeGreaterThan(0);
});

const erased = "\x1b[2K";

needing("script")(
  "on a terminal a replay shows how far it is, and takes that line away",
  async () => {
    const writer = new ClassicWriter(1);
    const data = frame("10.0.0.1", 53);
    const record = writer.record({ seconds: 1, nanoseconds: 0, originalLength: data.length, data });
    const file = `${folder.path}/progress.pcap`;
    writeFileSync(
      file,
      Buffer.concat([writer.header, ...Array.from({ length: 400_000 }, () => record)]),
    );
    const line = `'${process.execPath}' '${weirCommand}' replay '${file}' -c '${config}' --listener dns`;
    const { stdout } = await command("script", ["-qec", line, "/dev/null"]);
    const drawn = stdout.split("\r");
    expect(stdout).toMatch(/\[2K[\d,]+ packets, [\d.]+ MB of 24\.8 MB \(\d+%\), [\d,]+ packets\/s/);
    const last = drawn.findLast((part) => part.startsWith(erased)) ?? "";
    expect(last.slice(erased.length)).toMatch(/^\/.*→ dns/);
    const raw = await command("script", ["-qec", `${line} -w -`, "/dev/null"]);
    expect(raw.stdout).toMatch(/standard output is a terminal, and a capture is no text/);
  },
);
