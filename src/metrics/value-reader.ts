import { u8, u16le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import type { Btf } from "../object/btf.ts";
import { resolveType } from "../object/btf-types.ts";
import { findNumber, type NumberPlace, numberSizes, type ValueProblem } from "./btf-field.ts";

/** A sum of integers of up to 64 bits, in two words so that the sum is rounded only once. */
export interface Total {
  low: number;
  high: number;
}

/** Adds the number in a map's value to a total. */
export type ValueReader = (value: Uint8Array, total: Total) => void;

/** The total as a number: exact to 2⁵³, above that the nearest. Prometheus has nothing finer. */
export function totalOf({ low, high }: Total): number {
  return high * 2 ** 32 + low;
}

/**
 * A reader of a value of `valueSize` bytes that is a number, or of its member `field`.
 * `type` is the value's BTF type id; without it a value of 1, 2, 4 or 8 bytes is unsigned.
 */
export function valueReader(
  valueSize: number,
  field: string | undefined,
  btf: Btf | undefined,
  type: number | undefined,
): Result<ValueReader, ValueProblem> {
  if (btf === undefined || type === undefined || resolveType(btf, type).kind === "void") {
    if (field !== undefined)
      return err({
        what: `field "${field}" cannot be found: the map has no BTF value type`,
        fix: 'build the object with -g and declare the map in SEC(".maps") with __type(value, …)',
      });
    if (!numberSizes.includes(valueSize))
      return err({
        what: `its value has ${valueSize} bytes, and a number has 1, 2, 4 or 8`,
        fix: "choose a map of numbers, or build the object with -g and name a member with field",
      });
    return ok(readerAt({ offset: 0, size: valueSize, signed: false }));
  }
  const place = findNumber(btf, type, field);
  if (!place.ok) return place;
  if (place.value.offset + place.value.size > valueSize)
    return err({
      what: `BTF places ${field ?? "the value"} beyond the value's ${valueSize} bytes`,
      fix: "rebuild the object",
    });
  return ok(readerAt(place.value));
}

function readerAt({ offset, size, signed }: NumberPlace): ValueReader {
  const bits = 32 - size * 8;
  switch (size) {
    case 1:
      return (value, total) => {
        total.low += signed ? (u8(value, offset) << bits) >> bits : u8(value, offset);
      };
    case 2:
      return (value, total) => {
        total.low += signed ? (u16le(value, offset) << bits) >> bits : u16le(value, offset);
      };
    case 4:
      return (value, total) => {
        total.low += signed ? u32le(value, offset) | 0 : u32le(value, offset);
      };
    default:
      return (value, total) => {
        total.low += u32le(value, offset);
        total.high += signed ? u32le(value, offset + 4) | 0 : u32le(value, offset + 4);
      };
  }
}
