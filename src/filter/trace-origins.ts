import type { TraceStep } from "../engine/interpreter/trace-recorder.ts";
import type { Instruction, Register } from "../isa/instruction.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { contextAccessOf } from "../verifier/context-rules.ts";

/** What a pointer points into. */
export type Origin =
  /** The packet or its metadata; `packet_end`: made of what the context calls its end. */
  | { readonly kind: "packet" | "packet_end" }
  | { readonly kind: "context"; readonly start: bigint }
  /** A function's frame: how deep the function is, and its frame pointer. */
  | { readonly kind: "stack"; readonly depth: number; readonly start: bigint }
  | { readonly kind: "map"; readonly map: MapHandle }
  /** An entry's value, its key in a walk over the map, or a record reserved in a ring buffer. */
  | {
      readonly kind: "value" | "key" | "record";
      readonly map: MapHandle;
      readonly start: bigint;
    }
  | { readonly kind: "function" };

/** By register, r0 to r10; undefined of plain numbers. */
export type Origins = readonly (Origin | undefined)[];

const none: Origins = Array.from({ length: 11 }, () => undefined);
const packet: Origin = { kind: "packet" };

/**
 * What the registers pointed into before each step. A number does not tell: a packet lies at small
 * addresses, and a count of bytes may be one of them. So pointers are followed from where a program
 * gets them, as the verifier does: context, frame, maps and helpers, then moves, sums and spills.
 */
export function originsOf(steps: readonly TraceStep[]): Origins[] {
  const follower = new Follower();
  return steps.map((step, i) => follower.before(step, steps[i - 1]));
}

/** A function that waits for one that it has called, by itself or through a helper. */
interface Caller {
  readonly step: TraceStep;
  readonly origins: Origins;
}

interface Spill {
  readonly origin: Origin;
  /** What helpers write over it is no longer this. */
  readonly value: bigint;
}

class Follower {
  #origins: Origins = none;
  /** By depth. */
  readonly #callers: Caller[] = [];
  /** By address: pointers that a program has put onto its stack. */
  readonly #spills = new Map<bigint, Spill>();

  /** Of a step that came after `last`. */
  before(step: TraceStep, last: TraceStep | undefined): Origins {
    if (last === undefined || isTailCall(last, step)) this.#origins = this.#ofProgram(step);
    else if (step.depth > last.depth) this.#enter(step, last);
    else if (step.depth < last.depth) this.#leave(step);
    else if (endsFunction(last, step)) this.#origins = this.#ofCallback(step);
    else this.#follow(step, last);
    return this.#origins;
  }

  #ofProgram(step: TraceStep): Origins {
    this.#forgetFrame(step);
    const start = step.registers[1]!;
    const first: Origin = step.program.type === "raw" ? packet : { kind: "context", start };
    return none.with(1, first).with(10, frameOf(step));
  }

  #enter(step: TraceStep, last: TraceStep): void {
    this.#callers[last.depth] = { step: last, origins: this.#origins };
    if (last.call !== undefined) {
      this.#origins = this.#ofCallback(step);
      return;
    }
    this.#forgetFrame(step);
    this.#origins = this.#origins.with(10, frameOf(step));
  }

  /** A function of the program, called by a helper. */
  #ofCallback(step: TraceStep): Origins {
    this.#forgetFrame(step);
    const { step: calling, origins } = this.#callers[step.depth - 1]!;
    const own = none.with(10, frameOf(step));
    const { map } = calling.call!;
    if (map === undefined) return own.with(2, origins[3]);
    return own
      .with(1, { kind: "map", map })
      .with(2, { kind: "key", map, start: step.registers[2]! })
      .with(3, { kind: "value", map, start: step.registers[3]! })
      .with(4, origins[3]);
  }

  #leave(step: TraceStep): void {
    const { step: calling, origins } = this.#callers[step.depth]!;
    // A helper that calls back returns a number.
    this.#origins = origins.with(0, calling.call === undefined ? this.#origins[0] : undefined);
  }

  #forgetFrame(step: TraceStep): void {
    const top = step.registers[10]!;
    for (const address of this.#spills.keys())
      if (address >= top - 512n && address < top) this.#spills.delete(address);
  }

  #follow(step: TraceStep, last: TraceStep): void {
    const instruction = instructionAt(last);
    const { registers } = last;
    switch (instruction.kind) {
      case "alu":
        this.#set(instruction.dst, this.#ofSum(instruction));
        return;
      case "move_signed":
      case "negate":
      case "byte_order":
      case "load_immediate":
      case "load_variable":
        this.#set(instruction.dst, undefined);
        return;
      case "load_map":
        this.#set(instruction.dst, { kind: "map", map: last.program.maps[instruction.map]! });
        return;
      case "load_map_value": {
        const start = step.registers[instruction.dst]! - BigInt(instruction.offset);
        const map = last.program.maps[instruction.map]!;
        this.#set(instruction.dst, { kind: "value", map, start });
        return;
      }
      case "load_function":
        this.#set(instruction.dst, { kind: "function" });
        return;
      case "load":
        this.#set(instruction.dst, this.#ofLoad(instruction, step, last));
        return;
      case "store": {
        const { base, offset, size, src } = instruction;
        const at = registers[base]! + BigInt(offset);
        this.#overwrite(base, at, size);
        if (size !== 8 || this.#origins[base]?.kind !== "stack" || !("register" in src)) return;
        const origin = this.#origins[src.register];
        if (origin !== undefined) this.#spills.set(at, { origin, value: registers[src.register]! });
        return;
      }
      case "atomic":
        this.#overwrite(
          instruction.base,
          registers[instruction.base]! + BigInt(instruction.offset),
          instruction.size,
        );
        if (instruction.fetch)
          this.#set(instruction.op === "cmpxchg" ? (0 as Register) : instruction.src, undefined);
        return;
      case "load_packet":
      case "call_helper":
      case "call_register":
        this.#set(0 as Register, resultOf(step, last));
        return;
      case "call_local":
      case "call_btf":
      case "jump":
      case "branch":
      case "exit":
      case "second_slot":
        return;
      default:
        instruction satisfies never;
    }
  }

  #set(register: Register, origin: Origin | undefined): void {
    if (this.#origins[register] !== origin) this.#origins = this.#origins.with(register, origin);
  }

  #ofSum({ op, width, dst, src }: Instruction & { kind: "alu" }): Origin | undefined {
    if (width === 32) return undefined;
    const right = "register" in src ? this.#origins[src.register] : undefined;
    if (op === "mov") return right;
    const left = this.#origins[dst];
    if (op === "add") return left === undefined ? right : right === undefined ? left : undefined;
    return op === "sub" && right === undefined ? left : undefined;
  }

  #ofLoad(
    { base, offset, size, dst }: Instruction & { kind: "load" },
    step: TraceStep,
    last: TraceStep,
  ): Origin | undefined {
    const origin = this.#origins[base];
    const at = last.registers[base]! + BigInt(offset);
    if (origin?.kind === "context") {
      const fields = contextAccessOf(last.program.type, last.program.onDevmap)?.pointers;
      const field = fields?.get(Number(at - origin.start));
      if (field === "packet_end") return { kind: field };
      return field === "packet" || field === "packet_meta" ? packet : undefined;
    }
    if (origin?.kind !== "stack" || size !== 8) return undefined;
    const spill = this.#spills.get(at);
    return spill?.value === step.registers[dst] ? spill?.origin : undefined;
  }

  #overwrite(base: Register, at: bigint, size: number): void {
    if (this.#origins[base]?.kind !== "stack") return;
    for (let address = at - 7n; address < at + BigInt(size); address++)
      this.#spills.delete(address);
  }
}

/** What r0 points into after a helper's call. */
function resultOf({ registers }: TraceStep, { call }: TraceStep): Origin | undefined {
  const start = registers[0]!;
  if (call?.map === undefined || start === 0n) return undefined;
  if (call.foundMap !== undefined) return { kind: "map", map: call.foundMap };
  if (call.helper.returns === "map_value_or_null") return { kind: "value", map: call.map, start };
  return call.helper.returns === "reserved_memory_or_null"
    ? { kind: "record", map: call.map, start }
    : undefined;
}

function frameOf({ depth, registers }: TraceStep): Origin {
  return { kind: "stack", depth, start: registers[10]! };
}

function instructionAt({ program, slot }: TraceStep): Instruction {
  return program.instructions[slot]!;
}

/** Whether a function has ended before `after`, which is a step at its depth: a callback's next turn. */
function endsFunction(step: TraceStep, after: TraceStep): boolean {
  const { kind } = instructionAt(step);
  return kind === "exit" || (kind === "load_packet" && after.slot !== step.slot + 1);
}

/** Whether a step is the first of a program that took the place of the one before. */
export function isTailCall({ program, slot, call }: TraceStep, after: TraceStep): boolean {
  return call?.helper.tailCall === true && (after.program !== program || after.slot !== slot + 1);
}
