import { maxPacketOffset } from "./branch.ts";
import { mapOf, type VerifiableProgram } from "./program.ts";
import { atEnd, beyondEnd, type RegisterState } from "./register-state.ts";
import {
  isConstant,
  type ScalarRange,
  s64max,
  s64min,
  sameRange,
  u64max,
  unknownRange,
} from "./scalar-range.ts";

/** What a register holds, in words for people: `packet + 14, of which 14 bytes are known to be there`. */
export function describeRegister(register: RegisterState, program: VerifiableProgram): string {
  const { kind, extent, target, frame } = register;
  const place = offsetText(register);
  const nullable = register.nullable ? ", or null" : "";
  switch (kind) {
    case "uninitialised":
      return "nothing yet";
    case "scalar":
      return rangeText(register.range);
    case "context":
      return `the context${place}`;
    case "stack":
      return frame === 0
        ? `the frame pointer${place}`
        : `the frame pointer of nested function ${frame}${place}`;
    case "packet":
      return `packet data${place}, ${extentText(register)}`;
    case "packet_meta":
      return `packet metadata${place}, ${extentText(register)}`;
    case "packet_end":
      return "the packet's end (data_end)";
    case "map":
      return `map ${mapOf(program, target).name}${nullable}`;
    case "map_value": {
      const map = mapOf(program, target);
      return `a value of map ${map.name} (${map.valueSize} bytes)${place}${nullable}`;
    }
    case "map_key":
      return `a key of a map (${extent} bytes)${place}`;
    case "memory":
      return `memory of ${extent} bytes${place}${nullable}`;
    case "sock_common":
    case "sock":
      return `a socket${nullable}`;
    case "tcp_sock":
      return `a TCP socket${nullable}`;
    case "function":
      return `the function at instruction ${target}`;
    default: {
      const never: never = kind;
      return never;
    }
  }
}

function extentText({ extent, range }: RegisterState): string {
  if (extent === atEnd || extent === beyondEnd) return "known not to lie before data_end";
  if (extent === 0)
    return range.umax >= BigInt(maxPacketOffset)
      ? "too far for a compare with data_end to count"
      : "not compared with data_end yet";
  return `${extent} bytes known to be there`;
}

function offsetText({ offset, range }: RegisterState): string {
  const fixed = offset === 0 ? "" : offset < 0 ? ` - ${-offset}` : ` + ${offset}`;
  if (isConstant(range) && range.value === 0n) return fixed;
  return `${fixed} + (${rangeText(range)})`;
}

/** A number's range, in the view (unsigned or signed) that says more. */
export function rangeText(range: ScalarRange): string {
  if (isConstant(range)) return numberText(range.smin);
  if (sameRange(range, unknownRange)) return "any number";
  if (range.umax !== u64max || range.umin !== 0n)
    if (range.smin < 0n || range.umax <= s64max)
      return `${numberText(range.umin)} to ${numberText(range.umax)}`;
  if (range.smin !== s64min || range.smax !== s64max)
    return `${numberText(range.smin)} to ${numberText(range.smax)}`;
  if (range.u32max !== 0xffff_ffff || range.u32min !== 0)
    return `any number with low half ${range.u32min} to ${range.u32max}`;
  return `any number with bits 0x${range.value.toString(16)} set and 0x${(~(range.value | range.mask) & u64max).toString(16)} clear`;
}

/** Large numbers read better in hexadecimal. */
function numberText(value: bigint): string {
  const size = value < 0n ? -value : value;
  return size < 1_000_000n ? `${value}` : `${value < 0n ? "-" : ""}0x${size.toString(16)}`;
}
