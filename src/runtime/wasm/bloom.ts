/**
 * bloom_filter: kernel/bpf/bloom_filter.c, with its hash functions (jhash, include/linux/jhash.h),
 * so that with a seed of 0 even what is taken for another is the kernel's.
 */
import { EINVAL, ENOENT } from "./error";
import { bloomBits } from "./geometry";
import {
  MAP_BUCKET_MASK,
  MAP_BUCKETS,
  MAP_HASHES,
  MAP_MAX_ENTRIES,
  MAP_SEED,
  MAP_VALUE_SIZE,
  UPDATE_ANY,
} from "./layout";
import { put, setBits } from "./memory";

const JHASH_INITVAL: u32 = 0xdeadbeef;

export function initializeBloom(map: usize, storage: u32, seed: u32, hashes: u32): void {
  put(map + MAP_SEED, seed);
  put(map + MAP_HASHES, hashes);
  put(map + MAP_BUCKETS, storage);
  const bits = bloomBits(load<u32>(map, MAP_MAX_ENTRIES), hashes);
  put(map + MAP_BUCKET_MASK, ((bits as u64) - 1) as u32);
}

/** `bpf_map_push_elem`. Without a lock: bits are only ever set, each by one atomic operation. */
export function pushBloom(map: usize, value: usize, flags: u32): i32 {
  if (flags !== UPDATE_ANY) return -EINVAL;
  for (let i: u32 = 0; i < load<u32>(map, MAP_HASHES); i++) {
    const bit = bitOf(map, value, i);
    setBits(load<u32>(map, MAP_BUCKETS) + ((bit >> 5) << 2), (1 as u32) << (bit & 31));
  }
  return 0;
}

/** `bpf_map_peek_elem`: 0 where the value was perhaps pushed, -ENOENT where it surely was not. */
export function peekBloom(map: usize, value: usize): i32 {
  for (let i: u32 = 0; i < load<u32>(map, MAP_HASHES); i++) {
    const bit = bitOf(map, value, i);
    const word = load<u32>(load<u32>(map, MAP_BUCKETS) + ((bit >> 5) << 2));
    if ((word & ((1 as u32) << (bit & 31))) === 0) return -ENOENT;
  }
  return 0;
}

function bitOf(map: usize, value: usize, index: u32): u32 {
  const size = load<u32>(map, MAP_VALUE_SIZE);
  const seed = load<u32>(map, MAP_SEED) + index;
  const hash = hashBytes(value, size, seed);
  return hash & load<u32>(map, MAP_BUCKET_MASK);
}

/** jhash. The kernel takes jhash2 for whole words, which gives the same. linux/jhash.h. */
function hashBytes(at: usize, size: u32, seed: u32): u32 {
  let a: u32 = JHASH_INITVAL + size + seed;
  let b = a;
  let c = a;
  let left = size;
  for (; left > 12; left -= 12, at += 12) {
    a += load<u32>(at);
    b += load<u32>(at, 4);
    c += load<u32>(at, 8);
    a -= c;
    a ^= rotl<u32>(c, 4);
    c += b;
    b -= a;
    b ^= rotl<u32>(a, 6);
    a += c;
    c -= b;
    c ^= rotl<u32>(b, 8);
    b += a;
    a -= c;
    a ^= rotl<u32>(c, 16);
    c += b;
    b -= a;
    b ^= rotl<u32>(a, 19);
    a += c;
    c -= b;
    c ^= rotl<u32>(b, 4);
    b += a;
  }
  if (left === 0) return c;
  a += tailWord(at, left, 0);
  b += tailWord(at, left, 4);
  c += tailWord(at, left, 8);
  return finish(a, b, c);
}

/** The word at `offset` of the last `size` bytes, with zeros for what is beyond them. */
function tailWord(at: usize, size: u32, offset: u32): u32 {
  let word: u32 = 0;
  for (let i = offset; i < offset + 4 && i < size; i++)
    word |= (load<u8>(at + i) as u32) << ((i - offset) * 8);
  return word;
}

/** __jhash_final. */
function finish(a: u32, b: u32, c: u32): u32 {
  c ^= b;
  c -= rotl<u32>(b, 14);
  a ^= c;
  a -= rotl<u32>(c, 11);
  b ^= a;
  b -= rotl<u32>(a, 25);
  c ^= b;
  c -= rotl<u32>(b, 16);
  a ^= c;
  a -= rotl<u32>(c, 4);
  b ^= a;
  b -= rotl<u32>(a, 14);
  c ^= b;
  c -= rotl<u32>(b, 24);
  return c;
}
