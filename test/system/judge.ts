import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/common/bytes.ts";
import type { EngineKind, LoadedObject } from "../../src/index.ts";
import { loadObject } from "../../src/index.ts";
import { temporaryFolder } from "../support/processes.ts";

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
  "queue",
  "stack",
];

/** The kernel, asked through judge.c, which is built once. */
export class Kernel {
  readonly #folder = temporaryFolder();
  readonly #judge = `${this.#folder.path}/judge`;

  constructor() {
    const source = fileURLToPath(new URL("judge.c", import.meta.url));
    const flags = ["-O1", "-Wall", "-Wextra", "-Werror"];
    const built = spawnSync("clang", [...flags, source, "-o", this.#judge, "-lbpf"]);
    if (built.status !== 0) throw new Error(String(built.stderr));
  }

  judge({ file, fillings, runs }: Judged): Judgement {
    const lines = [
      ...fillings.map(({ map, key, value }) =>
        typeof value === "string"
          ? `slot ${map} ${toHex(key)} ${value}`
          : `update ${map} ${toHex(key)} ${toHex(value)}`,
      ),
      ...runs.map(({ program, packet }) => `run ${program} ${toHex(packet)}`),
      "maps",
    ];
    const { status, stdout, stderr } = spawnSync(this.#judge, [file], {
      input: `${lines.join("\n")}\n`,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    if (status !== 0) throw new Error(`judge ${file}: ${status}: ${stderr.slice(-2000)}`);
    const answers = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Answer);
    for (const [i, filling] of fillings.entries())
      if (answers[i]!.error !== 0) throw new Error(`${filling.map}: error ${answers[i]!.error}`);
    const { maps } = answers.at(-1)!;
    const shown = Object.entries(maps!).map(([name, entries]) => [
      name.slice(Math.max(0, name.indexOf("."))),
      entries.map((entry) => entry.join("=")).sort(),
    ]);
    return {
      runs: answers
        .slice(fillings.length, -1)
        .map(({ ret, data, error }) => (error === undefined ? `${ret} ${data}` : `- ${error}`)),
      maps: Object.fromEntries(shown),
    };
  }

  remove(): void {
    this.#folder.remove();
  }
}

interface Answer {
  readonly ret?: number;
  readonly data?: string;
  readonly error?: number;
  readonly maps?: Readonly<Record<string, readonly (readonly [string, string])[]>>;
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
    for (const { map, bytes } of events)
      records.set(map, [...(records.get(map) ?? []), `=${toHex(bytes)}`]);
    return fault === undefined ? `${returned} ${toHex(data)}` : `fault: ${fault.message}`;
  });
  const maps = Object.fromEntries(
    kernelMaps.map((name) => [name, (records.get(name) ?? entriesOf(object, name)).sort()]),
  );
  return { runs: answers, maps };
}

function entriesOf(object: LoadedObject, name: string): string[] {
  const map = object.map(name);
  if (!shownTypes.includes(map.type)) throw new Error(`${name} is a ${map.type}`);
  if (map.type === "ringbuf") return [];
  if (map.type !== "queue" && map.type !== "stack")
    return [...map.entriesBytes()].map(([key, value]) => `${toHex(key)}=${toHex(value)}`);
  const entries: string[] = [];
  for (let value = map.getBytes(); value !== undefined; value = map.getBytes()) {
    entries.push(`=${toHex(value)}`);
    map.pop();
  }
  return entries;
}
