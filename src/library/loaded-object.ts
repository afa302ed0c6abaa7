/// <reference lib="esnext.disposable" preserve="true" />
import { fileURLToPath } from "node:url";
import { u32le } from "../common/bytes.ts";
import { orList, suggestion } from "../common/closest.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { readBounded } from "../config/read-file.ts";
import type { Executable } from "../engine/engine.ts";
import type { EngineKind } from "../engine/engine-kind.ts";
import { jitTooLarge } from "../engine/jit/jit.ts";
import type { ProgramSlot } from "../filter/program-arrays.ts";
import { Workbench } from "../filter/workbench.ts";
import type { MapAccess } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { formatTyped, parseTyped } from "../maps/typed.ts";
import { type InnerMap, withInnerMap } from "../maps/with-inner-map.ts";
import { maxObjectBytes } from "../object/elf.ts";
import { globalNames, setGlobal } from "../object/globals.ts";
import { loadObject as readObject } from "../object/load-object.ts";
import {
  type ObjectSpec,
  type ProgramType,
  programTypes,
  refusalOf,
  type VariableSpec,
} from "../object/object-spec.ts";
import {
  callback,
  checkArgument,
  checkOptions,
  isBytes,
  type Kind,
  oneOf,
  record,
  text,
  wholeNumber,
} from "./arguments.ts";
import { LoadedMap, type References } from "./loaded-map.ts";
import { LoadedProgram, type Runner } from "./loaded-program.ts";

/** How to load an object. */
export interface LoadOptions {
  /** Global variables by name, set before programs are verified: `const volatile` ones too. */
  readonly globals?: Readonly<Record<string, unknown>>;
  /** Absent: the JIT, and the interpreter for programs that are too large for it. */
  readonly engine?: EngineKind;
  /** Maps to be made as a map of maps declares those it holds, by name; `map(outer).set(key, name)` puts them there. */
  readonly innerMaps?: Readonly<Record<string, Omit<InnerMap, "name">>>;
  /** What `bpf_ktime_get_ns` gives, asked before each run. Default: nanoseconds since loading. */
  readonly nowNs?: () => bigint;
  /** Most bytes that maps and all take together. Default: 512 MiB. */
  readonly memoryBytes?: number;
  /** The object's name in messages, where it is given as bytes. */
  readonly file?: string;
}

/** A `file:` URL: `new URL("guard.o", import.meta.url)`. Any `URL` is one, whoever declares that. */
export interface FileUrl {
  /** All of it. */
  readonly href: string;
}

/**
 * Loads an eBPF object that clang built (`-target bpf`), from a file or from its bytes, with its maps.
 * Nothing needs root, and the kernel is asked for nothing. Rejects with a UserError that says where,
 * what and how to mend it.
 */
export async function loadObject(
  source: string | FileUrl | Uint8Array,
  options: LoadOptions = {},
): Promise<LoadedObject> {
  checkOptions("loadObject, options", options, loadOptions);
  const { file, bytes } = readSource(source, options.file);
  let object = value(readObject(bytes, file));
  for (const [name, given] of Object.entries(options.globals ?? {}))
    object = value(setGlobal(object, name, asWritten(given)));
  for (const [name, inner] of Object.entries(options.innerMaps ?? {})) {
    const where = `loadObject, options.innerMaps.${name}`;
    checkOptions(where, inner, innerMapOptions);
    checkArgument(`${where}.outer`, inner.outer, text);
    object = value(withInnerMap(object, { ...inner, name }));
  }
  const trace: string[] = [];
  const { nowNs, memoryBytes } = options;
  const bench = value(
    await Workbench.create({
      trace: (line) => trace.push(line),
      ...(nowNs !== undefined && { nowNs: checkedClock(nowNs) }),
      ...(memoryBytes !== undefined && { memoryBytes }),
    }),
  );
  const maps = value(bench.createMaps(object.maps));
  return LoadedObject.of({ object, bench, maps, trace, engine: options.engine });
}

const engineKinds: readonly EngineKind[] = ["jit", "interpreter"];
const loadOptions: Readonly<Record<keyof LoadOptions, Kind>> = {
  globals: record,
  engine: oneOf(engineKinds),
  innerMaps: record,
  nowNs: callback,
  memoryBytes: wholeNumber,
  file: text,
};
const innerMapOptions = { outer: text, maxEntries: wholeNumber };
const judgingTypes = oneOf(programTypes.filter((type) => type !== "raw"));

/** The caller's clock, whose every answer is looked at. */
function checkedClock(nowNs: () => unknown): () => bigint {
  return () => {
    const now = nowNs();
    if (typeof now === "bigint" && now === BigInt.asUintN(64, now)) return now;
    throw new UserError(
      "ARGUMENT_TYPE",
      "loadObject, options.nowNs",
      `gave ${String(now)}, which is no unsigned 64-bit bigint`,
      "return a bigint such as 1_000_000_000n",
    );
  };
}

/** What a loaded object is made of. */
interface Parts {
  readonly object: ObjectSpec;
  readonly bench: Workbench;
  readonly maps: readonly MapHandle[];
  /** Lines that the run under way has printed. */
  readonly trace: string[];
  readonly engine: EngineKind | undefined;
}

/** A program that was asked for, and the type that stood in for its section's. */
interface Prepared {
  readonly executable: Executable;
  readonly type: ProgramType | undefined;
}

/** An object with its maps and globals, on which its programs run: one state for all of them. */
export class LoadedObject {
  /** Names of the programs, in the object's order. */
  readonly programs: readonly string[];
  /** Names of the maps that the source declares, apart from those that cannot be here (a sockmap). */
  readonly maps: readonly string[];
  /** Names of the global variables. */
  readonly globals: readonly string[];
  #parts: Parts | undefined;
  readonly #ready = new Map<string, Prepared>();
  /** What a caller put into prog_arrays. */
  #chosen: readonly ProgramSlot[] = [];

  private constructor(parts: Parts) {
    const { programs, maps } = parts.object;
    this.#parts = parts;
    this.programs = programs.map(({ name }) => name);
    this.maps = maps.filter(({ dataSection }) => dataSection === undefined).map(({ name }) => name);
    this.globals = globalNames(parts.object);
  }

  /**
   * What `loadObject` gives.
   * @internal
   */
  static of(parts: Parts): LoadedObject {
    return new LoadedObject(parts);
  }

  /**
   * Verifies a program and makes it ready to run, on its first use. Without a name: the only one there
   * is. `type` stands in for what its section says. Throws the verifier's UserError where it refuses.
   */
  program(name?: string, type?: Exclude<ProgramType, "raw">): LoadedProgram {
    const { object } = this.#alive();
    if (type !== undefined) checkArgument("program, type", type, judgingTypes);
    const spec =
      name === undefined && object.programs.length === 1
        ? object.programs[0]
        : object.programs.find((candidate) => candidate.name === name);
    if (spec === undefined)
      throw new UserError(
        "OBJECT_NO_PROGRAM",
        object.file,
        name === undefined ? `has ${this.programs.length} programs` : `has no program "${name}"`,
        `name one of ${this.programs.join(", ")}`,
      );
    const key = `${type ?? ""} ${spec.name}`;
    let prepared = this.#ready.get(key);
    if (prepared === undefined) {
      prepared = { executable: this.#prepare(spec.name, type), type };
      this.#ready.set(key, prepared);
    }
    return LoadedProgram.of(prepared.executable, this.#run);
  }

  /**
   * A map by name. The types of its keys and values are the caller's to say: what they are at run time
   * is in the object's BTF.
   */
  map<Key = unknown, Value = unknown>(name: string): LoadedMap<Key, Value> {
    const { object, maps } = this.#alive();
    const index = object.maps.findIndex((map) => map.name === name);
    const spec = object.maps[index];
    const refusal = refusalOf(object, name);
    if (refusal !== undefined)
      throw new UserError(refusal.code, object.file, refusal.what, refusal.fix);
    if (spec === undefined)
      throw new UserError(
        "MAP_UNKNOWN",
        object.file,
        `has no map "${name}"`,
        this.maps.length === 0 ? undefined : `it has ${this.maps.join(", ")}`,
      );
    const access = () => this.#alive().bench.access(maps[index]!);
    return LoadedMap.of(spec, object.btf, access, this.#references(index));
  }

  /** What a global variable holds now, by its BTF type as values of maps are. */
  getGlobal(name: string): unknown {
    const { object } = this.#alive();
    const { type, offset, size, map } = this.#variable(name);
    const bytes = this.#section(map).subarray(offset, offset + size);
    return formatTyped(object.btf, type, bytes);
  }

  /**
   * Sets a global variable between runs. Those that programs may not write (`const volatile`) are known
   * to the verifier: they are `globals` of `loadObject`.
   */
  setGlobal(name: string, given: unknown): void {
    const { object, bench, maps } = this.#alive();
    const { type, offset, size, map } = this.#variable(name);
    const where = `${object.file}, global "${name}"`;
    if (object.maps[map]!.readOnly)
      throw new UserError(
        "GLOBAL_READ_ONLY",
        where,
        "is constant once the object is loaded",
        `load the object with globals: { ${name}: … }`,
      );
    const bytes = parseTyped(object.btf, type, size, asWritten(given));
    if (!bytes.ok) {
      const { code, where: within, what, fix, detail } = bytes.error;
      throw new UserError(code, `${where}${within.slice("value".length)}`, what, fix, detail);
    }
    const section = this.#section(map);
    section.set(bytes.value, offset);
    bench.access(maps[map]!).initialize(new Uint8Array(4), section);
  }

  /** Lets go of all memory. Whatever came of this object throws when it is used afterwards. */
  dispose(): void {
    this.#parts = undefined;
    this.#ready.clear();
  }

  /** `using object = await loadObject(…)` disposes of it at the end of its block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): Parts {
    if (this.#parts === undefined)
      throw new UserError("OBJECT_DISPOSED", "object", "was disposed of", "load it again");
    return this.#parts;
  }

  #prepare(name: string, type: ProgramType | undefined): Executable {
    const { object, bench, maps, engine } = this.#alive();
    const spec = object.programs.find((candidate) => candidate.name === name)!;
    const on = (kind: EngineKind): Result<Executable, UserError> => {
      const executable = bench.prepare(spec, maps, type, kind, { object });
      if (!executable.ok) return executable;
      const filled = bench.fillProgramArrays(object, executable.value, maps, this.#chosen, type);
      return filled.ok ? executable : filled;
    };
    const executable = on(engine ?? "jit");
    if (!executable.ok && engine === undefined && executable.error.code === jitTooLarge)
      return value(on("interpreter"));
    return value(executable);
  }

  readonly #run: Runner = (executable, packet, ctx) => {
    const { bench, maps, trace } = this.#alive();
    trace.length = 0;
    const outcome = value(bench.run(executable, packet, 1, ctx));
    const events = bench.readEvents(maps).map(({ map, bytes }) => ({ map, bytes }));
    return { outcome, trace: [...trace], events };
  };

  #variable(name: string): VariableSpec {
    const { object } = this.#alive();
    const variable = object.variables.find((candidate) => candidate.name === name);
    if (variable !== undefined) return variable;
    throw new UserError(
      "GLOBAL_UNKNOWN",
      object.file,
      `no global variable "${name}"`,
      this.globals.length === 0 ? undefined : `it has ${this.globals.join(", ")}`,
    );
  }

  /** A copy of a data section. */
  #section(map: number): Uint8Array {
    const { bench, maps } = this.#alive();
    return bench.access(maps[map]!).lookup(new Uint8Array(4))![0]!;
  }

  #references(map: number): References {
    const { object, maps } = this.#alive();
    const { type } = object.maps[map]!;
    const others = (index: number) =>
      this.#chosen.filter((s) => s.map !== map || s.index !== index);
    return {
      putProgram: (key, name) => {
        const index = u32le(key, 0);
        this.#choose([...others(index), { map, index, program: String(name) }]);
      },
      removeProgram: (key) => {
        const kept = others(u32le(key, 0));
        const isFound = kept.length < this.#chosen.length;
        this.#chosen = kept;
        return isFound;
      },
      putMap: (key, name) => {
        const access = this.#alive().bench.access(maps[map]!);
        return access.putMap(key, value(this.#innerMap(access, name)));
      },
      nameOf: (key, stored) => {
        if (type === "prog_array") return this.#slotName(map, u32le(key, 0));
        if (object.maps[map]!.inner === undefined) return undefined;
        return maps.find(({ descriptor }) => descriptor === u32le(stored, 0))?.name;
      },
    };
  }

  /** The map of this name, where the map of maps takes it. */
  #innerMap(outer: MapAccess, name: unknown): Result<MapHandle, UserError> {
    const { object, maps } = this.#alive();
    const where = `map ${outer.handle.name}, value`;
    const refuse = (code: string, what: string, fix: string | undefined) =>
      err(new UserError(code, where, what, fix));
    const fitting = maps
      .filter((map) => this.maps.includes(map.name) && outer.takes(map))
      .map((map) => map.name);
    if (typeof name !== "string")
      return refuse(
        "MAP_INNER",
        "the value of a map of maps is a map",
        fitting.length === 0 ? "the object has none that fits" : `give ${orList(fitting)}`,
      );
    const refusal = refusalOf(object, name);
    if (refusal !== undefined) return refuse(refusal.code, refusal.what, refusal.fix);
    const inner = maps.find((map) => map.name === name);
    if (inner === undefined)
      return refuse(
        "MAP_UNKNOWN",
        `${object.file} has no map ${JSON.stringify(name)}`,
        suggestion(name, fitting, "the object has none that fits"),
      );
    if (!outer.takes(inner))
      return refuse(
        "MAP_INNER",
        `map ${name} is not like those that it holds`,
        "give one of the type, sizes and flags that its object declares",
      );
    return ok(inner);
  }

  /** The program in a slot of a prog_array: what a caller put there, else what the object did. */
  #slotName(map: number, index: number): string | undefined {
    const chosen = this.#chosen.find((slot) => slot.map === map && slot.index === index);
    if (chosen !== undefined) return chosen.program;
    return this.#alive().object.maps[map]!.slots.find((slot) => slot.index === index)?.name;
  }

  /** Programs that are prepared later find what is chosen now; those prepared already get it at once. */
  #choose(chosen: readonly ProgramSlot[]): void {
    const { object, bench, maps } = this.#alive();
    for (const { executable, type } of this.#ready.values())
      value(bench.fillProgramArrays(object, executable, maps, chosen, type));
    this.#chosen = chosen;
  }
}

const sourceKind: Kind = {
  what: "a file's path, its URL, or bytes",
  holds: (given) =>
    text.holds(given) || (record.holds(given) && text.holds((given as Partial<FileUrl>).href)),
};

function readSource(
  source: string | FileUrl | Uint8Array,
  name = "object",
): { readonly file: string; readonly bytes: Uint8Array } {
  if (isBytes(source)) return { file: name, bytes: source };
  checkArgument("loadObject, source", source, sourceKind);
  const file = typeof source === "string" ? source : pathOf(source);
  const bytes = readBounded(file, maxObjectBytes);
  if (!bytes.ok) throw new UserError("OBJECT_UNREADABLE", file, bytes.error.what, bytes.error.fix);
  return { file, bytes: bytes.value };
}

function pathOf({ href }: FileUrl): string {
  try {
    return fileURLToPath(href);
  } catch {
    throw new UserError("OBJECT_UNREADABLE", href, "is no file", "give a file: URL");
  }
}

/** Bytes as the text that stands for them in a config. */
function asWritten(given: unknown): unknown {
  return isBytes(given) ? `hex:${Buffer.from(given).toString("hex")}` : given;
}

/** A Result's value; its error is thrown: what a caller of a library expects. */
function value<T>(result: Result<T, UserError>): T {
  if (!result.ok) throw result.error;
  return result.value;
}
