import type { Analysis } from "./analysis.ts";
import { bytesText } from "./describe-place.ts";
import { rangeText } from "./describe-register.ts";
import { wrong } from "./helper-refusal.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { lostPointer } from "./lost-pointer.ts";
import { checkRegion } from "./memory-access.ts";
import { isPointer, type RegisterState } from "./register-state.ts";
import { isConstant, isNumber } from "./scalar-range.ts";
import { clobberStack, stackSpan, useStack } from "./stack-access.ts";
import { regions } from "./verified.ts";

/** Most bytes an argument may span: kernel, BPF_MAX_VAR_SIZ. */
const maxArgumentBytes = 1n << 29n;

/** Memory whose size is in the next register. */
export function checkSizedMemory(
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
      "pass the number of bytes there",
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
  const isMemory = held.kind === "memory" || held.kind === "map_value";
  const perhapsNull = isNull || (held.nullable && isMemory);
  if (perhapsNull && nullAllowed && zeroAllowed && umax === 0n) {
    if (isNull) a.markPrecise(index + 1);
    return;
  }
  const variable = !isConstant(size.range);
  const writes = kind?.startsWith("writable") || kind === "updated_memory";
  const reads = kind?.startsWith("readable") || kind === "updated_memory";
  if (reads) checkMemory(a, helper, index + 1, held, Number(umax), "read", variable);
  const fills = !variable && helper.leavesMemory !== true;
  if (writes) checkMemory(a, helper, index + 1, held, Number(umax), "write", !fills);
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
  if (held.nullable) wrong(a, helper, register, held, `memory, and r${register} may be null`, "");
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
      refuseNoMemory(a, helper, register, held, size);
  }
}

function refuseNoMemory(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
  size: number,
): never {
  const kind = helper.arguments[register - 1];
  const noun = kind === "map_key" ? "key" : kind?.endsWith("map_value") ? "value" : undefined;
  const wanted =
    noun === undefined
      ? `the address of ${bytesText(size)} of memory`
      : `the address of a ${noun} (${bytesText(size)})`;
  if (held.kind === "context")
    wrong(
      a,
      helper,
      register,
      held,
      `${wanted}, and the context is none`,
      "copy what is needed of it to a variable, and pass that one's address",
    );
  if (isPointer(held))
    wrong(
      a,
      helper,
      register,
      held,
      `${wanted}, and this is none`,
      "copy it to a variable, and pass that one's address",
    );
  const known = lostPointer(a, register);
  // That a number has always been one says nothing here.
  const lost = known?.cause.startsWith("holds") === true ? undefined : known;
  const isNull = isNumber(held.range, 0n);
  wrong(
    a,
    helper,
    register,
    held,
    `${wanted}, and r${register} ${lost?.cause ?? (isNull ? "is 0 (NULL)" : "holds a number")}`,
    lost?.fix ??
      (isNull
        ? "pass the address of a variable"
        : "put it into a variable, and pass its address: &variable"),
  );
}
