import { F_WRONLY_PROG } from "../runtime/wasm/layout.ts";
import type { Analysis } from "./analysis.ts";
import { maxPacketOffset } from "./branch.ts";
import { checkSocketLoad, loadContext, storeContext } from "./context-access.ts";
import { mayWritePacket } from "./context-rules.ts";
import { bytesAre, bytesText } from "./describe-place.ts";
import { rangeText } from "./describe-register.ts";
import { lostPointer } from "./lost-pointer.ts";
import { mapOf, type VerifiedMap } from "./program.ts";
import type { RefusalCode } from "./refusal.ts";
import { constantScalar, type RegisterState } from "./register-state.ts";
import { isConstant, type ScalarRange, zeroRange } from "./scalar-range.ts";
import { isSocket } from "./socket-rules.ts";
import {
  clobberStack,
  loaded,
  lowConstantOnStack,
  readStack,
  refusePartOfPointer,
  stackSpan,
  useStack,
  writeStack,
} from "./stack-access.ts";
import { addBits, alignedBits } from "./tnum.ts";
import { regions } from "./verified.ts";

/** No offset of a pointer reaches this: kernel, BPF_MAX_VAR_OFF. */
export const maxVariableOffset = 1n << 29n;

/** A load through `base`, and what it gives. */
export function load(
  a: Analysis,
  base: number,
  offset: number,
  size: number,
  signed: boolean,
  step: number,
): RegisterState {
  const held = usable(a, base);
  if (held.kind === "stack") {
    checkAlignment(a, base, held, offset, size);
    a.facts.reach(a.slot, regions.stack);
    return readStack(a, stackSpan(a, base, held, offset, size), size, signed, step);
  }
  if (held.kind === "context") return loadContext(a, base, held, offset, size, signed);
  if (isSocket(held.kind)) {
    checkSocketLoad(a, base, held.kind, held.offset + offset, size);
    return loaded(size, signed);
  }
  checkRegion(a, base, held, offset, size, "read");
  return knownValue(a, held, offset, size, signed) ?? loaded(size, signed);
}

/** A store through `base`; `source` is the register it comes from, where it comes from one. */
export function store(
  a: Analysis,
  base: number,
  offset: number,
  size: number,
  value: RegisterState,
  source: number | undefined,
  step: number,
): void {
  const held = usable(a, base);
  if (held.kind === "stack") {
    checkAlignment(a, base, held, offset, size);
    a.facts.reach(a.slot, regions.stack);
    writeStack(a, stackSpan(a, base, held, offset, size), size, value, source, step);
  } else if (held.kind === "context") storeContext(a, base, held, offset, size);
  else checkRegion(a, base, held, offset, size, "write");
}

/**
 * Reads and writes at once, at an aligned address, and gives what lay there before. Packets and
 * contexts allow none.
 */
export function modify(a: Analysis, base: number, offset: number, size: number): RegisterState {
  const held = usable(a, base);
  const onPacket = held.kind === "packet" || held.kind === "packet_meta";
  if (held.kind === "context" || onPacket || isSocket(held.kind))
    a.refuse(
      "ATOMIC_TARGET",
      `an atomic operation works on ${onPacket ? "the packet" : held.kind === "context" ? "the context" : "a socket"}`,
      "load, change and store it instead; atomics are for maps and the stack",
      [base],
    );
  checkAlignment(a, base, held, offset, size);
  if (held.kind === "stack") {
    a.facts.reach(a.slot, regions.stack);
    const span = stackSpan(a, base, held, offset, size);
    refusePartOfPointer(a, span, size);
    useStack(a, span, size);
    const before = lowConstantOnStack(a, span, size);
    clobberStack(span, size, true);
    return before === undefined ? loaded(size, false) : constantScalar(before);
  }
  checkRegion(a, base, held, offset, size, "read");
  checkRegion(a, base, held, offset, size, "write");
  return loaded(size, false);
}

/** The pointer in a register that something is accessed through. */
function usable(a: Analysis, base: number): RegisterState {
  const held = a.read(base);
  if (held.nullable) refuseNullable(a, base, held);
  return held;
}

function refuseNullable(a: Analysis, base: number, held: RegisterState): never {
  const what =
    held.kind === "map_value"
      ? "the map value"
      : isSocket(held.kind)
        ? "the socket"
        : `the ${held.kind}`;
  a.refuse(
    "MAYBE_NULL",
    `r${base} is used as a pointer, and ${what} may not be there (it may be null)`,
    `compare r${base} with 0 before this, and leave where it is 0`,
    [base],
  );
}

/**
 * Checks that `size` bytes at a pointer, other than to stack or context, lie in its object and may
 * be touched so.
 */
export function checkRegion(
  a: Analysis,
  base: number,
  held: RegisterState,
  offset: number,
  size: number,
  mode: "read" | "write",
): void {
  switch (held.kind) {
    case "packet":
    case "packet_meta":
      if (mode === "write" && !mayWritePacket(a.program.type))
        a.refuse(
          "PACKET_READ_ONLY",
          `programs of type ${a.program.type} may read the packet, not write it`,
          "change a copy on the stack; programs of type xdp, tc, tcx and action may write",
          [base],
        );
      a.facts.reach(a.slot, held.kind === "packet" ? regions.packet : regions.metadata);
      checkPacket(a, base, held, offset, size);
      return;
    case "map_value": {
      const map = mapOf(a.program, held.target);
      checkMapMode(a, base, map, mode);
      a.facts.reach(a.slot, regions.mapValue);
      const what = `the value of map ${map.name}`;
      checkSpan(a, base, held, offset, size, map.valueSize, "MAP_VALUE_BOUNDS", what);
      if (map.spinLock !== undefined) checkSpinLockUntouched(a, base, held, offset, size, map);
      return;
    }
    case "map_key":
    case "memory":
      if (mode === "write" && held.readOnly)
        a.refuse(
          "MEMORY_READ_ONLY",
          `r${base} points to memory that may only be read`,
          "copy it to the stack and change the copy",
          [base],
        );
      a.facts.reach(a.slot, regions.memory);
      checkSpan(a, base, held, offset, size, held.extent, "MEMORY_BOUNDS", memoryText(held));
      return;
    default:
      refuseNoMemory(a, base, held, mode);
  }
}

/** What a pointer that is not to a map's value points into. */
function memoryText({ kind, reference }: RegisterState): string {
  if (kind === "map_key") return "the key";
  return reference === 0 ? "its memory" : "the reserved record";
}

function refuseNoMemory(
  a: Analysis,
  base: number,
  held: RegisterState,
  mode: "read" | "write",
): never {
  if (held.kind !== "scalar")
    a.refuse(
      "NOT_A_POINTER",
      `r${base} is used as a pointer to memory, and ${isSocket(held.kind) ? "a socket" : "what it holds"} cannot be ${mode === "read" ? "read" : "written"} through`,
      noMemoryFix(held),
      [base],
    );
  const lost = lostPointer(a, base);
  if (lost !== undefined)
    a.refuse("NOT_A_POINTER", `r${base} is used as a pointer, and ${lost.cause}`, lost.fix, [base]);
  a.refuse(
    "NOT_A_POINTER",
    `r${base} is used as a pointer and holds a number`,
    "keep the pointer in a register or an 8-byte stack slot; arithmetic other than adding and subtracting numbers makes it a number",
    [base],
  );
}

function noMemoryFix({ kind }: RegisterState): string {
  if (kind === "map") return "call map_lookup_elem and use what it returns";
  if (isSocket(kind)) return "the fields of a socket may only be read, by loads";
  if (kind === "packet_end")
    return "read between data and data_end; data_end itself is only for compares";
  return "use a pointer to the stack, to the packet or into a map";
}

const spinLockBytes = 4;

/** Kernel: check_map_access, "bpf_spin_lock cannot be accessed directly by load/store". */
function checkSpinLockUntouched(
  a: Analysis,
  base: number,
  held: RegisterState,
  offset: number,
  size: number,
  map: VerifiedMap,
): void {
  const lock = BigInt(map.spinLock as number);
  const from = BigInt(held.offset + offset);
  if (from + held.range.smin >= lock + BigInt(spinLockBytes)) return;
  if (from + held.range.umax + BigInt(size) <= lock) return;
  a.refuse(
    "SPIN_LOCK",
    `bytes of the struct bpf_spin_lock in a value of map ${map.name} are accessed`,
    "only bpf_spin_lock and bpf_spin_unlock may touch it: copy and compare the members around it",
    [base],
  );
}

function checkMapMode(a: Analysis, base: number, map: VerifiedMap, mode: "read" | "write"): void {
  if (mode === "write" && (map.readOnly || map.type === "devmap" || map.type === "devmap_hash"))
    a.refuse(
      "MAP_READ_ONLY",
      `map ${map.name} is read-only to programs`,
      map.readOnly
        ? "const data cannot be written; declare it without const"
        : "set its entries from outside: in the config, or by weir map update",
      [base],
    );
  if (mode === "read" && (map.flags & F_WRONLY_PROG) !== 0)
    a.refuse(
      "MAP_READ_ONLY",
      `map ${map.name} is write-only to programs`,
      "declare it without BPF_F_WRONLY_PROG",
      [base],
    );
}

/**
 * Packet bytes are there as far as a compare with data_end has shown, for all pointers with the
 * same unknown part: `extent` counts from that part on.
 */
function checkPacket(
  a: Analysis,
  base: number,
  held: RegisterState,
  offset: number,
  size: number,
): void {
  const from = held.offset + offset;
  if (held.range === zeroRange && from >= 0 && from + size <= held.extent) return;
  const what = held.kind === "packet" ? "packet" : "metadata";
  const limit = held.kind === "packet" ? "data_end" : "data";
  if (from < 0 || held.range.smin < 0n)
    a.refuse(
      "PACKET_BOUNDS",
      `the access may lie before the ${what}: r${base} is its start ${from < 0 ? `- ${-from}` : `+ (${rangeText(held.range)})`}`,
      held.range.smin < 0n
        ? `make sure what is added to r${base} is not negative: use an unsigned type, or mask it`
        : "begin at data, or after it",
      [base],
    );
  if (held.extent >= 0 && from + size <= held.extent) return;
  const known = Math.max(0, held.extent);
  const counted = isConstant(held.range) ? "" : " from the variable offset on";
  const cause = `${what} ${bytesAre(from, from + size - 1)} accessed${counted}, and ${known === 0 ? "none is" : `only the first ${known} are`} known to be there`;
  if (!isConstant(held.range)) refuseFarOffset(a, base, held.range, from + size, cause, limit);
  a.refuse(
    "PACKET_BOUNDS",
    cause,
    `compare r${base} + ${offset + size} with ${limit} before this, and leave where it is greater`,
    [base],
  );
}

/** Refuses a variable offset with which no compare of the access's end would count. */
function refuseFarOffset(
  a: Analysis,
  base: number,
  range: ScalarRange,
  end: number,
  cause: string,
  limit: string,
): void {
  const most = maxPacketOffset - end;
  if (most < 0 || range.umax <= BigInt(most)) return;
  const mask = 0x7fff;
  a.refuse(
    "PACKET_BOUNDS",
    `${cause}: that offset is ${rangeText(range)}, and a compare with ${limit} counts only where offset and access end within ${maxPacketOffset} bytes`,
    `bound the offset before it is added, to at most ${most}${mask <= most ? `, for instance with & 0x${mask.toString(16)}` : ""}; then compare with ${limit}`,
    [base],
  );
}

/** The whole span that a pointer with an unknown part may reach must lie within `extent` bytes. */
function checkSpan(
  a: Analysis,
  base: number,
  held: RegisterState,
  offset: number,
  size: number,
  extent: number,
  code: RefusalCode,
  what: string,
): void {
  const from = held.offset + offset;
  if (held.range === zeroRange && from >= 0 && from + size <= extent) return;
  const { smin, umax } = held.range;
  const least = BigInt(from) + smin;
  if (least < 0n)
    a.refuse(
      code,
      smin < 0n
        ? `the access may lie before ${what}: what was added to r${base} is ${rangeText(held.range)}`
        : `the access begins ${bytesText(Number(-least))} before ${what}`,
      smin < 0n
        ? `make sure it is not negative: use an unsigned type, or mask it with &= first`
        : `stay within its bytes, 0 to ${extent - 1}`,
      [base],
    );
  const end = BigInt(from) + umax + BigInt(size);
  if (umax < maxVariableOffset && end <= BigInt(extent)) return;
  const known = isConstant(held.range);
  if (!known && smin < 0n && umax >= maxVariableOffset)
    a.refuse(
      code,
      `any byte may be accessed, and ${what} has ${extent}: what was added to r${base} may be negative, it is ${rangeText(held.range)}`,
      `make sure it is not negative: use an unsigned type, compare it with 0, or mask it with &= first`,
      [base],
    );
  a.refuse(
    code,
    known
      ? `${bytesAre(least, end - 1n)} accessed, and ${what} has ${extent}`
      : `${umax >= maxVariableOffset ? "any byte" : `bytes up to ${end - 1n}`} may be accessed, and ${what} has ${extent}: what was added to r${base} is ${rangeText(held.range)}`,
    known
      ? roomFix(held, end, extent)
      : `bound it first: compare it with ${Math.max(0, extent - size - from)}, or mask it with &=`,
    [base],
  );
}

/** Of an access at a known place that does not fit. */
function roomFix(held: RegisterState, end: bigint, extent: number): string {
  const within = extent === 0 ? "" : `stay within bytes 0 to ${extent - 1}`;
  const or = within === "" ? "" : `${within}, or `;
  if (held.kind === "map_value") return `${or}make the value ${end} bytes long`;
  if (held.reference !== 0) return `${or}reserve ${end} bytes`;
  return within === "" ? "there is nothing to access" : within;
}

/**
 * Of stack accesses, and anywhere of atomic operations and of what helpers write as one word: addresses
 * that are multiples of the size.
 */
export function checkAlignment(
  a: Analysis,
  base: number,
  held: RegisterState,
  offset: number,
  size: number,
): void {
  if (size === 1) return;
  if (held.range === zeroRange && ((held.offset + offset) & (size - 1)) === 0) return;
  const fixed = BigInt.asUintN(64, BigInt(held.offset + offset));
  if (alignedBits(addBits(held.range, { value: fixed, mask: 0n }), size)) return;
  a.refuse(
    "MISALIGNED",
    `${size} bytes at ${held.kind === "stack" ? "stack offset" : "offset"} ${held.offset + offset}${isConstant(held.range) ? "" : ` + (${rangeText(held.range)})`} are not aligned to ${size}`,
    `use an offset that is a multiple of ${size}`,
    [base],
  );
}

/** A number that the program was compiled with: it lies in a map that nobody writes. */
function knownValue(
  a: Analysis,
  held: RegisterState,
  offset: number,
  size: number,
  signed: boolean,
): RegisterState | undefined {
  if (held.kind !== "map_value" || !isConstant(held.range)) return undefined;
  const map = mapOf(a.program, held.target);
  if (map.frozenValue === undefined || map.maxEntries !== 1) return undefined;
  const at = held.offset + Number(held.range.smin) + offset;
  let value = 0n;
  for (let i = size - 1; i >= 0; i--)
    value = (value << 8n) | BigInt(map.frozenValue[at + i] as number);
  return constantScalar(signed ? BigInt.asIntN(8 * size, value) : value);
}
