import type { Instruction } from "../isa/instruction.ts";
import { type Frame, type PathState, SlotSet } from "./path-state.ts";
import { asPrecise, type RegisterState } from "./register-state.ts";
import {
  type Place,
  placeFrame,
  placeRegister,
  placeSlot,
  registerPlace,
  type Trace,
} from "./trace.ts";

/**
 * Follows scalars whose exact range mattered back to where they came from, and marks them precise
 * in each checkpoint on the way. Only precise scalars must lie within a checkpoint's range when
 * another path is compared with it: that is what lets loops over data end after few visits, and
 * this is what keeps it sound.
 */
export class Precision {
  readonly #instructions: readonly Instruction[];
  readonly #trace: Trace;
  /** Of the program's shape. */
  readonly #touches: Uint16Array;
  /** Wanted registers by frame, one bit each; and wanted stack slots. */
  readonly #registers = new Int32Array(maxFrames);
  readonly #slots = Array.from({ length: maxFrames }, () => new SlotSet());
  /** Frames below this number may want something; those above want nothing. */
  #frames = 0;

  constructor(instructions: readonly Instruction[], touches: Uint16Array, trace: Trace) {
    this.#instructions = instructions;
    this.#touches = touches;
    this.#trace = trace;
  }

  /** Something relies on registers of the frame that runs, one bit each, as they are after the path's last step. */
  markRegisters(state: PathState, mask: number): void {
    this.#wantNothing(state);
    this.#registers[state.depth] = mask;
    this.#follow(state);
  }

  /** The same of any register or stack slot. */
  markPlace(state: PathState, place: Place): void {
    this.#wantNothing(state);
    this.#want(place);
    this.#follow(state);
  }

  /** The same of all places where `from`, a state of as many frames, has numbers, or numbers marked precise. */
  markScalars(state: PathState, from: PathState, onlyPrecise: boolean): void {
    this.#wantNothing(state);
    for (let number = 0; number < from.frames.length; number++) {
      const { registers, stack } = from.frames[number] as Frame;
      let mask = 0;
      for (let r = 0; r < 10; r++) {
        const held = registers[r] as RegisterState;
        if (held.kind === "scalar" && (held.precise || !onlyPrecise)) mask |= 1 << r;
      }
      this.#registers[number] = mask;
      const slots = this.#slots[number]!;
      for (let slot = 0; slot < stack.length; slot++) {
        const held = stack[slot]?.register;
        if (held?.kind === "scalar" && (held.precise || !onlyPrecise)) slots.add(slot);
      }
    }
    if (!this.#nothingWanted()) this.#follow(state);
  }

  /** Back along the path, checkpoint by checkpoint, until nothing is wanted any more. */
  #follow(state: PathState): void {
    let step = state.step;
    for (let at = state.parent; at !== undefined; at = at.state.parent) {
      const until = at.state.step;
      for (;;) {
        step = this.#trace.backTo(step, until, this.#touches, this.#registers);
        if (step === until) break;
        this.#back(step);
        if (this.#nothingWanted()) return;
        step = this.#trace.previous(step);
      }
      this.#markCheckpoint(at.state);
      if (this.#nothingWanted()) return;
    }
  }

  /**
   * Where what these places hold after the path's last step came from one of `known`, which has, by
   * step, places that were given a value then; the last of them.
   */
  originAmong<Known extends { readonly place: Place }>(
    state: PathState,
    places: readonly Place[],
    known: ReadonlyMap<number, readonly Known[]>,
  ): Known | undefined {
    if (known.size === 0) return undefined;
    this.#wantNothing(state);
    for (const place of places) this.#want(place);
    for (let step = state.step; step >= 0 && !this.#nothingWanted(); ) {
      const found = known.get(step)?.find(({ place }) => this.#wants(place));
      if (found !== undefined) return found;
      this.#back(step);
      step = this.#trace.previous(step);
    }
    return undefined;
  }

  #wantNothing(state: PathState): void {
    for (let i = 0; i < this.#frames; i++) {
      this.#registers[i] = 0;
      this.#slots[i]!.clear();
    }
    this.#frames = state.frames.length;
  }

  #want(place: Place): void {
    const slot = placeSlot(place);
    const frame = placeFrame(place);
    if (slot < 0) this.#registers[frame]! |= 1 << placeRegister(place);
    else this.#slots[frame]!.add(slot);
  }

  #wants(place: Place): boolean {
    const slot = placeSlot(place);
    const frame = placeFrame(place);
    if (slot < 0) return (this.#registers[frame]! & (1 << placeRegister(place))) !== 0;
    return this.#slots[frame]!.has(slot);
  }

  #nothingWanted(): boolean {
    for (let i = 0; i < this.#frames; i++)
      if (this.#registers[i] !== 0 || !this.#slots[i]!.empty) return false;
    return true;
  }

  /** Whatever is wanted and not marked yet is marked; what is marked already was followed then. */
  #markCheckpoint(state: PathState): void {
    for (let i = 0; i < maxFrames; i++) {
      const frame = state.frames[i];
      const mask = this.#registers[i]!;
      if (mask !== 0) {
        for (let r = 0; r < 10; r++)
          if ((mask & (1 << r)) !== 0 && !(frame && markRegister(frame, r)))
            this.#registers[i]! &= ~(1 << r);
        this.#registers[i]! &= 0x3ff;
      }
      const slots = this.#slots[i]!;
      if (slots.empty) continue;
      for (let slot = 0; slot < 64; slot++)
        if (slots.has(slot) && !(frame && markSlot(frame, slot))) slots.delete(slot);
    }
  }

  /** What is wanted before the step, given what is wanted after it. */
  #back(step: number): void {
    const trace = this.#trace;
    const instruction = trace.leaves(step) ? exit : this.#instructions[trace.slot(step)]!;
    const depth = trace.depth(step);
    // Backwards, a function's end comes before its frame is known of.
    if (depth >= this.#frames) this.#frames = depth + 1;
    const linked = trace.linked(step);
    if (linked !== undefined) this.#spread(linked);
    if (trace.callback(step)) this.#backOverCallback(instruction, depth);
    else this.#backOver(instruction, depth, trace.stackPlace(step));
    if (linked !== undefined) this.#spread(linked);
  }

  #spread(linked: readonly (readonly Place[])[]): void {
    for (const places of linked)
      if (places.some((place) => this.#wants(place))) for (const place of places) this.#want(place);
  }

  #backOver(instruction: Instruction, depth: number, stackPlace: Place): void {
    const registers = this.#registers;
    const mask = registers[depth]!;
    switch (instruction.kind) {
      case "alu": {
        if ((mask & (1 << instruction.dst)) === 0) return;
        if (instruction.op === "mov") registers[depth]! &= ~(1 << instruction.dst);
        if ("register" in instruction.src) registers[depth]! |= 1 << instruction.src.register;
        return;
      }
      case "move_signed":
        if ((mask & (1 << instruction.dst)) === 0) return;
        registers[depth] = (mask & ~(1 << instruction.dst)) | (1 << instruction.src);
        return;
      case "load_immediate":
      case "load_map":
      case "load_map_value":
      case "load_variable":
      case "load_function":
        registers[depth] = mask & ~(1 << instruction.dst);
        return;
      case "load":
        if ((mask & (1 << instruction.dst)) === 0) return;
        registers[depth] = mask & ~(1 << instruction.dst);
        if (stackPlace >= 0) this.#want(stackPlace);
        return;
      case "store": {
        if (stackPlace < 0 || !this.#wants(stackPlace)) return;
        this.#slots[placeFrame(stackPlace)]!.delete(placeSlot(stackPlace));
        if ("register" in instruction.src)
          this.#want(registerPlace(depth, instruction.src.register));
        return;
      }
      case "atomic":
        if (instruction.fetch)
          registers[depth] = mask & ~(1 << (instruction.op === "cmpxchg" ? 0 : instruction.src));
        return;
      case "load_packet":
        registers[depth] = mask & ~0x3f;
        return;
      case "branch": {
        if (!("register" in instruction.src)) return;
        const both = (1 << instruction.dst) | (1 << instruction.src.register);
        if ((mask & both) !== 0) registers[depth] = mask | both;
        return;
      }
      case "call_helper":
      case "call_register":
      case "call_local":
        this.#backOverCall(depth);
        return;
      case "exit":
        this.#backOverExit(depth);
        return;
      default:
        return;
    }
  }

  /**
   * Back from the function's first instruction to the call, or over a call that was not entered.
   * A function's r1 to r5 were its caller's.
   */
  #backOverCall(depth: number): void {
    const inside = this.#registers[depth + 1] ?? 0;
    const entered = (inside & 0x3e) !== 0;
    this.#registers[depth]! &= ~0x3f;
    if (depth + 1 < maxFrames) {
      this.#registers[depth + 1] = 0;
      this.#slots[depth + 1]!.clear();
    }
    if (entered) this.#registers[depth]! |= 0x3e;
  }

  /**
   * Into or out of a callback. The caller's registers stay as they are, for the call is done again;
   * what the callback was given came from them.
   */
  #backOverCallback(instruction: Instruction, depth: number): void {
    if (instruction.kind === "exit") {
      this.#registers[depth] = 0;
      this.#slots[depth]!.clear();
      return;
    }
    if ((this.#registers[depth + 1]! & 0x3e) !== 0) this.#registers[depth]! |= 0x3e;
    this.#registers[depth + 1] = 0;
    this.#slots[depth + 1]!.clear();
  }

  /** Back from a call's return into the function: its r0 became the caller's. */
  #backOverExit(depth: number): void {
    if (depth === 0) return;
    const caller = this.#registers[depth - 1]!;
    this.#registers[depth - 1] = caller & ~0x3f;
    this.#registers[depth] = caller & 1;
    this.#slots[depth]!.clear();
  }
}

const maxFrames = 8;

/** What a step does that leaves its function without one. */
export const exit: Instruction = { kind: "exit" };

function markRegister(frame: Frame, register: number): boolean {
  const held = frame.registers[register] as RegisterState;
  if (held.kind !== "scalar" || held.precise) return false;
  frame.registers[register] = asPrecise(held);
  return true;
}

function markSlot(frame: Frame, slot: number): boolean {
  const held = frame.stack[slot];
  const register = held?.register;
  if (held === undefined || register?.kind !== "scalar" || register.precise) return false;
  frame.setSlot(slot, { bytes: held.bytes, register: asPrecise(register) });
  return true;
}
