import { F_RDONLY_PROG } from "../runtime/wasm/layout.ts";
import type { Analysis } from "./analysis.ts";
import { forgetPacket } from "./branch.ts";
import { checkConstantString, checkFormat } from "./constant-string.ts";
import { checkMemory, checkSizedMemory } from "./helper-memory.ts";
import { refuseNoRecord, wrong } from "./helper-refusal.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { checkAlignment } from "./memory-access.ts";
import { innerTarget, isInner, mapOf, type VerifiedMap } from "./program.ts";
import {
  constantOf,
  pointer,
  type RegisterState,
  uninitialised,
  unknownScalar,
} from "./register-state.ts";
import { isConstant, isNumber } from "./scalar-range.ts";
import { isSocket } from "./socket-rules.ts";
import { checkSpinLock } from "./spin-lock.ts";
import { constantOnStack, stackSpan } from "./stack-access.ts";
import { severalMaps } from "./verified.ts";

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
      a.state.take(id, a.slot);
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
        wrong(
          a,
          helper,
          register,
          held,
          "a number known at verification",
          kind === "constant"
            ? "pass a constant"
            : "reserve a constant size, the largest that is needed; bpf_ringbuf_output takes records of any size",
        );
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
        wrong(
          a,
          helper,
          register,
          held,
          "the context, as the program got it",
          "pass the program's own argument (ctx, skb)",
        );
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
      if (!isSocket(held.kind) || held.nullable)
        wrong(a, helper, register, held, "a socket", "pass __sk_buff.sk, where that is not 0");
      return;
    case "size":
    case "size_or_zero":
      return;
    case "reserved_memory":
      if (held.reference === 0 || held.nullable || held.offset !== 0 || !isNumber(held.range, 0n))
        refuseNoRecord(a, helper, register, held);
      if (!a.state.references.some(({ id }) => id === held.reference))
        a.refuse(
          "REFERENCE_UNKNOWN",
          `r${register} was given back before`,
          "submit or discard a record once",
          [register],
        );
      call.released = held.reference;
      return;
    case "spin_lock":
      checkSpinLock(a, helper, register, held);
      return;
    case "callback":
      if (held.kind !== "function")
        wrong(
          a,
          helper,
          register,
          held,
          "a function of the program",
          "pass the name of a static function",
        );
      call.callback = held.target;
      return;
    case "stack_or_null":
      if (held.kind !== "stack" && !(held.kind === "scalar" && isNumber(held.range, 0n)))
        wrong(
          a,
          helper,
          register,
          held,
          "a pointer to the stack, or 0",
          "keep what the callback needs in a struct on the stack, and pass its address",
        );
      if (held.kind === "scalar") a.markPrecise(register);
      return;
    default: {
      const never: never = kind;
      throw new Error(`${never} is not handled`);
    }
  }
}

function checkMap(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
  call: CallArguments,
): void {
  if (held.kind !== "map" || held.nullable)
    wrong(a, helper, register, held, "a map", "pass the address of a map of the object: &name");
  const map = mapOf(a.program, held.target);
  if (helper.maps !== undefined && !helper.maps.includes(map.type))
    a.refuse(
      "HELPER_ARGUMENT",
      `bpf_${helper.name} does not take map ${map.name}, which is of type ${map.type}`,
      `it takes ${helper.maps.join(", ")}`,
      [register],
    );
  if (helper.changesMap && (map.readOnly || (map.flags & F_RDONLY_PROG) !== 0))
    a.refuse(
      "MAP_READ_ONLY",
      `map ${map.name} is read-only to programs`,
      "declare it without const or BPF_F_RDONLY_PROG",
      [register],
    );
  call.map = map;
  call.mapIndex = held.target;
  a.facts.callsWith(a.slot, isInner(held.target) ? severalMaps : held.target);
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
