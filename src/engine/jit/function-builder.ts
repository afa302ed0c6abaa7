import { ByteWriter } from "./byte-writer.ts";
import {
  I32,
  I64,
  type MemoryOperation,
  type Operation,
  V128,
  type ValueType,
} from "./wasm-operation.ts";

const codes = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  i32Const: 0x41,
  i64Const: 0x42,
} as const;
const v128Const = [0xfd, 0x0c] as const;
const emptyType = 0x40;
/** Operands that there is room for from the start: V8 compiles anew what has seen an array grow. */
const usualDepth = 32;

/** What calls through a table name: `index` is that of the type. */
export interface FunctionType {
  readonly index: number;
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** What a call of a function must know: `index` is the function's. */
export interface FunctionReference extends FunctionType {}

/** A block, loop or if that is open or was. Branches name it, and their distance follows. */
export interface Label {
  readonly kind: "function" | "block" | "loop" | "if";
  /** How many labels enclose it. */
  readonly depth: number;
  /** Operands on the stack where it begins. */
  readonly height: number;
  readonly result: ValueType | undefined;
}

/**
 * Writes the body of one function. It keeps the types of the operand stack and the open blocks, and
 * throws at the first instruction that WebAssembly validation would refuse: a mistake in the
 * compiler shows where it is made.
 */
export class FunctionBuilder {
  readonly #code: ByteWriter;
  readonly #locals: ValueType[];
  readonly #parameterCount: number;
  readonly #results: readonly ValueType[];
  /** Types of the operands: those below `#height` are on the stack, those above have been. */
  readonly #stack: ValueType[] = new Array<ValueType>(usualDepth).fill(I32);
  #height = 0;
  readonly #labels: Label[] = [{ kind: "function", depth: 0, height: 0, result: undefined }];
  /** Open or not: those in whose else part the code is or was. */
  readonly #elses = new WeakSet<Label>();
  /** Operands that the innermost block found: its instructions take none of them. */
  #floor = 0;
  /** Nothing reaches this point of the innermost block: its operands are whatever is asked for. */
  #unreachable = false;
  #ended = false;

  /** `capacity`: bytes of code that are likely. */
  constructor(parameters: readonly ValueType[], results: readonly ValueType[], capacity?: number) {
    this.#code = new ByteWriter(capacity);
    this.#locals = [...parameters];
    this.#parameterCount = parameters.length;
    this.#results = results;
  }

  /** Bytes of code so far. */
  get size(): number {
    return this.#code.length;
  }

  /** A further local, which starts as 0. */
  local(type: ValueType): number {
    return this.#locals.push(type) - 1;
  }

  emit({ takes, gives, code }: Operation): void {
    const stack = this.#stack;
    let height = this.#height - takes.length;
    for (let i = 0; i < takes.length; i++)
      if (height < this.#floor || stack[height + i] !== takes[i]) {
        this.#popAll(takes);
        height = this.#height;
        break;
      }
    if (gives !== undefined) stack[height++] = gives;
    this.#height = height;
    if (code.length === 1) this.#code.byte(code[0]!);
    else this.#code.append(code);
  }

  /** A load, store or atomic operation; `offset` is added to the address without wrapping. */
  access(operation: MemoryOperation, offset: number): void {
    this.emit(operation);
    this.#code.unsigned(operation.align);
    this.#code.unsigned(offset);
  }

  i32(value: number): void {
    this.#stack[this.#height++] = I32;
    this.#withSigned(codes.i32Const, value);
  }

  /** A signed 32-bit number, extended, or any 64-bit one. */
  i64(value: number | bigint): void {
    this.#stack[this.#height++] = I64;
    if (typeof value === "number") this.#withSigned(codes.i64Const, value);
    else {
      this.#code.byte(codes.i64Const);
      this.#code.signed64(value);
    }
  }

  v128Zero(): void {
    this.#push(V128);
    this.#code.append(v128Const);
    for (let i = 0; i < 16; i++) this.#code.byte(0);
  }

  get(local: number): void {
    const type = this.#locals[local];
    if (type === undefined) throw unknownLocal(local);
    this.#stack[this.#height++] = type;
    this.#withUnsigned(codes.localGet, local);
  }

  set(local: number): void {
    const type = this.#locals[local];
    if (type === undefined) throw unknownLocal(local);
    this.#pop(type);
    this.#withUnsigned(codes.localSet, local);
  }

  tee(local: number): void {
    const type = this.#locals[local];
    if (type === undefined) throw unknownLocal(local);
    this.#pop(type);
    // Where nothing arrives there was perhaps none to take.
    this.#push(type);
    this.#withUnsigned(codes.localTee, local);
  }

  drop(): void {
    this.#popAny();
    this.#code.byte(codes.drop);
  }

  /** The first of two operands where the third is not 0, else the second. */
  select(type: ValueType): void {
    this.#popAll([type, type, I32]);
    this.#push(type);
    this.#code.byte(codes.select);
  }

  call(target: FunctionReference): void {
    this.#popAll(target.parameters);
    for (const result of target.results) this.#push(result);
    this.#withUnsigned(codes.call, target.index);
  }

  /** Calls the function of table 0 that the topmost operand numbers. */
  callIndirect(type: FunctionType): void {
    this.#callThrough(type, codes.callIndirect);
    for (const result of type.results) this.#push(result);
  }

  /** The same in place of this function, whose results are the other's. */
  returnCallIndirect(type: FunctionType): void {
    this.#callThrough(type, codes.returnCallIndirect);
    this.#leave(type);
  }

  /** Another function goes on in place of this one. */
  returnCall(target: FunctionReference): void {
    this.#popAll(target.parameters);
    this.#withUnsigned(codes.returnCall, target.index);
    this.#leave(target);
  }

  block(): Label {
    return this.#open("block", codes.block, undefined);
  }

  loop(): Label {
    return this.#open("loop", codes.loop, undefined);
  }

  /** Takes its condition; with a result, both arms leave one. */
  if(result?: ValueType): Label {
    this.#pop(I32);
    return this.#open("if", codes.if, result);
  }

  else(): void {
    const label = this.#labels.at(-1)!;
    if (label.kind !== "if" || this.#elses.has(label))
      throw new Error(`else in a ${label.kind} that has none`);
    this.#closeOperands(label);
    this.#elses.add(label);
    this.#unreachable = false;
    this.#code.byte(codes.else);
  }

  end(): void {
    const label = this.#labels.at(-1)!;
    if (label.kind === "function") throw new Error("end without a block: use finish");
    if (label.kind === "if" && label.result !== undefined && !this.#elses.has(label))
      throw new Error("an if with a result has no else");
    this.#closeOperands(label);
    this.#labels.pop();
    this.#floor = this.#labels.at(-1)!.height;
    this.#unreachable = false;
    if (label.result !== undefined) this.#push(label.result);
    this.#code.byte(codes.end);
  }

  br(label: Label): void {
    this.#checkTarget(label);
    this.#withUnsigned(codes.br, this.#distance(label));
    this.#cut();
  }

  brIf(label: Label): void {
    this.#pop(I32);
    this.#checkTarget(label);
    this.#withUnsigned(codes.brIf, this.#distance(label));
  }

  /** To the label that the operand numbers; to the last for any other number. */
  brTable(labels: readonly Label[]): void {
    if (labels.length === 0) throw new Error("a table of no labels");
    this.#pop(I32);
    for (const label of labels) this.#checkTarget(label);
    this.#code.byte(codes.brTable);
    this.#code.unsigned(labels.length - 1);
    for (const label of labels) this.#code.unsigned(this.#distance(label));
    this.#cut();
  }

  return(): void {
    this.#popAll(this.#results);
    this.#code.byte(codes.return);
    this.#cut();
  }

  unreachable(): void {
    this.#code.byte(codes.unreachable);
    this.#cut();
  }

  /** Ends the function; its body is `locals` and, behind that, `code`, as the code section holds it. */
  finish(): { readonly locals: Uint8Array; readonly code: Uint8Array } {
    if (this.#ended) throw new Error("the function has been finished before");
    if (this.#labels.length !== 1)
      throw new Error(`${this.#labels.length - 1} blocks are open at the function's end`);
    this.#popAll(this.#results);
    if (this.#height !== 0)
      throw new Error(`${this.#height} operands are left at the function's end`);
    this.#code.byte(codes.end);
    this.#ended = true;
    const locals = new ByteWriter();
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals.slice(this.#parameterCount)) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    locals.unsigned(runs.length);
    for (const { type, count } of runs) {
      locals.unsigned(count);
      locals.byte(type);
    }
    return { locals: locals.bytes, code: this.#code.bytes };
  }

  #open(kind: Label["kind"], code: number, result: ValueType | undefined): Label {
    if (this.#unreachable) throw new Error(`a ${kind} opened where nothing arrives`);
    const label: Label = { kind, depth: this.#labels.length, height: this.#height, result };
    this.#labels.push(label);
    this.#floor = label.height;
    this.#code.byte(code);
    this.#code.byte(result ?? emptyType);
    return label;
  }

  #closeOperands(label: Label): void {
    if (label.result !== undefined) this.#pop(label.result);
    if (this.#height !== label.height)
      throw new Error(`a ${label.kind} leaves ${this.#height - label.height} operands`);
  }

  #checkTarget(label: Label): void {
    if (this.#labels[label.depth] !== label || label.kind === "function")
      throw new Error(`branch to a ${label.kind} that is not open`);
    if (label.result !== undefined) throw new Error("branch to a block with a result");
  }

  #distance(label: Label): number {
    return this.#labels.length - 1 - label.depth;
  }

  #cut(): void {
    this.#height = this.#floor;
    this.#unreachable = true;
  }

  /** An instruction with an immediate: mostly two bytes, and written here, since there are so many. */
  #withUnsigned(code: number, value: number): void {
    const out = this.#code;
    const at = out.length;
    if ((value & 0x7f) === value && at + 2 <= out.buffer.length) {
      out.buffer[at] = code;
      out.buffer[at + 1] = value;
      out.length = at + 2;
    } else {
      out.byte(code);
      out.unsigned(value);
    }
  }

  #withSigned(code: number, value: number): void {
    const out = this.#code;
    const at = out.length;
    if ((value << 25) >> 25 === value && at + 2 <= out.buffer.length) {
      out.buffer[at] = code;
      out.buffer[at + 1] = value & 0x7f;
      out.length = at + 2;
    } else {
      out.byte(code);
      out.signed(value);
    }
  }

  #push(type: ValueType): void {
    this.#stack[this.#height++] = type;
  }

  #pop(expected: ValueType): void {
    if (this.#height > this.#floor && this.#stack[this.#height - 1] === expected) {
      this.#height--;
      return;
    }
    const type = this.#popAny();
    if (type !== expected && type !== undefined)
      throw new Error(`operand of type 0x${type.toString(16)}, not 0x${expected.toString(16)}`);
  }

  #popAll(types: readonly ValueType[]): void {
    for (let i = types.length - 1; i >= 0; i--) this.#pop(types[i]!);
  }

  #callThrough(type: FunctionType, code: number): void {
    this.#pop(I32);
    this.#popAll(type.parameters);
    this.#code.byte(code);
    this.#code.unsigned(type.index);
    this.#code.unsigned(0);
  }

  #leave({ results }: FunctionType): void {
    if (`${results}` !== `${this.#results}`)
      throw new Error("a function with other results goes on in place of this one");
    this.#cut();
  }

  #popAny(): ValueType | undefined {
    if (this.#height > this.#floor) return this.#stack[--this.#height];
    if (this.#unreachable) return undefined;
    throw new Error("an operand is missing");
  }
}

function unknownLocal(local: number): Error {
  return new Error(`there is no local ${local}`);
}
