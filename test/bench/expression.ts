/**
 * Nanoseconds a packet of expression filters, beside libpcap's own interpreter, and how fast captures
 * are read, in one run:
 *
 *     npm run bench:expression
 *
 * All go over the same 32 packets, as many as a worker has slots, from a capture that both read.
 * Medians of rounds in which all take turns, in CPU time of the thread. "run" is the call for each
 * packet that the proxy makes, "batch" one call for all; "verified" is the JIT's code for programs
 * that the verifier has proven, "checked" with checks of its own. "classic" is our interpreter of
 * classic BPF, which `weir filter match` uses. Needs clang, and libpcap's shared library, which comes
 * with tcpdump.
 *
 * The project's seed quotes eBPF as 1.5 to 4 times faster than classic BPF: "gain" is our figure,
 * libpcap's time by that of the verified batch.
 */
import { spawnSync } from "node:child_process";
import { createReadStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileExpression } from "../../src/cbpf/compile-expression.ts";
import { runClassic } from "../../src/cbpf/interpreter.ts";
import { maxChainedHeaders, translateClassic } from "../../src/cbpf/translate.ts";
import type { Executable } from "../../src/engine/engine.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { placeFrame } from "../../src/engine/packet-slot.ts";
import { Flow } from "../../src/packet/flow.ts";
import { writeTcpFrame, writeUdpFrame } from "../../src/packet/synthesis.ts";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { readCapture } from "../../src/pcap/read-capture.ts";
import { SLOT_BYTES, SLOT_RETURN_LOW } from "../../src/runtime/wasm/layout.ts";
import { EngineBench, spec, unwrap } from "../engine/engine-bench.ts";
import { temporaryFolder } from "../support/processes.ts";
import { threadNs } from "./thread-time.ts";

const rounds = 9;
/** Turns over all packets that libpcap makes. */
const turns = 50_000;
/** What one measure of ours takes at least. */
const minNs = 30e6;
const readPackets = 2_000_000;

const expressions = [
  "ip",
  "udp port 53",
  "udp port 53 and not src net 10.0.0.0/8",
  "host 10.0.0.1 and (port 80 or port 443)",
  "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src and dst net 127.0.0.0/8",
  "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
  Array.from({ length: 30 }, (_, i) => `host 10.0.${i}.7`).join(" or "),
];

const columns = [
  "libpcap",
  "verified batch",
  "verified run",
  "checked batch",
  "checked run",
  "classic",
] as const;

const folder = temporaryFolder();
try {
  await main(folder.path);
} finally {
  folder.remove();
}

async function main(path: string): Promise<void> {
  const file = join(path, "packets.pcap");
  const packets = samplePackets();
  writeFileSync(file, captureOf(packets));
  compare(path, file, packets);
  const large = join(path, "large.pcap");
  writeFileSync(
    large,
    captureOf(
      packets.map((packet) => packet.subarray(0, 64)),
      readPackets,
    ),
  );
  await measureReading(large);
}

/** DNS, web and other traffic of some hosts, over IPv4 and IPv6: the same in every run. */
function samplePackets(): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let i = 0; i < 32; i++) {
    const [from, to] =
      i % 4 === 3 ? [`2001:db8::${i}`, "2001:db8::1"] : [`10.0.${i}.7`, "10.0.0.1"];
    const source = { address: i % 5 === 4 ? to : from, port: 1024 + i };
    const port = [53, 80, 443, 5353][(i * 7) % 4]!;
    const destination = { address: i % 5 === 4 ? from : to, port };
    const bytes = new Uint8Array(2048);
    const isUdp = port === 53 || port === 5353;
    const flow = new Flow(isUdp ? "udp" : "tcp", source, destination);
    const payload = (i * 97) % 1400;
    const segment = { sequence: i, acknowledgement: i, flags: i % 6 === 0 ? 2 : 16, window: 1000 };
    const length = isUdp
      ? writeUdpFrame(bytes, 0, flow, payload)
      : writeTcpFrame(bytes, 0, flow, segment, payload);
    packets.push(bytes.subarray(0, length));
  }
  return packets;
}

/** The packets as classic pcap, over and over to `count` of them. */
function captureOf(packets: readonly Uint8Array[], count = packets.length): Uint8Array {
  const writer = new ClassicWriter(1, "microseconds");
  const records = packets.map((data, seconds) =>
    writer.record({ seconds, nanoseconds: 0, originalLength: data.length, data }),
  );
  const all = Array.from({ length: count }, (_, i) => records[i % records.length]!);
  return Buffer.concat([writer.header, ...all]);
}

function compare(path: string, file: string, packets: readonly Uint8Array[]): void {
  const bench = new EngineBench(jit, 64 << 20);
  const first = unwrap(bench.arena.allocate(SLOT_BYTES * packets.length, "slots"));
  for (const [i, packet] of packets.entries())
    unwrap(placeFrame(bench.arena, first + i * SLOT_BYTES, packet, "socket"));
  const libpcap = libpcapRunner(path, file);
  const rows = expressions.map((expression) => ({
    expression,
    measures: measuresOf(expression, bench, first, packets),
    samples: new Map<string, number[]>(columns.map((name) => [name, []])),
  }));
  for (let round = -1; round < rounds; round++) {
    const theirs = libpcap();
    for (const [i, { expression, measures, samples }] of rows.entries()) {
      const { matches, ns } = theirs[i]!;
      const results: [string, number][] = [["libpcap", ns]];
      for (const [name, one] of Object.entries(measures)) {
        if (one.matches() !== matches)
          throw new Error(`${expression}: ${one.matches()} by ${name}, ${matches} by libpcap`);
        results.push([name, timed(one.turn, packets.length)]);
      }
      // The first round warms up.
      if (round >= 0) for (const [name, sample] of results) samples.get(name)!.push(sample);
    }
  }
  const shown = rows.map(({ expression, samples }) => {
    const of = (name: string): number => median(samples.get(name)!);
    const cells = columns.map((name) => [name, of(name).toFixed(1)] as const);
    return {
      expression: expression.length > 40 ? `${expression.slice(0, 39)}…` : expression,
      ...Object.fromEntries(cells),
      gain: (of("libpcap") / of("verified batch")).toFixed(2),
    };
  });
  console.table(shown);
}

/** Nanoseconds a packet and number of matches, for each of the expressions. */
function libpcapRunner(path: string, file: string): () => { matches: number; ns: number }[] {
  const runner = join(path, "expression-libpcap");
  const source = fileURLToPath(new URL("expression-libpcap.c", import.meta.url));
  run("clang", ["-O2", "-Wall", "-Werror", source, "-o", runner, "-l:libpcap.so.0.8"]);
  return () =>
    run(runner, [file, String(turns)], `${expressions.join("\n")}\n`)
      .trim()
      .split("\n")
      .map((line) => {
        const [matches, ns] = line.split(" ").map(Number);
        return { matches: matches!, ns: ns! };
      });
}

function run(command: string, args: readonly string[], input = ""): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr} (${status})`);
  return stdout;
}

interface Measure {
  /** Goes over all packets once. */
  readonly turn: () => void;
  /** How many of them match. */
  readonly matches: () => number;
}

function measuresOf(
  expression: string,
  { arena, context }: EngineBench,
  first: number,
  packets: readonly Uint8Array[],
): Record<Exclude<(typeof columns)[number], "libpcap">, Measure> {
  const classic = unwrap(compileExpression(expression, { linkType: "EN10MB", maxChainedHeaders }));
  const translated = unwrap(translateClassic(classic, "expression"));
  const linked = unwrap(linkProgram(spec(translated), [], "socket"));
  const checked = unwrap(jit({ ...linked, verified: false }, context));
  const verified = unwrap(jit(linked, context));
  const count = packets.length;
  const batch = (one: Executable): Measure => {
    const turn = (): void => void one.runBatch!(first, SLOT_BYTES, count);
    const matches = (): number => {
      turn();
      return packets.filter((_, i) => arena.words[(first + i * SLOT_BYTES + SLOT_RETURN_LOW) >> 2])
        .length;
    };
    return { turn, matches };
  };
  const each = (one: Executable): Measure => ({
    turn: () => {
      for (let i = 0; i < count; i++) one.run(first + i * SLOT_BYTES);
    },
    matches: () => packets.filter((_, i) => one.run(first + i * SLOT_BYTES) !== 0).length,
  });
  const records = packets.map((data) => ({ data, length: data.length }));
  return {
    "verified batch": batch(verified),
    "verified run": each(verified),
    "checked batch": batch(checked),
    "checked run": each(checked),
    classic: {
      turn: () => {
        for (const record of records) runClassic(classic, record);
      },
      matches: () => records.filter((record) => runClassic(classic, record) !== 0).length,
    },
  };
}

/** Nanoseconds a packet in CPU time of this thread, which the kernel counts in steps of some milliseconds. */
function timed(turn: () => void, packets: number): number {
  for (let count = 1000; ; count *= 2) {
    const start = threadNs();
    for (let i = 0; i < count; i++) turn();
    const ns = threadNs() - start;
    if (ns >= minNs) return ns / (count * packets);
  }
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1]!;
}

async function measureReading(file: string): Promise<void> {
  const rates: number[] = [];
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    let packets = 0;
    for await (const _ of readCapture(createReadStream(file), file)) packets++;
    if (packets !== readPackets) throw new Error(`${packets} of ${readPackets} packets were read`);
    rates.push(packets / (performance.now() - start) / 1000);
  }
  const rate = median(rates).toFixed(1);
  console.log(`reading pcap: ${rate} million packets of 64 bytes at most a second`);
}
