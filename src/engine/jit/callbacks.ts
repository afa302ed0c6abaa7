import { errno } from "../../common/errno.ts";
import { CURSOR_HAS_KEY, CURSOR_POSITION, MAP_KEY_SIZE } from "../../runtime/wasm/layout.ts";
import { frameBytes, walkBytes, walksOffset } from "../engine.ts";
import { maxLoops, tooManyLoops } from "../helpers/callback-helpers.ts";
import type { Helper } from "../helpers/helper.ts";
import { bucketsAStep, stepBytes, turnSteps } from "../helpers/helper-work.ts";
import { walk } from "../map-walk.ts";
import { goOnAfterCall, prepareCall } from "./calls.ts";
import type { FunctionBuilder, FunctionReference } from "./function-builder.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { detailOf, FUNCTION, kindOf } from "./known-values.ts";
import type { ModuleBuilder } from "./module-builder.ts";
import { scratch } from "./scratch.ts";
import { spillArguments } from "./spill.ts";
import {
  type CallbackFunctions,
  type CallbackKind,
  proofOf,
  STOP_BUDGET,
  STOP_CALLBACKS,
  type Unit,
} from "./unit.ts";
import { I32, I64, i32, i64, type ValueType } from "./wasm-operation.ts";

const [r0, r1, r2, r3, r4] = [0, 1, 2, 3, 4];

/** bpf_loop or bpf_for_each_map_elem: a call of the function that goes round for this callback. */
export function emitCallback(to: FunctionEmitter, helper: Helper, slot: number): void {
  const { code, unit } = to;
  const { callbacks } = unit;
  const { checkCallback } = unit.imports;
  if (callbacks === undefined || checkCallback === undefined || helper.callback === undefined)
    throw new Error("callbacks have not been declared");
  const isInlined = proofOf(unit.program)?.inlinedLoops[slot] === 1;
  const kind = helper.callback === "loop" && isInlined ? "inlined_loop" : helper.callback;
  const checks = to.checks;
  if (checks) {
    spillArguments(to, r4);
    code.i32(helper.id);
    code.i32(slot);
    code.call(checkCallback);
  }
  prepareCall(to, slot);
  to.getFrame();
  for (const register of [r1, r3, r4]) to.get(register);
  code.i32(slot);
  const known = to.known[r2]!;
  if (kindOf(known) === FUNCTION) code.call(callbacks.of(kind, detailOf(known)));
  else {
    to.getLow(r2);
    code.call(callbacks.any(kind));
  }
  to.set(r0);
  if (checks) goOnAfterCall(to);
}

/** Parameters of a function that goes round: the caller's frame, r1, r3, r4 and the call's slot. */
const parameters: readonly ValueType[] = [I32, I64, I64, I64, I32];
const [frame, first, context, flags, slot, callback] = [0, 1, 2, 3, 4, 5];

/**
 * The functions that go round for helpers that call back: one for each callback and helper, and one
 * a helper for callbacks that are known only as the program runs. Made as they are asked for.
 */
export class CallbackLoops implements CallbackFunctions {
  readonly #module: ModuleBuilder;
  readonly #unit: Omit<Unit, "callbacks">;
  readonly #callbacks: ReadonlySet<number>;
  readonly #loops = new Map<string, FunctionReference>();
  readonly #any = new Map<CallbackKind, FunctionReference>();
  readonly #pending: (() => void)[] = [];

  /** `callbacks`: first slots of the functions that may be called back. */
  constructor(
    module: ModuleBuilder,
    unit: Omit<Unit, "callbacks">,
    callbacks: ReadonlySet<number>,
  ) {
    this.#module = module;
    this.#unit = unit;
    this.#callbacks = callbacks;
  }

  /** Goes round for the callback that begins at `target`. */
  of(kind: CallbackKind, target: number): FunctionReference {
    const key = `${kind} ${target}`;
    let reference = this.#loops.get(key);
    if (reference === undefined) {
      reference = this.#module.declare(parameters, [I64]);
      this.#loops.set(key, reference);
      this.#pending.push(() => this.#emit(kind, target, this.#loops.get(key)!));
    }
    return reference;
  }

  /** Takes the callback's first slot as one parameter more. */
  any(kind: CallbackKind): FunctionReference {
    let reference = this.#any.get(kind);
    if (reference === undefined) {
      reference = this.#module.declare([...parameters, I32], [I64]);
      this.#any.set(kind, reference);
      this.#pending.push(() => this.#emitAny(kind, this.#any.get(kind)!));
    }
    return reference;
  }

  /** Emits what has been asked for. */
  finish(): void {
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) next();
  }

  #emitAny(kind: CallbackKind, reference: FunctionReference): void {
    const code = this.#module.define(reference);
    for (const target of this.#callbacks) {
      code.get(callback);
      code.i32(target);
      code.emit(i32.eq);
      code.if();
      for (const parameter of [frame, first, context, flags, slot]) code.get(parameter);
      code.returnCall(this.of(kind, target));
      code.end();
    }
    code.unreachable();
  }

  #emit(kind: CallbackKind, target: number, reference: FunctionReference): void {
    const code = this.#module.define(reference);
    returnError(code, BigInt(-errno.EINVAL), () => {
      code.get(flags);
      code.emit(i64.eqz);
      code.emit(i32.eqz);
    });
    if (kind === "map_walk") this.#walk(code, target);
    else this.#loop(code, target, kind === "inlined_loop");
  }

  #loop(code: FunctionBuilder, target: number, isInlined: boolean): void {
    if (!isInlined) {
      // The helper's parameter is a u32.
      code.get(first);
      code.emit(i32.wrap);
      code.emit(i64.extend_u);
      code.set(first);
    }
    returnError(code, isInlined ? tooManyLoops.inlined : tooManyLoops.called, () => {
      code.get(first);
      code.i64(maxLoops);
      code.emit(i64.gt_u);
    });
    const turn = code.local(I64);
    this.#enterCallbacks(code, 1);
    const done = code.block();
    const again = code.loop();
    code.get(turn);
    code.get(first);
    code.emit(i64.ge_u);
    code.brIf(done);
    this.#call(code, target, [() => code.get(turn), () => code.get(context)], () => {
      code.get(turn);
      code.i64(1);
      code.emit(i64.add);
      code.set(turn);
    });
    code.brIf(again);
    code.end();
    code.end();
    this.#enterCallbacks(code, -1);
    code.get(turn);
  }

  #walk(code: FunctionBuilder, target: number): void {
    const count = code.local(I64);
    const record = code.local(I32);
    const value = code.local(I32);
    const { stack, cpu } = this.#unit.context;
    code.get(frame);
    code.i32(stack);
    code.emit(i32.sub);
    code.i32(Math.log2(frameBytes));
    code.emit(i32.shr_u);
    code.i32(walkBytes);
    code.emit(i32.mul);
    code.i32(stack + walksOffset);
    code.emit(i32.add);
    code.set(record);
    const store = (at: number, push: () => void): void => {
      code.get(record);
      push();
      code.access(i32.store, at);
    };
    store(walk.keyBytes, () => {
      code.get(first);
      code.emit(i32.wrap);
      code.access(i32.load, MAP_KEY_SIZE);
    });
    for (const at of [CURSOR_POSITION, CURSOR_HAS_KEY]) store(walk.cursor + at, () => code.i32(0));
    this.#enterCallbacks(code, 1);
    const done = code.block();
    const again = code.loop();
    const before = code.local(I32);
    const position = (): void => {
      code.get(record);
      code.access(i32.load, walk.cursor + CURSOR_POSITION);
    };
    position();
    code.set(before);
    code.get(first);
    code.emit(i32.wrap);
    code.get(record);
    code.i32(walk.cursor);
    code.emit(i32.add);
    code.i32(cpu);
    code.call(this.#unit.imports.runtime.get("walk")!);
    code.set(value);
    this.#charge(code, () => {
      position();
      code.get(before);
      code.emit(i32.sub);
      code.i32(Math.log2(bucketsAStep));
      code.emit(i32.shr_u);
      code.get(record);
      code.access(i32.load, walk.keyBytes);
      code.i32(Math.log2(stepBytes));
      code.emit(i32.shr_u);
      code.emit(i32.add);
    });
    code.get(value);
    code.emit(i32.eqz);
    code.brIf(done);
    const key = (): void => {
      code.get(record);
      code.i32(walk.key);
      code.emit(i32.add);
      code.emit(i64.extend_u);
    };
    const valueAddress = (): void => {
      code.get(value);
      code.emit(i64.extend_u);
    };
    this.#call(
      code,
      target,
      [() => code.get(first), key, valueAddress, () => code.get(context)],
      () => {
        code.get(count);
        code.i64(1);
        code.emit(i64.add);
        code.set(count);
      },
    );
    code.brIf(again);
    code.end();
    code.end();
    this.#enterCallbacks(code, -1);
    store(walk.keyBytes, () => code.i32(0));
    code.get(count);
  }

  /**
   * Calls the callback once, with `values` in r1 and up and 0 in the rest; pushes whether it wants
   * another turn. `count` comes between the two.
   */
  #call(
    code: FunctionBuilder,
    target: number,
    values: readonly (() => void)[],
    count: () => void,
  ): void {
    const { functions, imports } = this.#unit;
    const left = this.#unit.scratch + scratch.callbacksLeft;
    code.i32(0);
    code.access(i32.load, left);
    code.emit(i32.eqz);
    code.if();
    code.i32(STOP_CALLBACKS);
    code.get(slot);
    code.call(imports.stop);
    code.unreachable();
    code.end();
    code.i32(0);
    code.i32(0);
    code.access(i32.load, left);
    code.i32(1);
    code.emit(i32.sub);
    code.access(i32.store, left);
    this.#charge(code, () => code.i32(turnSteps));
    const { reference, needs, gives } = functions.get(target)!;
    code.get(frame);
    code.i32(frameBytes);
    code.emit(i32.sub);
    for (const register of needs) {
      const push = values[register - 1];
      if (push === undefined) code.i64(0);
      else push();
    }
    code.call(reference);
    // r0 is the first result; the others are there for callers that look at more.
    for (let i = 1; i < gives.length; i++) code.drop();
    count();
    code.emit(i64.eqz);
  }

  /** Takes what `push` pushes from the run's budget, which is the caller's no more. */
  #charge(code: FunctionBuilder, push: () => void): void {
    const fuel = this.#unit.scratch + scratch.fuel;
    const fuelLeft = code.local(I32);
    code.i32(0);
    code.access(i32.load, fuel);
    push();
    code.emit(i32.sub);
    code.set(fuelLeft);
    code.i32(0);
    code.get(fuelLeft);
    code.access(i32.store, fuel);
    code.get(fuelLeft);
    code.i32(0);
    code.emit(i32.lt_s);
    code.if();
    code.i32(STOP_BUDGET);
    code.get(slot);
    code.call(this.#unit.imports.stop);
    code.unreachable();
    code.end();
  }

  /** Where tail calls must know of it: one callback more, or one less. */
  #enterCallbacks(code: FunctionBuilder, change: 1 | -1): void {
    if (this.#unit.imports.tailCalls === undefined) return;
    const at = this.#unit.scratch + scratch.calledBack;
    code.i32(0);
    code.i32(0);
    code.access(i32.load, at);
    code.i32(change);
    code.emit(i32.add);
    code.access(i32.store, at);
  }
}

/** Leaves with `error` where `condition` pushes what is not 0. */
function returnError(code: FunctionBuilder, error: bigint, condition: () => void): void {
  condition();
  code.if();
  code.i64(error);
  code.return();
  code.end();
}
