import type { Instruction } from "../../isa/instruction.ts";
import { frameBytes } from "../engine.ts";
import type { FunctionRange } from "./blocks.ts";
import type { FunctionBuilder, FunctionReference, Label } from "./function-builder.ts";
import type { FrameUse, KnownValues } from "./known-values.ts";
import type { RegisterSet } from "./register-use.ts";
import { scratch } from "./scratch.ts";
import {
  type CompiledFunction,
  countsProvenSteps,
  needsCheck,
  STOP_BUDGET,
  type Unit,
} from "./unit.ts";
import { I32, I64, i32, i64 } from "./wasm-operation.ts";

/** Parameter 0 of every function: the lowest address of its frame. */
const frameParameter = 0;
const r10 = 10;

/** Where a function's code stands in another one, in place of a call. */
export interface InPlace {
  /** The other. */
  readonly within: FunctionReference;
  /** Locals of it: the lowest address of the frame, the packet slot, what becomes of r0. */
  readonly frame: number;
  readonly slot: number;
  readonly result: number;
  /** Where its exits lead. */
  readonly exit: Label;
  /** Pushes what a register that it needs begins with. */
  readonly push: (register: number) => void;
}

/**
 * One function while it is compiled: its code, where its registers are, what is known of them. What
 * instructions become is in the files beside this one.
 */
export class FunctionEmitter {
  readonly unit: Unit;
  readonly code: FunctionBuilder;
  readonly self: CompiledFunction;
  readonly frame: FrameUse;
  /** First slot of the function. */
  readonly start: number;
  /** How many it has. */
  readonly slots: number;
  /** Of the instruction that is being compiled. */
  readonly known: KnownValues = new Int32Array(11);
  /** The instruction before it in its block. */
  previous: Instruction | undefined;
  /** Registers that are short (short-registers.ts) as they are, and behind that instruction. */
  short: RegisterSet = 0;
  shortAfter: RegisterSet = 0;
  /** Locals of registers that are short, and of all others. */
  readonly #shorts: (number | undefined)[] = new Array(r10).fill(undefined);
  readonly #registers: (number | undefined)[] = new Array(r10).fill(undefined);
  /** Some caller goes on after this function's exit, with what is left of the budget. */
  readonly chargesExit: boolean;
  readonly #usesFuel: boolean;
  #fuel: number | undefined;
  #slot: number | undefined;
  readonly #frame: number;
  readonly #inPlace: InPlace | undefined;
  #numbers: (number | undefined)[] = [];

  constructor(
    unit: Unit,
    code: FunctionBuilder,
    self: CompiledFunction,
    frame: FrameUse,
    range: FunctionRange,
    fuel: { readonly used: boolean; readonly chargedAtExit: boolean },
    short: RegisterSet,
    inPlace?: InPlace,
  ) {
    this.unit = unit;
    this.code = code;
    this.self = self;
    this.frame = frame;
    this.start = range.start;
    this.slots = range.end - range.start;
    this.#usesFuel = fuel.used;
    this.chargesExit = fuel.chargedAtExit;
    this.#frame = inPlace?.frame ?? frameParameter;
    this.#inPlace = inPlace;
    this.shortAfter = short;
    for (const [i, register] of self.needs.entries()) {
      if (inPlace !== undefined) inPlace.push(register);
      else if ((short & (1 << register)) === 0) {
        this.#registers[register] = i + 1;
        continue;
      } else code.get(i + 1);
      this.set(register);
    }
    this.short = short;
  }

  /** Whether its accesses, calls and jumps are checked. */
  get checks(): boolean {
    return needsCheck(this.unit.program);
  }

  /** Whether a register is short. */
  isShort(register: number): boolean {
    return (this.short & (1 << register)) !== 0;
  }

  /** The load right before this instruction, where that is what a register's value comes from. */
  loadOf(register: number): Extract<Instruction, { kind: "load" }> | undefined {
    const { previous } = this;
    return previous?.kind === "load" && previous.dst === register ? previous : undefined;
  }

  /** Pushes a register. */
  get(register: number): void {
    if ((this.short & (1 << register)) === 0)
      this.code.get(this.#registers[register] ?? this.#newLocal(register));
    else {
      this.getLow(register);
      this.code.emit(i64.extend_u);
    }
  }

  /** Pushes a register's low word. */
  getLow(register: number): void {
    if (register === r10) {
      this.code.get(this.#frame);
      this.code.i32(frameBytes);
      this.code.emit(i32.add);
    } else if ((this.short & (1 << register)) !== 0)
      this.code.get(this.#shorts[register] ?? this.#newShortLocal(register));
    else {
      this.code.get(this.#registers[register] ?? this.#newLocal(register));
      this.code.emit(i32.wrap);
    }
  }

  /** Pushes a register's high word. */
  getHigh(register: number): void {
    if (this.isShort(register)) {
      this.code.i32(0);
      return;
    }
    this.get(register);
    this.code.i64(32);
    this.code.emit(i64.shr_u);
    this.code.emit(i32.wrap);
  }

  /** Pops an i64 into a register. */
  set(register: number): void {
    if ((this.shortAfter & (1 << register)) !== 0) {
      this.code.emit(i32.wrap);
      this.setLow(register);
    } else {
      this.code.set(this.#registers[register] ?? this.#newLocal(register));
      this.short &= ~(1 << register);
    }
  }

  /** Pops an i32 into a register, zero-extended. */
  setLow(register: number): void {
    if ((this.shortAfter & (1 << register)) !== 0) {
      this.code.set(this.#shorts[register] ?? this.#newShortLocal(register));
      this.short |= 1 << register;
    } else {
      this.code.emit(i64.extend_u);
      this.set(register);
    }
  }

  /** Puts a number of 64 bits into a register. */
  setConstant(register: number, value: bigint): void {
    if ((this.shortAfter & (1 << register)) !== 0) {
      this.code.i32(Number(BigInt.asIntN(32, value)));
      this.setLow(register);
    } else {
      this.code.i64(BigInt.asIntN(64, value));
      this.set(register);
    }
  }

  /** Makes of short registers the others that blocks which follow take them for. */
  widen(registers: RegisterSet): void {
    for (let left = registers; left !== 0; left &= left - 1) {
      const register = 31 - Math.clz32(left & -left);
      this.get(register);
      this.code.set(this.#registers[register] ?? this.#newLocal(register));
    }
  }

  /** Pushes the address of the frame's lowest byte. */
  getFrame(): void {
    this.code.get(this.#frame);
  }

  /** Pushes the address of the packet slot. */
  getSlot(): void {
    if (this.#slot === undefined) throw new Error("the packet slot has not been loaded");
    this.code.get(this.#slot);
  }

  /** Loads the packet slot's address into a local, at the function's start. */
  loadSlot(): void {
    if (this.#inPlace !== undefined) {
      this.#slot = this.#inPlace.slot;
      return;
    }
    this.#slot = this.code.local(I32);
    this.loadWord(scratch.slot);
    this.code.set(this.#slot);
  }

  /** A local for values in passing, the same for each number and type. */
  temporary(type: typeof I32 | typeof I64, number = 0): number {
    const key = number * 2 + (type === I64 ? 1 : 0);
    this.#numbers[key] ??= this.code.local(type);
    return this.#numbers[key];
  }

  /** Pushes a word of the scratch. */
  loadWord(at: number): void {
    this.code.i32(0);
    this.code.access(i32.load, this.unit.scratch + at);
  }

  /** Stores a constant, or what `push` pushes, into a word of the scratch. */
  storeWord(at: number, value: number | (() => void)): void {
    this.code.i32(0);
    if (typeof value === "number") this.code.i32(value);
    else value();
    this.code.access(i32.store, this.unit.scratch + at);
  }

  /** Leaves the function, with its results on the stack. */
  leave(): void {
    if (this.#inPlace === undefined) {
      this.code.return();
      return;
    }
    this.code.set(this.#inPlace.result);
    this.code.br(this.#inPlace.exit);
  }

  /** Ends the run; nothing follows. */
  stop(reason: number, slot: number): void {
    this.code.i32(reason);
    this.code.i32(slot);
    this.code.call(this.unit.imports.stop);
    this.code.unreachable();
  }

  /** Takes the run's budget over into a local. */
  loadFuel(): void {
    if (!this.#usesFuel) return;
    this.#fuel ??= this.code.local(I32);
    this.loadWord(scratch.fuel);
    this.code.set(this.#fuel);
  }

  /** Hands the run's budget on: before a call, and at the end. */
  storeFuel(): void {
    const fuel = this.#fuel;
    if (fuel !== undefined) this.storeWord(scratch.fuel, () => this.code.get(fuel));
  }

  /** Whether its steps are counted, by checks or beside what is proven. */
  get counts(): boolean {
    return this.checks || countsProvenSteps(this.unit.program);
  }

  /** Takes `steps` from the budget; without enough the run ends at `slot`. */
  charge(steps: number, slot: number): void {
    if (this.checks) {
      this.code.i32(steps);
      this.chargePushed(slot);
    } else this.#chargeRun(steps, slot);
  }

  /** Without checks no function takes the budget over: it stays where all of the run find it. */
  #chargeRun(steps: number, slot: number): void {
    const { code } = this;
    const left = this.temporary(I32);
    this.loadWord(scratch.fuel);
    code.i32(steps);
    code.emit(i32.sub);
    code.set(left);
    this.storeWord(scratch.fuel, () => code.get(left));
    code.get(left);
    code.i32(0);
    code.emit(i32.lt_s);
    code.if();
    this.stop(STOP_BUDGET, slot);
    code.end();
  }

  /** Takes the number on the stack from the budget. */
  chargePushed(slot: number): void {
    const { code } = this;
    const fuel = this.#fuel;
    if (fuel === undefined) throw new Error("a function without a budget is charged");
    const steps = this.temporary(I32);
    code.set(steps);
    code.get(fuel);
    code.get(steps);
    code.emit(i32.sub);
    code.tee(fuel);
    code.i32(0);
    code.emit(i32.lt_s);
    code.if();
    this.stop(STOP_BUDGET, slot);
    code.end();
  }

  #newShortLocal(register: number): number {
    const local = this.code.local(I32);
    this.#shorts[register] = local;
    return local;
  }

  #newLocal(register: number): number {
    const local = this.code.local(I64);
    this.#registers[register] = local;
    return local;
  }
}
