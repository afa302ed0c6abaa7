import { createReadStream, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect } from "vitest";
import { loadObject } from "../../src/object/load-object.ts";
import { readCapture } from "../../src/pcap/read-capture.ts";
import { corpus } from "../support/corpora.ts";
import { type Filling, judgeHere, judgeInKernel } from "./judge.ts";
import { packets as ours } from "./skb-packets.ts";

const engines = ["interpreter", "jit"] as const;
const ethernet = 1;
/** BPF_PROG_TEST_RUN takes no longer frame for XDP: a page less headroom and skb_shared_info. */
const mostFrameBytes = 3520;
const mostCaptured = 40;

let packets: readonly Uint8Array[];
const compared = { runs: 0, maps: 0 };
/** File and name of each. */
export const judgedPrograms = new Set<string>();

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

interface JudgedWith {
  readonly fillings?: readonly Filling[];
  /** Maps that are not compared: their values hold the time, of which the kernel's clock and ours have two. */
  readonly apart?: readonly string[];
  /** The same source in a form that libbpf reads. */
  readonly inKernel?: string;
  /** Programs that are not run. */
  readonly without?: readonly string[];
  /** Frames of our own making alone. */
  readonly oursOnly?: boolean;
}

/** Runs all programs of an object on all packets, in the kernel and on both engines. Returns the kernel's runs. */
export async function expectAsKernel(
  file: string,
  { fillings = [], apart = [], inKernel = file, without = [], oursOnly = false }: JudgedWith = {},
): Promise<readonly string[]> {
  const object = loadObject(readFileSync(file), file);
  if (!object.ok) throw object.error;
  // The kernel's test run starts socket filters behind the Ethernet header; here they see all of it.
  const programs = object.value.programs
    .filter(({ name, type }) => type !== "socket" && !without.includes(name))
    .map(({ name }) => name);
  expect(programs).not.toEqual([]);
  const types = new Map(object.value.programs.map(({ name, type }) => [name, type]));
  const frames = oursOnly ? Object.values(ours) : packets;
  const runs = programs.flatMap((program) => frames.map((packet) => ({ program, packet })));
  const judged = { file, fillings, runs };
  const expected = judgeInKernel({ ...judged, file: inKernel });
  const names = Object.keys(expected.maps).filter(
    (name) => !name.startsWith(".rodata") && name !== ".kconfig" && !apart.includes(name),
  );
  for (const program of programs) judgedPrograms.add(`${file} ${program}`);
  for (const engine of engines) {
    const here = await judgeHere(judged, engine, names);
    for (const [i, { program }] of runs.entries()) {
      const seen = types.get(program) === "cgroup_skb" ? fromNetworkHeader : asItIs;
      expect(seen(here.runs[i]!), `${program} on the ${engine}, packet ${i % frames.length}`).toBe(
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
