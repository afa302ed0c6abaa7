import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { parseHex } from "../../src/common/bytes.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { needing } from "../support/needing.ts";
import { expectAsKernel, judgedPrograms } from "./expect-as-kernel.ts";
import type { Filling } from "./judge.ts";
import { buildProgram } from "./truth-rig.ts";

const test = needing("clang", "root", "kernel bpf()");
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
  { name: "core-layouts", fillings: [] },
])
  test(`the kernel gives each program of ${name}.c the same verdict, bytes and maps`, async () => {
    await expectAsKernel(buildProgram(name), { fillings });
  });

test("the kernel gives programs the same maps that are declared as libbpf and iproute2 did of old", async () => {
  const fillings = [0, 2].map((index) => ({
    map: "jumps",
    key: Uint8Array.of(index, 0, 0, 0),
    value: "target",
  }));
  const inKernel = buildProgram("judge-legacy");
  await expectAsKernel(inKernel, { fillings });
  for (const form of ["-DLEGACY", "-DIPROUTE2"]) {
    await expectAsKernel(buildProgram("judge-legacy", form), { fillings, inKernel });
    // Without BTF there is nothing but the section's bytes to tell what a map is.
    await expectAsKernel(buildProgram("judge-legacy", form, "-g0"), { fillings, inKernel });
  }
});

for (const cpu of ["v1", "v2"])
  test(`the kernel gives what clang builds for -mcpu=${cpu} the same verdict, bytes and maps`, async () => {
    const own = buildProgram("judge-helpers", `-mcpu=${cpu}`);
    await expectAsKernel(own);
    const legacy = [`-mcpu=${cpu}`, "-DLEGACY", "-g0"];
    const inKernel = buildProgram("judge-legacy", `-mcpu=${cpu}`);
    await expectAsKernel(buildProgram("judge-legacy", ...legacy), { inKernel });
  });

test("at least 40 programs of our own are judged", () => {
  // By name: what is built in several forms counts once.
  const names = new Set([...judgedPrograms].map((judged) => judged.split(" ")[1]));
  console.log(`kernel as judge: ${names.size} programs of our own`);
  expect(names.size).toBeGreaterThanOrEqual(40);
});

/** Entries that make the filters act on the packets above. */
const settings: Readonly<
  Record<string, { readonly fillings?: readonly Filling[]; readonly apart?: readonly string[] }>
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
  "rate-limit.o": { apart: ["sources"] },
  "syn-guard.o": { apart: ["sources"] },
  "dns-guard.o": { apart: ["asked_queries"] },
};

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
for (const name of readdirSync(filters).filter((file) => file.endsWith(".o")))
  test(`the kernel gives filters/${name} the same verdict, bytes and maps`, async () => {
    await expectAsKernel(`${filters}${name}`, settings[name]);
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
    const runs = await expectAsKernel(debian + name, { fillings });
    if (!name.startsWith("xdpfilt_")) return;
    const returned = new Set(runs.map((run) => run.split(" ")[0]));
    expect([...returned], "XDP_DROP and XDP_PASS").toEqual(expect.arrayContaining(["1", "2"]));
  });
