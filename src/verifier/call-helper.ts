import { F_RDONLY_PROG } from "../runtime/wasm/layout.ts";
import type { Analysis } from "./analysis.ts";
import { forgetPacket } from "./branch.ts";
import { rangeText } from "./describe-register.ts";
import { formatProblem } from "./format-string.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { checkAlignment, checkRegion } from "./memory-access.ts";
import { innerTarget, isInner, mapOf, type VerifiedMap } from "./program.ts";
import {
  constantOf,
  isPointer,
  pointer,
  type RegisterState,
  uninitialised,
  unknownScalar,
} from "./register-state.ts";
import { isConstant, isNumber } from "./scalar-range.ts";
import { isSocket } from "./socket-rules.ts";
import { checkSpinLock } from "./spin-lock.ts";
import { clobberStack, constantOnStack, stackSpan, useStack } from "./stack-access.ts";
import { regions, severalMaps } from "./verified.ts";

/** Most bytes an argument may span: kernel, BPF_MAX_VAR_SIZ. */
const maxArgumentBytes = 1n << 29n;

/** What the arguments of one call have been found to be. */
export interface CallArguments {
  map: VerifiedMap | undefined;
  mapIndex: number;
  /** The key, where it is a number known now. */
  constantKey: bigint | undefined;
  allocation: number;
  released: number;
  callback: number;
}

/** Checks r1 to r5 against the helper's signature. */
export function checkArguments(a: Analysis, helper: HelperSignature): CallArguments {
  const call: CallArguments = {
    map: undefined,
    mapIndex: -1,
    constantKey: undefined,
    allocation: 0,
    released: 0,
    callback: -1,
  };
  for (let i = 0; i < helper.arguments.length; i++) checkArgument(a, helper, i, call);
  return call;
}

/** The registers after a call that returns: r0 its result, r1 to r5 nothing. */
export function finishCall(a: Analysis, helper: HelperSignature, call: CallArguments): void {
  if (helper.movesPacket) forgetPacket(a.state);
  if (call.released !== 0) release(a, call.released);
  for (let r = 1; r <= 5; r++) a.write(r, uninitialised);
  a.write(0, result(a, helper, call));
}

function result(a: Analysis, helper: HelperSignature, call: CallArguments): RegisterState {
  switch (helper.returns ?? "number") {
    case "number":
      return unknownScalar;
    case "nothing":
      return uninitialised;
    case "map_value_or_null": {
      const map = call.map as VerifiedMap;
      if (map.inner !== undefined) {
        const target = innerTarget(call.mapIndex);
        return pointer("map", { target, nullable: true, id: a.newId() });
      }
      if (map.type === "xskmap") {
        const extent = queueBytes;
        return pointer("memory", { extent, readOnly: true, nullable: true, id: a.newId() });
      }
      // The template of an inner map does not say how many entries the map has.
      const there =
        !isInner(call.mapIndex) &&
        (map.type === "array" || map.type === "percpu_array") &&
        call.constantKey !== undefined &&
        call.constantKey < BigInt(map.maxEntries);
      const id = map.spinLock === undefined ? 0 : a.newId();
      return there
        ? pointer("map_value", { target: call.mapIndex, id })
        : pointer("map_value", { target: call.mapIndex, nullable: true, id: a.newId() });
    }
    case "reserved_memory_or_null": {
      const id = a.newId();
      a.state.references = [...a.state.references, { id, slot: a.slot }];
      return pointer("memory", { extent: call.allocation, nullable: true, id, reference: id });
    }
    case "sock_or_null":
      return pointer("sock", { nullable: true, id: a.newId() });
    case "tcp_sock_or_null":
      return pointer("tcp_sock", { nullable: true, id: a.newId() });
    default: {
      const never: never = helper.returns as never;
      return never;
    }
  }
}

/** `struct bpf_xdp_sock`: the queue's number. */
const queueBytes = 4;

/** The object is gone: no copy of the pointer is one any more. */
function release(a: Analysis, reference: number): void {
  a.state.references = a.state.references.filter(({ id }) => id !== reference);
  a.state.changeAll((held) => (held.reference === reference ? unknownScalar : held));
}

function checkArgument(
  a: Analysis,
  helper: HelperSignature,
  index: number,
  call: CallArguments,
): void {
  const register = index + 1;
  const held = a.read(register);
  const kind = helper.arguments[index]!;
  switch (kind) {
    case "anything":
      return;
    case "constant":
    case "allocation_size":
      if (held.kind !== "scalar" || !isConstant(held.range))
        wrong(a, helper, register, held, "a number known at verification");
      a.markPrecise(register);
      if (kind === "allocation_size") call.allocation = Number(held.range.value);
      return;
    case "map":
      checkMap(a, helper, register, held, call);
      return;
    case "map_key": {
      const { keySize } = call.map as VerifiedMap;
      checkMemory(a, helper, register, held, keySize, "read", false);
      if (held.kind === "stack")
        call.constantKey = constantOnStack(a, stackSpan(a, register, held, 0, keySize), keySize);
      return;
    }
    case "map_value":
      checkMemory(a, helper, register, held, call.map!.valueSize, "read", false);
      return;
    case "writable_map_value": {
      // What a bloom filter is asked for is not filled but looked at.
      const mode = call.map!.type === "bloom_filter" ? "read" : "write";
      checkMemory(a, helper, register, held, call.map!.valueSize, mode, false);
      return;
    }
    case "context":
      if (held.kind !== "context" || held.offset !== 0 || !isNumber(held.range, 0n))
        wrong(a, helper, register, held, "the context, as the program got it");
      return;
    case "readable_memory":
    case "readable_memory_or_null":
    case "writable_memory":
    case "writable_memory_or_null":
    case "updated_memory":
      checkSizedMemory(a, helper, index, held);
      return;
    case "updated_u32":
      checkMemory(a, helper, register, held, 4, "read", false);
      checkMemory(a, helper, register, held, 4, "write", false);
      checkAlignment(a, register, held, 0, 4);
      return;
    case "writable_u64":
      checkMemory(a, helper, register, held, 8, "write", false);
      checkAlignment(a, register, held, 0, 8);
      return;
    case "constant_string":
      checkConstantString(a, helper, register, held);
      return;
    case "format_string":
      checkConstantString(a, helper, register, held);
      checkFormat(a, register, held);
      return;
    case "socket":
      if (!isSocket(held.kind) || held.nullable) wrong(a, helper, register, held, "a socket");
      return;
    case "size":
    case "size_or_zero":
      return;
    case "reserved_memory":
      if (held.reference === 0 || held.nullable || held.offset !== 0 || !isNumber(held.range, 0n))
        wrong(a, helper, register, held, "the start of what a reserve helper returned, not null");
      if (!a.state.references.some(({ id }) => id === held.reference))
        a.refuse("REFERENCE_UNKNOWN", `r${register} was given back before`, undefined, [register]);
      call.released = held.reference;
      return;
    case "spin_lock":
      checkSpinLock(a, helper, register, held);
      return;
    case "callback":
      if (held.kind !== "function") wrong(a, helper, register, held, "a function of the program");
      call.callback = held.target;
      return;
    case "stack_or_null":
      if (held.kind !== "stack" && !(held.kind === "scalar" && isNumber(held.range, 0n)))
        wrong(a, helper, register, held, "a pointer to the stack, or 0");
      return;
    default: {
      const never: never = kind;
      throw new Error(`${never} is not handled`);
    }
  }
}

function wrong(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
  expected: string,
): never {
  a.refuse(
    "HELPER_ARGUMENT",
    `bpf_${helper.name} takes in r${register} ${expected}`,
    held.nullable ? `compare r${register} with 0 before the call` : undefined,
    [register],
  );
}

function checkMap(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
  call: CallArguments,
): void {
  if (held.kind !== "map" || held.nullable) wrong(a, helper, register, held, "a map");
  const map = mapOf(a.program, held.target);
  if (helper.maps !== undefined && !helper.maps.includes(map.type))
    a.refuse(
      "HELPER_ARGUMENT",
      `bpf_${helper.name} does not take map ${map.name}, which is of type ${map.type}`,
      `it takes ${helper.maps.join(", ")}`,
      [register],
    );
  if (helper.changesMap && (map.readOnly || (map.flags & F_RDONLY_PROG) !== 0))
    a.refuse("MAP_READ_ONLY", `map ${map.name} is read-only to programs`, undefined, [register]);
  call.map = map;
  call.mapIndex = held.target;
  a.facts.callsWith(a.slot, isInner(held.target) ? severalMaps : held.target);
}

/** Memory whose size is in the next register. */
function checkSizedMemory(
  a: Analysis,
  helper: HelperSignature,
  index: number,
  held: RegisterState,
): void {
  const kind = helper.arguments[index];
  const zeroAllowed = helper.arguments[index + 1] === "size_or_zero";
  const sizeRegister = index + 2;
  const size = a.read(sizeRegister);
  if (size.kind !== "scalar")
    a.refuse(
      "HELPER_SIZE",
      `bpf_${helper.name} takes a size in r${sizeRegister}, and that holds a pointer`,
      undefined,
      [sizeRegister],
    );
  const { smin, umin, umax } = size.range;
  const isNull = held.kind === "scalar" && isNumber(held.range, 0n);
  if (smin < 0n)
    a.refuse(
      "HELPER_SIZE",
      `the size in r${sizeRegister} may be negative: ${rangeText(size.range)}`,
      `mask it with &=, or compare it with its limits first`,
      [sizeRegister],
    );
  if (umin === 0n && !zeroAllowed)
    a.refuse(
      "HELPER_SIZE",
      `the size in r${sizeRegister} may be 0, and bpf_${helper.name} takes at least 1`,
      `leave where r${sizeRegister} is 0`,
      [sizeRegister],
    );
  if (umax >= maxArgumentBytes)
    a.refuse(
      "HELPER_SIZE",
      `the size in r${sizeRegister} may be anything: ${rangeText(size.range)}`,
      `bound it first: mask it with &=, or compare it with its limit`,
      [sizeRegister],
    );
  a.markPrecise(sizeRegister);
  const nullAllowed = kind === "readable_memory_or_null" || kind === "writable_memory_or_null";
  if (isNull && nullAllowed && zeroAllowed && umax === 0n) return;
  const variable = !isConstant(size.range);
  const writes = kind?.startsWith("writable") || kind === "updated_memory";
  const reads = kind?.startsWith("readable") || kind === "updated_memory";
  if (reads) checkMemory(a, helper, index + 1, held, Number(umax), "read", variable);
  if (writes) checkMemory(a, helper, index + 1, held, Number(umax), "write", variable);
}

/** Kernel: check_reg_const_str. The text is there now, so its end can be looked for now. */
function checkConstantString(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
): void {
  const map = held.kind === "map_value" ? (a.program.maps[held.target] as VerifiedMap) : undefined;
  if (map === undefined || !map.readOnly || held.nullable || !isConstant(held.range))
    wrong(a, helper, register, held, "a string constant, in a map that nobody writes");
  checkMemory(a, helper, register, held, 1, "read", false);
  a.markPrecise(register);
  const text = map.frozenValue;
  if (text !== undefined && text.indexOf(0, constantOffset(held)) < 0)
    wrong(a, helper, register, held, "a string constant that ends in a zero byte");
}

function constantOffset({ offset, range }: RegisterState): number {
  return offset + Number(BigInt.asIntN(64, range.value));
}

/** Kernel: check_bpf_snprintf_call. Arguments are 64-bit words; their size is in two registers on. */
function checkFormat(a: Analysis, register: number, held: RegisterState): void {
  const size = register + 2;
  const bytes = a.read(size).range.value;
  if (bytes % 8n !== 0n)
    a.refuse(
      "HELPER_ARGUMENT",
      `the arguments of the format take ${bytes} bytes (r${size}), and each is a 64-bit word`,
      "keep them in an array of __u64 and pass its size",
      [size],
    );
  const { frozenValue } = a.program.maps[held.target] as VerifiedMap;
  if (frozenValue === undefined) return;
  const offset = constantOffset(held);
  // Paths come here again and again, and a format may be long.
  const key = `${held.target} ${offset} ${bytes}`;
  if (a.soundFormats.has(key)) return;
  const format = Buffer.from(frozenValue.subarray(offset, frozenValue.indexOf(0, offset)));
  const problem = formatProblem(format.toString("latin1"), Number(bytes / 8n));
  if (problem !== undefined)
    a.refuse(
      "HELPER_ARGUMENT",
      problem,
      "formats have %d %i %u %x %X (also with l or ll), %c %s %p %pI4 %pi4 %pI6 %pi6 and %%, and for each but %% one __u64 among the arguments, whose size is constant",
      [register, size],
    );
  a.soundFormats.add(key);
}

/** `size` bytes (or up to that many: `variable`) that a helper reads or writes. */
export function checkMemory(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
  size: number,
  mode: "read" | "write",
  variable: boolean,
): void {
  if (held.nullable) wrong(a, helper, register, held, `memory, and r${register} may be null`);
  switch (held.kind) {
    case "stack": {
      const span = stackSpan(a, register, held, 0, size);
      a.facts.reach(a.slot, regions.stack);
      if (mode === "read") useStack(a, span, size);
      if (mode === "write") clobberStack(span, size, !variable);
      return;
    }
    case "packet":
    case "packet_meta":
      if (!helper.packetMemory)
        a.refuse(
          "HELPER_ARGUMENT",
          `bpf_${helper.name} does not take packet memory in r${register}`,
          "copy the bytes to the stack first",
          [register],
        );
      checkRegion(a, register, held, 0, size, mode);
      return;
    case "map_value":
    case "map_key":
    case "memory":
      checkRegion(a, register, held, 0, size, mode);
      return;
    default:
      wrong(
        a,
        helper,
        register,
        held,
        isPointer(held) ? "memory, and this is none" : "memory, and this is a number",
      );
      return;
  }
}

/** The number of a `callx`, if it is known. */
export function constantTarget(a: Analysis, register: number): number {
  const value = constantOf(a.read(register));
  if (value === undefined)
    a.refuse(
      "CALL_REGISTER",
      `r${register} is called, and the helper's number in it is not known`,
      "call helpers by immediate number",
      [register],
    );
  a.markPrecise(register);
  return Number(value);
}
