import { u8, u16le, u32le } from "../../common/bytes.ts";
import { type Decoder, encodeText } from "./decoder.ts";

/** Sizes in bytes that integers have. */
export const integerSizes: readonly number[] = [1, 2, 4, 8];

/** An unsigned integer in eBPF's byte order, little-endian, as decimal digits. */
export const decodeUint: Decoder = (input) => encodeText(readUint(input).toString());

/** An unsigned integer in network order, as ports of a packet's headers are. */
export const decodeUintBe: Decoder = (input) => encodeText(readUint(input.toReversed()).toString());

/** A signed integer in eBPF's byte order. */
export const decodeInt: Decoder = (input) =>
  encodeText(BigInt.asIntN(input.length * 8, BigInt(readUint(input))).toString());

function readUint(input: Uint8Array): number | bigint {
  switch (input.length) {
    case 1:
      return u8(input, 0);
    case 2:
      return u16le(input, 0);
    case 4:
      return u32le(input, 0);
    default:
      return (BigInt(u32le(input, 4)) << 32n) | BigInt(u32le(input, 0));
  }
}
