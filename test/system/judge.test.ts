import { createReadStream, existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";
import { parseHex } from "../../src/common/bytes.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { readCapture } from "../../src/pcap/read-capture.ts";
import { corpus } from "../support/corpora.ts";
import { needing } from "../support/needing.ts";
import { type Filling, judgeHere, judgeInKernel } from "./judge.ts";
import { packets as ours } from "./skb-packets.ts";
import { buildProgram } from "./truth-rig.ts";

const test = needing("clang", "root", "kernel bpf()");
const engines = ["interpreter", "jit"] as const;
const ethernet = 1;
/** BPF_PROG_TEST_RUN takes no longer frame for XDP: a page less headroom and skb_shared_info. */
const mostFrameBytes = 3520;
const mostCaptured = 40;

let packets: readonly Uint8Array[];
const compared = { runs: 0, maps: 0 };
/** File and name of each. */
const judgedPrograms = new Set<string>();

beforeAll(async () => {
  packets = [...Object.values(ours), ...(await capturedPackets())];
});

afterAll(() => {
  const { runs, maps } = compared;
  const programs = judgedPrograms.size;
  if (programs === 0) return;
  console.log(
    `kernel as judge: ${programs} programs, ${packets.length} packets, ${runs} comparisons of a program, a packet and an engine, ${maps} of a map`,
  );
});

/** Frames of a capture of many protocols, where the corpora are there. */
async function capturedPackets(): Promise<Uint8Array[]> {
  const file = corpus("pcap/mix.pcap");
  const captured: Uint8Array[] = [];
  if (file === undefined) return captured;
  for await (const { linkType, data } of readCapture(createReadStream(file), file)) {
    if (linkType !== ethernet || data.length < 14 || data.length > mostFrameBytes) continue;
    captured.push(new Uint8Array(data));
    if (captured.length === mostCaptured) break;
  }
  expect(captured.length).toBe(mostCaptured);
  return captured;
}

/**
 * Runs all programs of an object on all packets, in the kernel and on both engines. `timed` are maps
 * whose values hold the time, of which the kernel's clock and ours have two. `inKernel` is the same
 * source in a form that libbpf reads. Returns the kernel's runs.
 */
async function expectAsKernel(
  file: string,
  fillings: readonly Filling[] = [],
  timed: readonly string[] = [],
  inKernel = file,
): Promise<readonly string[]> {
  const object = loadObject(readFileSync(file), file);
  if (!object.ok) throw object.error;
  // The kernel's test run starts socket filters behind the Ethernet header; here they see all of it.
  const programs = object.value.programs
    .filter(({ type }) => type !== "socket")
    .map(({ name }) => name);
  expect(programs).not.toEqual([]);
  const types = new Map(object.value.programs.map(({ name, type }) => [name, type]));
  const runs = programs.flatMap((program) => packets.map((packet) => ({ program, packet })));
  const judged = { file, fillings, runs };
  const expected = judgeInKernel({ ...judged, file: inKernel });
  const names = Object.keys(expected.maps).filter(
    (name) => !name.startsWith(".rodata") && name !== ".kconfig" && !timed.includes(name),
  );
  for (const program of programs) judgedPrograms.add(`${file} ${program}`);
  for (const engine of engines) {
    const here = await judgeHere(judged, engine, names);
    for (const [i, { program }] of runs.entries()) {
      const seen = types.get(program) === "cgroup_skb" ? fromNetworkHeader : asItIs;
      expect(seen(here.runs[i]!), `${program} on the ${engine}, packet ${i % packets.length}`).toBe(
        seen(expected.runs[i]!),
      );
    }
    for (const name of names)
      expect(here.maps[name], `map ${name} on the ${engine}`).toEqual(expected.maps[name]);
    compared.runs += runs.length;
    compared.maps += names.length;
  }
  return expected.runs;
}

const asItIs = (run: string): string => run;
/** The kernel's test run wipes the Ethernet header of programs that begin behind it. */
const fromNetworkHeader = (run: string): string => run.replace(/ .{28}/, " ");

const bytes = (hex: string): Uint8Array => parseHex(hex)!;
const device = { key: bytes("01000000"), value: bytes("01000000") };

for (const { name, fillings } of [
  {
    name: "judge-maps",
    fillings: [
      { map: "devices", ...device },
      { map: "device_hash", ...device },
      { map: "calls", key: bytes("03000000"), value: "on_array" },
    ],
  },
  { name: "judge-code", fillings: [] },
  { name: "judge-helpers", fillings: [] },
  { name: "tail-calls", fillings: [] },
])
  test(`the kernel gives each program of ${name}.c the same verdict, bytes and maps`, async () => {
    await expectAsKernel(buildProgram(name), fillings);
  });

test("the kernel gives programs the same maps that are declared as libbpf and iproute2 did of old", async () => {
  const fillings = [0, 2].map((index) => ({
    map: "jumps",
    key: Uint8Array.of(index, 0, 0, 0),
    value: "target",
  }));
  const inKernel = buildProgram("judge-legacy");
  await expectAsKernel(inKernel, fillings);
  for (const form of ["-DLEGACY", "-DIPROUTE2"]) {
    await expectAsKernel(buildProgram("judge-legacy", form), fillings, [], inKernel);
    // Without BTF there is nothing but the section's bytes to tell what a map is.
    await expectAsKernel(buildProgram("judge-legacy", form, "-g0"), fillings, [], inKernel);
  }
});

for (const cpu of ["v1", "v2"])
  test(`the kernel gives what clang builds for -mcpu=${cpu} the same verdict, bytes and maps`, async () => {
    const own = buildProgram("judge-helpers", `-mcpu=${cpu}`);
    await expectAsKernel(own);
    const legacy = [`-mcpu=${cpu}`, "-DLEGACY", "-g0"];
    const inKernel = buildProgram("judge-legacy", `-mcpu=${cpu}`);
    await expectAsKernel(buildProgram("judge-legacy", ...legacy), [], [], inKernel);
  });

test("at least 40 programs of our own are judged", () => {
  // By name: what is built in several forms counts once.
  const names = new Set([...judgedPrograms].map((judged) => judged.split(" ")[1]));
  console.log(`kernel as judge: ${names.size} programs of our own`);
  expect(names.size).toBeGreaterThanOrEqual(40);
});

/** Entries that make the filters act on the packets above. */
const settings: Readonly<
  Record<string, { readonly fillings?: readonly Filling[]; readonly timed?: readonly string[] }>
> = {
  "blocklist.o": {
    fillings: [
      { map: "blocked", key: bytes("18000000c0000200"), value: bytes("07000000") },
      {
        map: "blocked6",
        key: bytes("2000000020010db8000000000000000000000000"),
        value: bytes("09000000"),
      },
    ],
  },
  // Token buckets and queries hold when they were last seen.
  "rate-limit.o": { timed: ["sources"] },
  "syn-guard.o": { timed: ["sources"] },
  "dns-guard.o": { timed: ["asked_queries"] },
};

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
for (const name of readdirSync(filters).filter((file) => file.endsWith(".o")))
  test(`the kernel gives filters/${name} the same verdict, bytes and maps`, async () => {
    const { fillings, timed } = settings[name] ?? {};
    await expectAsKernel(`${filters}${name}`, fillings, timed);
  });

const multiarch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
const debian = `/usr/lib/${multiarch}/bpf/`;

/** xdp-filter's flags: source 1, destination 2, TCP 4, UDP 8. */
function xdpFilterFillings(maps: readonly string[]): Filling[] {
  const both = bytes("0f00000000000000");
  return [
    { map: "filter_ports", key: bytes("00350000"), value: both },
    { map: "filter_ports", key: bytes("00500000"), value: both },
    { map: "filter_ipv4", key: bytes("c0000201"), value: both },
    { map: "filter_ipv6", key: bytes("20010db8000000000000000000000001"), value: both },
    { map: "filter_ethernet", key: bytes("000000000000"), value: both },
  ].filter(({ map }) => maps.includes(map));
}

// xdpdump_bpf.o attaches to functions of a running kernel: it judges no packets.
const debianObjects = existsSync(debian)
  ? readdirSync(debian).filter((name) => name.endsWith(".o") && name !== "xdpdump_bpf.o")
  : [];
needing("xdp-filter")("Debian's XDP objects are there to be judged", () => {
  expect(debianObjects.filter((name) => name.startsWith("xdpfilt_"))).toHaveLength(10);
});
for (const name of debianObjects)
  test(`the kernel gives Debian's ${basename(name)} the same verdict, bytes and maps`, async () => {
    const object = loadObject(readFileSync(debian + name), name);
    if (!object.ok) throw object.error;
    const fillings = xdpFilterFillings(object.value.maps.map((map) => map.name));
    const runs = await expectAsKernel(debian + name, fillings);
    if (!name.startsWith("xdpfilt_")) return;
    const returned = new Set(runs.map((run) => run.split(" ")[0]));
    expect([...returned], "XDP_DROP and XDP_PASS").toEqual(expect.arrayContaining(["1", "2"]));
  });
