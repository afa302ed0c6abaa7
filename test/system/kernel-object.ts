import { readFileSync } from "node:fs";
import { toHex } from "../../src/common/bytes.ts";
import type { EngineKind, Executable } from "../../src/engine/engine.ts";
import { Workbench } from "../../src/filter/workbench.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec } from "../../src/object/object-spec.ts";
import { kernelAnswers } from "./kernel.ts";

/** One run of a program: the bytes of its global `io` beforehand, and a packet. */
export interface ObjectRun {
  readonly program: string;
  readonly io: Uint8Array;
  readonly packet: Uint8Array;
}

/**
 * What the kernel makes of each run: `RETVAL PACKET IO` in hex, or "-" and the error number where
 * BPF_PROG_TEST_RUN refused it.
 */
export function kernelRuns(object: string, runs: readonly ObjectRun[]): string[] {
  const lines = runs.flatMap(({ program, io, packet }) => [
    `update .bss 00000000 ${toHex(io)}`,
    `run ${program} ${toHex(packet)}`,
    "show .bss",
  ]);
  const answers = kernelAnswers(object, lines);
  return runs.map((_, i) => {
    const { ret, data, error } = answers[i * 3 + 1]!;
    const [entry] = answers[i * 3 + 2]!.entries!;
    return error === undefined ? `${ret!.toString(16)} ${data} ${entry![1]}` : `- ${error}`;
  });
}

/** The same object here, in the same words. */
export class OurObject {
  readonly #bench: Workbench;
  readonly #object: ObjectSpec;
  readonly #maps: readonly MapHandle[];
  readonly #engine: EngineKind;
  readonly #ready = new Map<string, Executable>();

  private constructor(
    bench: Workbench,
    object: ObjectSpec,
    maps: readonly MapHandle[],
    engine: EngineKind,
  ) {
    this.#bench = bench;
    this.#object = object;
    this.#maps = maps;
    this.#engine = engine;
  }

  static async open(file: string, engine: EngineKind): Promise<OurObject> {
    const bench = value(await Workbench.create());
    const object = value(loadObject(readFileSync(file), file));
    return new OurObject(bench, object, value(bench.createMaps(object.maps)), engine);
  }

  get programs(): string[] {
    return this.#object.programs.map(({ name }) => name);
  }

  run({ program, io, packet }: ObjectRun): string {
    const spec = this.#object.programs.find(({ name }) => name === program);
    if (spec === undefined) throw new Error(`no program ${program}`);
    const globals = this.#maps.findIndex(({ name }) => name === ".bss");
    const access = this.#bench.access(this.#maps[globals]!);
    const key = new Uint8Array(4);
    const before = new Uint8Array(this.#maps[globals]!.valueSize);
    before.set(io);
    access.update(key, before);
    let executable = this.#ready.get(program);
    if (executable === undefined) {
      executable = value(
        this.#bench.prepare(spec, this.#maps, undefined, this.#engine, { object: this.#object }),
      );
      this.#ready.set(program, executable);
    }
    const { returned, data, fault } = value(this.#bench.run(executable, packet));
    if (fault !== undefined) return `fault at ${fault.slot}: ${fault.message}`;
    const after = access.lookup(key)!;
    return `${BigInt.asUintN(32, returned).toString(16)} ${toHex(data)} ${toHex(after[0]!)}`;
  }
}

function value<T>(result: { ok: true; value: T } | { ok: false; error: Error }): T {
  if (!result.ok) throw result.error;
  return result.value;
}
