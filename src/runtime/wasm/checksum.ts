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
  return finish(i32x4.add(even, odd), at, to);
}

/** Copies the bytes from `from` up to `to` to `target`, which must not overlap them; sums them meanwhile. */
export function copySum(from: usize, to: usize, target: usize): u32 {
  let at = from;
  let out = target;
  let even = i32x4.splat(0);
  let odd = i32x4.splat(0);
  for (; at + 32 <= to; at += 32, out += 32) {
    const first = v128.load(at);
    const second = v128.load(at, 16);
    v128.store(out, first);
    v128.store(out, second, 16);
    even = i32x4.add(even, i32x4.extadd_pairwise_i16x8_u(first));
    odd = i32x4.add(odd, i32x4.extadd_pairwise_i16x8_u(second));
  }
  for (let i = at; i < to; i++, out++) store<u8>(out, load<u8>(i));
  return finish(i32x4.add(even, odd), at, to);
}

/** The folded sum of `all` and of the bytes that are left, fewer than 32. */
function finish(sums: v128, from: usize, to: usize): u32 {
  let at = from;
  let all = sums;
  if (at + 16 <= to) {
    all = i32x4.add(all, i32x4.extadd_pairwise_i16x8_u(v128.load(at)));
    at += 16;
  }
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
