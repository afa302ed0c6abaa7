/**
 * The sum of RFC 1071 over `from` up to `to`, folded to 16 bits, in network order; an odd last byte
 * is the high half of a word. Sixteen bytes a step; words are summed in the machine's order and the
 * sum is turned at the end, which comes to the same (RFC 1071 §2, byte order independence).
 *
 * At most 512 KiB: each of the eight 32-bit sums grows by two words in 32 bytes.
 */
export function internetSum(from: usize, to: usize): u32 {
  let at = from;
  let even = i32x4.splat(0);
  let odd = i32x4.splat(0);
  for (; at + 32 <= to; at += 32) {
    even = i32x4.add(even, i32x4.extadd_pairwise_i16x8_u(v128.load(at)));
    odd = i32x4.add(odd, i32x4.extadd_pairwise_i16x8_u(v128.load(at, 16)));
  }
  if (at + 16 <= to) {
    even = i32x4.add(even, i32x4.extadd_pairwise_i16x8_u(v128.load(at)));
    at += 16;
  }
  const all = i32x4.add(even, odd);
  let sum: u64 =
    (i32x4.extract_lane(all, 0) as u32 as u64) +
    (i32x4.extract_lane(all, 1) as u32 as u64) +
    (i32x4.extract_lane(all, 2) as u32 as u64) +
    (i32x4.extract_lane(all, 3) as u32 as u64);
  for (; at + 2 <= to; at += 2) sum += load<u16>(at) as u64;
  if (at < to) sum += load<u8>(at) as u64;
  let folded = ((sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32)) as u32;
  folded = (folded & 0xffff) + (folded >> 16);
  folded = (folded & 0xffff) + (folded >> 16);
  return ((folded & 0xff) << 8) | (folded >> 8);
}
