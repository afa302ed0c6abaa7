import type { Instruction } from "../../isa/instruction.ts";
import { liveMap } from "../../maps/live-maps.ts";
import type { MapHandle } from "../../maps/map-handle.ts";
import { holdsMaps } from "../../object/map-rules.ts";
import type { EngineContext, LinkedProgram } from "../engine.ts";
import { helperFor } from "../helpers/helper-table.ts";
import type { Observer } from "./machine.ts";

/** One instruction of a run, as it was about to be done. */
export interface TraceStep {
  /** Whose it is: the run's own program, or one that a tail call led to. */
  readonly program: LinkedProgram;
  readonly slot: number;
  /** Functions around it. */
  readonly depth: number;
  /** r0 to r10, before it. */
  readonly registers: readonly bigint[];
  /** Of a helper's call. */
  readonly call: HelperCall | undefined;
}

/** What a helper was given and what it gave. */
export interface HelperCall {
  readonly name: string;
  readonly map: MapHandle | undefined;
  /** Copies of what map arguments pointed to. */
  readonly key: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
  /** The value that a look-up found, as it was when the helper returned. */
  found: Uint8Array | undefined;
  /** What a look-up in a map of maps found. */
  foundMap: MapHandle | undefined;
}

const registerCount = 11;

/** Records the steps of one run after another. A run's observers slow it down a hundred times. */
export class TraceRecorder {
  readonly #context: EngineContext;
  readonly #maxSteps: number;
  #steps: TraceStep[] = [];
  #count = 0;
  #depth = 0;
  #last: { readonly step: TraceStep; readonly instruction: Instruction } | undefined;

  /** Of a run longer than `maxSteps` the rest is counted only. */
  constructor(context: EngineContext, maxSteps: number) {
    this.#context = context;
    this.#maxSteps = maxSteps;
  }

  /** What to observe a program's runs with. */
  observerOf(program: LinkedProgram): Observer {
    return (slot, registers) => this.#observe(program, slot, registers);
  }

  begin(): void {
    this.#steps = [];
    this.#count = 0;
    this.#depth = 0;
    this.#last = undefined;
  }

  /** The steps since `begin`, and how many there were in all. `r0` is the run's result. */
  end(r0: bigint): { readonly steps: readonly TraceStep[]; readonly count: number } {
    this.#settle(r0);
    return { steps: this.#steps, count: this.#count };
  }

  #observe(program: LinkedProgram, slot: number, registers: Int32Array): void {
    const instruction = program.instructions[slot]!;
    this.#count++;
    const read: bigint[] = [];
    for (let i = 0; i < registerCount; i++) read.push(registerOf(registers, i));
    this.#settle(read[0]!);
    if (this.#count > this.#maxSteps) return;
    const call = this.#callOf(program, instruction, read);
    const step: TraceStep = { program, slot, depth: this.#depth, registers: read, call };
    this.#steps.push(step);
    this.#last = { step, instruction };
    if (instruction.kind === "call_local") this.#depth++;
    else if (instruction.kind === "exit") this.#depth--;
  }

  /** What the last instruction has led to. */
  #settle(r0: bigint): void {
    const call = this.#last?.step.call;
    this.#last = undefined;
    if (call?.map === undefined || call.name !== "map_lookup_elem" || r0 === 0n) return;
    if (holdsMaps(call.map.type)) call.foundMap = this.#mapAt(r0);
    else call.found = this.#copy(r0, call.map.valueSize);
  }

  #callOf(
    program: LinkedProgram,
    instruction: Instruction,
    registers: readonly bigint[],
  ): HelperCall | undefined {
    if (instruction.kind !== "call_helper") return undefined;
    const helper = helperFor(instruction.id, program.type);
    if (helper === undefined) return undefined;
    let map: MapHandle | undefined;
    let key: Uint8Array | undefined;
    let value: Uint8Array | undefined;
    for (const [i, argument] of helper.arguments.entries()) {
      const given = registers[i + 1]!;
      if (argument === "map") map = this.#mapAt(given);
      else if (argument === "map_key" && map !== undefined) key = this.#copy(given, map.keySize);
      else if (argument === "map_value" && map !== undefined)
        value = this.#copy(given, map.valueSize);
    }
    return { name: helper.name, map, key, value, found: undefined, foundMap: undefined };
  }

  /** Of the program, or what a map of maps has given it. */
  #mapAt(address: bigint): MapHandle | undefined {
    return liveMap(this.#context.arena, Number(address));
  }

  /** Bytes at an address that a program gave; undefined where it is none. */
  #copy(address: bigint, size: number): Uint8Array | undefined {
    const { bytes } = this.#context.arena;
    if (address < 65_536n || address + BigInt(size) > BigInt(bytes.length)) return undefined;
    return bytes.slice(Number(address), Number(address) + size);
  }
}

function registerOf(registers: Int32Array, i: number): bigint {
  return (BigInt(registers[2 * i + 1]! >>> 0) << 32n) | BigInt(registers[2 * i]! >>> 0);
}
