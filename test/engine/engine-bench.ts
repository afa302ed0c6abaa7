import type { Result } from "../../src/common/result.ts";
import {
  type Engine,
  type EngineContext,
  type Executable,
  type Fault,
  type LinkedProgram,
  stackBytes,
} from "../../src/engine/engine.ts";
import { placeFrame } from "../../src/engine/packet-slot.ts";
import { assemble } from "../../src/isa/assembler.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import { createMap, releaseMap } from "../../src/maps/create-map.ts";
import { MapAccess } from "../../src/maps/map-access.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { MapSpec, MapType, ProgramSpec, ProgramType } from "../../src/object/object-spec.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../../src/runtime/instantiate.ts";
import {
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_DATA_META,
  SLOT_FLAGS,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RETURN_LOW,
  SLOT_WROTE,
} from "../../src/runtime/wasm/layout.ts";
import { linkUnverified } from "./unverified.ts";

/** What one run left behind. */
export interface Run {
  /** All 64 bits of r0. */
  readonly r0: bigint;
  readonly fault: Fault | undefined;
  /** The packet between data and data_end, and the metadata before it. */
  readonly data: Uint8Array;
  readonly meta: Uint8Array;
  readonly wrote: boolean;
  readonly redirect: { readonly ifindex: number; readonly flags: number };
}

const module = await compileRuntime();

/** An engine with all it needs to run one program after another: an arena, a slot, a stack. */
export class EngineBench {
  readonly arena: Arena;
  readonly slot: number;
  readonly context: EngineContext;
  readonly traced: string[] = [];
  readonly #engine: Engine;

  constructor(engine: Engine, arenaBytes = 8 << 20, random = (): number => 0xdeadbeef) {
    this.#engine = engine;
    this.arena = unwrap(Arena.create(arenaBytes));
    this.slot = unwrap(this.arena.allocate(SLOT_BYTES, "slot"));
    this.context = {
      arena: this.arena,
      runtime: instantiateRuntime(module, this.arena),
      cpu: 0,
      stack: unwrap(this.arena.allocate(stackBytes, "stack")),
      clock: { low: -2, high: 7 },
      random,
      trace: (line) => this.traced.push(line),
    };
  }

  map(type: MapType, spec: Partial<MapSpec> = {}): MapHandle {
    return unwrap(createMap(mapSpec(type, spec), this.arena, this.context.runtime, 2));
  }

  /** One more of the same engine, whose arena may grow to so many bytes. */
  another(arenaBytes: number): EngineBench {
    return new EngineBench(this.#engine, arenaBytes);
  }

  release(map: MapHandle): void {
    releaseMap(map, this.arena);
  }

  access(map: MapHandle): MapAccess {
    return new MapAccess(map, this.arena, this.context.runtime);
  }

  prepare(
    program: string | readonly Instruction[],
    type: ProgramType,
    maps: readonly MapHandle[] = [],
    cpu = 0,
  ): Executable {
    return this.prepareLinked(unwrap(linkUnverified(spec(program), maps, type)), cpu);
  }

  prepareLinked(program: LinkedProgram, cpu = 0): Executable {
    return unwrap(this.#engine(program, { ...this.context, cpu }));
  }

  /** Puts the packet into the slot and runs once. */
  run(executable: Executable, data: Uint8Array): Run {
    unwrap(placeFrame(this.arena, this.slot, data, executable.program.type));
    return this.runAgain(executable);
  }

  /** Runs on the slot as it is. */
  runAgain(executable: Executable): Run {
    executable.run(this.slot);
    const { view, bytes } = this.arena;
    const word = (at: number): number => view.getUint32(this.slot + at, true);
    return {
      r0: view.getBigUint64(this.slot + SLOT_RETURN_LOW, true),
      fault: executable.fault,
      data: bytes.slice(word(SLOT_DATA), word(SLOT_DATA_END)),
      meta: bytes.slice(word(SLOT_DATA_META), word(SLOT_DATA)),
      wrote: (word(SLOT_FLAGS) & SLOT_WROTE) !== 0,
      redirect: { ifindex: word(SLOT_REDIRECT_IFINDEX), flags: word(SLOT_REDIRECT_FLAGS) },
    };
  }
}

/** A map as an object would declare it. */
export function mapSpec(type: MapType, spec: Partial<MapSpec> = {}): MapSpec {
  return {
    name: type,
    type,
    keySize: 4,
    valueSize: 8,
    maxEntries: 4,
    flags: 0,
    pinning: "none",
    keyType: undefined,
    valueType: undefined,
    readOnly: false,
    contents: [],
    dataSection: undefined,
    inner: undefined,
    slots: [],
    ...spec,
  };
}

/** A program as an object would give it. */
export function spec(program: string | readonly Instruction[], name = "test"): ProgramSpec {
  const instructions = typeof program === "string" ? assembled(program) : program;
  return {
    name,
    section: "",
    type: undefined,
    bytecode: encodeProgram(instructions),
    functions: [],
    lines: [],
  };
}

export function assembled(text: string): Instruction[] {
  const result = assemble(text);
  if (!result.ok) throw new AggregateError(result.error, `${result.error[0]}\n${text}`);
  return result.value;
}

export function unwrap<T>(result: Result<T, Error>): T {
  if (!result.ok) throw result.error;
  return result.value;
}

/** `length` bytes that differ from their neighbours: 0, 1, 2, … */
export function frame(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i);
}
