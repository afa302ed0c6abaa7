import { u8, u16be } from "../common/bytes.ts";

/**
 * The internet checksum of RFC 1071.
 *
 * A *partial sum* is the plain sum of 16-bit words in network order: any whole number from 0 up.
 * Partial sums of adjoining pieces add up as long as each piece but the last has an even length.
 * `finishSum` makes the checksum field's value of it. A field that is zero when it is summed takes
 * no part; summing a packet with its right checksum in place finishes as 0.
 */

/**
 * Below this many bytes a DataView costs more than it saves. Measured on a 2-core x64 machine,
 * ns for 22/64/1400 bytes: byte pairs 15/28/513, 16-bit DataView reads 9/18/299, 32-bit reads four
 * at a time 11/12/132, Uint16Array where aligned 8/12/124, BigUint64Array 30/56/1038. 32-bit reads
 * through a DataView need no alignment and no case for odd addresses. Those were bare loops; with
 * the view looked up and the sum finished, 1,400 bytes take 200 ns here.
 */
const wordsFrom = 32;

/**
 * The view of the buffer that was summed last: nearly always the arena. Making one for each call
 * would cost as much as summing a small packet.
 */
let view: DataView = new DataView(new ArrayBuffer(0));

/** As `partialSum`. */
export type PartialSum = (bytes: Uint8Array, from: number, to: number, initial?: number) => number;

/**
 * The sum of the bytes from `from` up to `to`, and `initial`. An odd last byte counts as the high
 * half of a word, as RFC 1071 has it. At most 65,535 × (bytes / 2), so exact in a number for any
 * array.
 */
export function partialSum(bytes: Uint8Array, from: number, to: number, initial = 0): number {
  let sum = initial;
  let at = from;
  if (to - at >= wordsFrom) {
    if (view.buffer !== bytes.buffer) view = new DataView(bytes.buffer);
    const base = bytes.byteOffset;
    const end = base + to - 15;
    let word = base + at;
    for (; word < end; word += 16) {
      const a = view.getInt32(word);
      const b = view.getInt32(word + 4);
      const c = view.getInt32(word + 8);
      const d = view.getInt32(word + 12);
      sum +=
        (a & 0xffff) +
        (a >>> 16) +
        (b & 0xffff) +
        (b >>> 16) +
        (c & 0xffff) +
        (c >>> 16) +
        (d & 0xffff) +
        (d >>> 16);
    }
    at = word - base;
  }
  for (; at + 1 < to; at += 2) sum += u16be(bytes, at);
  if (at < to) sum += u8(bytes, at) << 8;
  return sum;
}

/** The value for a checksum field: the sum folded to 16 bits and complemented. RFC 1071 §1. */
export function finishSum(sum: number): number {
  return ~foldSum(sum) & 0xffff;
}

/** The checksum of the bytes from `from` up to `to`. */
export function checksum(bytes: Uint8Array, from: number, to: number): number {
  return finishSum(partialSum(bytes, from, to));
}

/**
 * Partial sum of the pseudo-header in front of TCP, UDP and ICMPv6: both addresses, which lie side
 * by side at `addressesAt` in either IP header, the protocol, and the transport's length in bytes.
 * RFC 9293 §3.1, RFC 8200 §8.1.
 */
export function pseudoHeaderSum(
  bytes: Uint8Array,
  addressesAt: number,
  family: 4 | 6,
  protocol: number,
  transportBytes: number,
): number {
  const addressBytes = family === 4 ? 8 : 32;
  // The length field has 32 bits for IPv6: its high half is a word of its own.
  const length = (transportBytes & 0xffff) + (transportBytes >>> 16);
  return partialSum(bytes, addressesAt, addressesAt + addressBytes, protocol + length);
}

/**
 * The checksum after one 16-bit word that it covers changed. RFC 1624, equation 3, which unlike
 * RFC 1141's never makes 0xffff of what a full sum makes 0.
 */
export function updateChecksum(checksum: number, oldWord: number, newWord: number): number {
  return finishSum((~checksum & 0xffff) + (~oldWord & 0xffff) + newWord);
}

/** End-around carry until 16 bits are left. Sums beyond 2³² are divided: shifts would cut them. */
function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff_ffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}
