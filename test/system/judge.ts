import { toHex } from "../../src/common/bytes.ts";
import type { EngineKind, LoadedObject } from "../../src/index.ts";
import { loadObject } from "../../src/index.ts";
import { kernelAnswers } from "./kernel.ts";

/** An entry put into a map before the first packet: bytes, or for a prog_array a program's name. */
export interface Filling {
  readonly map: string;
  readonly key: Uint8Array;
  readonly value: Uint8Array | string;
}

/** An object, what its maps hold at first, and the packets that each program gets, in turn. */
export interface Judged {
  readonly file: string;
  readonly fillings: readonly Filling[];
  readonly runs: readonly { readonly program: string; readonly packet: Uint8Array }[];
}

/** What came of it: of each run `RETURNED BYTES`, and each map's entries in the order of their keys. */
export interface Judgement {
  readonly runs: readonly string[];
  readonly maps: Readonly<Record<string, readonly string[]>>;
}

/** The CPU that judge.c stays on, as the kernel's events name it; here there is one only. */
const kernelCpu = "00000000";

/** Map types whose entries both sides show. */
const shownTypes: readonly string[] = [
  "array",
  "hash",
  "lru_hash",
  "lpm_trie",
  "percpu_array",
  "percpu_hash",
  "lru_percpu_hash",
  "ringbuf",
  "perf_event_array",
  "queue",
  "stack",
];

/** What the kernel makes of it. */
export function judgeInKernel({ file, fillings, runs }: Judged): Judgement {
  const answers = kernelAnswers(file, [
    ...fillings.map(({ map, key, value }) =>
      typeof value === "string"
        ? `slot ${map} ${toHex(key)} ${value}`
        : `update ${map} ${toHex(key)} ${toHex(value)}`,
    ),
    ...runs.map(({ program, packet }) => `run ${program} ${toHex(packet)}`),
    "maps",
  ]);
  for (const [i, filling] of fillings.entries())
    if (answers[i]!.error !== 0) throw new Error(`${filling.map}: error ${answers[i]!.error}`);
  const { maps } = answers.at(-1)!;
  const shown = Object.entries(maps!).map(([name, entries]) => [
    name.slice(Math.max(0, name.indexOf("."))),
    entries.map(([key, value]) => `${key}=${value}`).sort(),
  ]);
  return {
    runs: answers
      .slice(fillings.length, -1)
      .map(({ ret, data, error }) => (error === undefined ? `${ret} ${data}` : `- ${error}`)),
    maps: Object.fromEntries(shown),
  };
}

/** The same here, in the same words. */
export async function judgeHere(
  { file, fillings, runs }: Judged,
  engine: EngineKind,
  kernelMaps: readonly string[],
): Promise<Judgement> {
  using object = await loadObject(file, { engine });
  for (const { map, key, value } of fillings) object.map(map).set(key, value);
  const records = new Map<string, string[]>();
  const answers = runs.map(({ program, packet }) => {
    const { returned, data, fault, events } = object.program(program).run(packet);
    for (const { map, bytes } of events) {
      const shown =
        object.map(map).type === "ringbuf"
          ? `=${toHex(bytes)}`
          : `${kernelCpu}=${toHex(paddedSample(bytes))}`;
      records.set(map, [...(records.get(map) ?? []), shown]);
    }
    return fault === undefined ? `${returned} ${toHex(data)}` : `fault: ${fault.message}`;
  });
  const maps = Object.fromEntries(
    kernelMaps.map((name) => [name, (records.get(name) ?? entriesOf(object, name)).sort()]),
  );
  return { runs: answers, maps };
}

/** A perf sample as the kernel writes it: with its length of 4 bytes in front a multiple of 8. */
function paddedSample(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil((bytes.length + 4) / 8) * 8 - 4);
  padded.set(bytes);
  return padded;
}

function entriesOf(object: LoadedObject, name: string): string[] {
  const map = object.map(name);
  if (!shownTypes.includes(map.type)) throw new Error(`${name} is a ${map.type}`);
  if (map.type === "ringbuf" || map.type === "perf_event_array") return [];
  if (map.type !== "queue" && map.type !== "stack")
    return [...map.entriesBytes()].map(([key, value]) => `${toHex(key)}=${toHex(value)}`);
  const entries: string[] = [];
  for (let value = map.getBytes(); value !== undefined; value = map.getBytes()) {
    entries.push(`=${toHex(value)}`);
    map.pop();
  }
  return entries;
}
