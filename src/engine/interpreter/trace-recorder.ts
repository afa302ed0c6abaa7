import type { Instruction } from "../../isa/instruction.ts";
import { liveMap } from "../../maps/live-maps.ts";
import type { MapHandle } from "../../maps/map-handle.ts";
import { holdsMaps } from "../../object/map-rules.ts";
import { SLOT_DATA, SLOT_DATA_END } from "../../runtime/wasm/layout.ts";
import type { HelperSignature } from "../../verifier/helper-signature.ts";
import { type EngineContext, frameBytes, framesBytes, type LinkedProgram } from "../engine.ts";
import { helperFor } from "../helpers/helper-table.ts";
import { hiddenBytes } from "../socket-context.ts";
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
  /** Where the packet lay: programs move its ends. The same object as before where they are. */
  readonly packet: PacketEnds;
  /** Of a helper's call. */
  readonly call: HelperCall | undefined;
}

/** Addresses of the packet's first byte, as the program has it, and of what follows its last. */
export interface PacketEnds {
  readonly data: number;
  readonly end: number;
}

/** What a helper was given and what it gave. */
export interface HelperCall {
  readonly helper: HelperSignature;
  readonly map: MapHandle | undefined;
  /** Copies of what map arguments pointed to. */
  readonly key: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
  /** The value that a look-up found, or a queue gave, as it was when the helper returned. */
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
  #slot = 0;
  #packet: PacketEnds = { data: 0, end: 0 };
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

  /** A run begins on a packet slot. */
  begin(slot: number): void {
    this.#steps = [];
    this.#count = 0;
    this.#slot = slot;
    this.#last = undefined;
  }

  /** The steps since `begin`, and how many there were in all. `r0` is the run's result. */
  end(r0: bigint): { readonly steps: readonly TraceStep[]; readonly count: number } {
    this.#settle(r0);
    return { steps: this.#steps, count: this.#count };
  }

  #observe(program: LinkedProgram, slot: number, registers: Int32Array): void {
    const instruction = program.instructions[slot];
    // The exit behind the program, for a packet load that ends its function, is none of its own.
    if (instruction === undefined) return;
    this.#count++;
    const read: bigint[] = [];
    for (let i = 0; i < registerCount; i++) read.push(registerOf(registers, i));
    this.#settle(read[0]!);
    if (this.#count > this.#maxSteps) return;
    const call = this.#callOf(program, instruction, read);
    const depth = this.#depthOf(read[10]!);
    const step = { program, slot, depth, registers: read, packet: this.#endsFor(program), call };
    this.#steps.push(step);
    this.#last = { step, instruction };
  }

  /** By the frame: functions are entered and left by calls, callbacks and tail calls. */
  #depthOf(framePointer: bigint): number {
    return (this.#context.stack + framesBytes - Number(framePointer)) / frameBytes;
  }

  #endsFor({ type }: LinkedProgram): PacketEnds {
    const { words } = this.#context.arena;
    const data = words[(this.#slot + SLOT_DATA) >> 2]! + hiddenBytes(type);
    const end = words[(this.#slot + SLOT_DATA_END) >> 2]!;
    if (data !== this.#packet.data || end !== this.#packet.end) this.#packet = { data, end };
    return this.#packet;
  }

  /** What the last instruction has led to. */
  #settle(r0: bigint): void {
    const step = this.#last?.step;
    this.#last = undefined;
    if (step?.call?.map === undefined) return;
    const { call } = step;
    const map = step.call.map;
    const filled = call.helper.arguments.indexOf("writable_map_value");
    if (filled >= 0 && r0 === 0n)
      call.found = this.#copy(step.registers[filled + 1]!, map.valueSize);
    if (call.helper.returns !== "map_value_or_null" || r0 === 0n) return;
    if (holdsMaps(map.type)) call.foundMap = this.#mapAt(r0);
    else call.found = this.#copy(r0, map.valueSize);
  }

  #callOf(
    program: LinkedProgram,
    instruction: Instruction,
    registers: readonly bigint[],
  ): HelperCall | undefined {
    const id = helperId(instruction, registers);
    const helper = id === undefined ? undefined : helperFor(id, program.type);
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
    return { helper, map, key, value, found: undefined, foundMap: undefined };
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

function helperId(instruction: Instruction, registers: readonly bigint[]): number | undefined {
  if (instruction.kind === "call_helper") return instruction.id;
  return instruction.kind === "call_register" ? Number(registers[instruction.target]) : undefined;
}

function registerOf(registers: Int32Array, i: number): bigint {
  return (BigInt(registers[2 * i + 1]! >>> 0) << 32n) | BigInt(registers[2 * i]! >>> 0);
}
