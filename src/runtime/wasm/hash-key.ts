/**
 * Hashing and comparing keys, specialised by size: `K` is u32, u64 or v128 where a key fills that
 * type exactly, and u8 for keys of any size.
 *
 * Keys come from the network, so the hash is keyed: products of 32-bit words, each plus a secret
 * word (NH, as in UMAC, RFC 4418 §5.2). Two given keys collide with a chance of 2⁻³² whatever they
 * are, and without the secrets nobody can choose keys that fall into one bucket.
 */
import { MAP_KEY_SIZE, MAP_SECRETS, MAP_SEED } from "./layout";
import { put } from "./memory";

/** 2⁶⁴ over the golden ratio: an odd number whose bits look random. */
const GOLDEN: u64 = ((0x9e3779b9 as u64) << 32) | 0x7f4a7c15;
const SPLITMIX_1: u64 = ((0xbf58476d as u64) << 32) | 0x1ce4e5b9;
const SPLITMIX_2: u64 = ((0x94d049bb as u64) << 32) | 0x133111eb;

/** Draws the secrets from the seed (splitmix64). */
export function initializeSecrets(map: usize, seed: u32): void {
  put(map + MAP_SEED, seed);
  let state = (seed as u64) * SPLITMIX_1;
  for (let i: usize = 0; i < 4; i++) {
    state += GOLDEN;
    let x = state;
    x = (x ^ (x >> 30)) * SPLITMIX_1;
    x = (x ^ (x >> 27)) * SPLITMIX_2;
    put(map + MAP_SECRETS + i * 4, ((x >> 32) as u32) | 1);
  }
}

// asc:inline
export function hashKey<K>(map: usize, key: usize): u32 {
  if (sizeof<K>() === 4) return finish(product(map, 0, load<u32>(key), 0));
  if (sizeof<K>() === 8) return finish(product(map, 0, load<u32>(key), load<u32>(key, 4)));
  if (sizeof<K>() === 16) return finish(blockProduct(map, key));
  return hashBytes(map, key);
}

function hashBytes(map: usize, key: usize): u32 {
  const size = load<u32>(map, MAP_KEY_SIZE);
  let state: u64 = 0;
  let at: u32 = 0;
  for (; at + 16 <= size; at += 16) state = mix(state ^ blockProduct(map, key + at));
  if (at < size) {
    const rest = size - at;
    const tail = key + at;
    state ^=
      product(map, 0, wordOf(tail, rest, 0), wordOf(tail, rest, 4)) +
      product(map, 8, wordOf(tail, rest, 8), wordOf(tail, rest, 12));
  }
  return finish(state);
}

/** The word at `offset` of `size` bytes, with zeros for what is beyond them. */
function wordOf(bytes: usize, size: u32, offset: u32): u32 {
  if (offset + 4 <= size) return load<u32>(bytes + offset);
  let word: u32 = 0;
  for (let i = offset; i < size; i++) word |= (load<u8>(bytes + i) as u32) << ((i - offset) * 8);
  return word;
}

function blockProduct(map: usize, at: usize): u64 {
  return (
    product(map, 0, load<u32>(at), load<u32>(at, 4)) +
    product(map, 8, load<u32>(at, 8), load<u32>(at, 12))
  );
}

function product(map: usize, secrets: usize, a: u32, b: u32): u64 {
  const x: u32 = a + load<u32>(map + secrets, MAP_SECRETS);
  const y: u32 = b + load<u32>(map + secrets, MAP_SECRETS + 4);
  return (x as u64) * (y as u64);
}

function mix(state: u64): u64 {
  const x = (state ^ (state >> 32)) * GOLDEN;
  return x ^ (x >> 29);
}

function finish(state: u64): u32 {
  return (((state ^ (state >> 32)) * GOLDEN) >> 32) as u32;
}

// asc:inline
export function sameKey<K>(map: usize, a: usize, b: usize): bool {
  if (sizeof<K>() === 4) return load<u32>(a) === load<u32>(b);
  if (sizeof<K>() === 8) return load<u64>(a) === load<u64>(b);
  if (sizeof<K>() === 16)
    return ((load<u64>(a) ^ load<u64>(b)) | (load<u64>(a, 8) ^ load<u64>(b, 8))) === 0;
  const size = load<u32>(map, MAP_KEY_SIZE);
  let at: u32 = 0;
  for (; at + 8 <= size; at += 8) if (load<u64>(a + at) !== load<u64>(b + at)) return false;
  for (; at < size; at++) if (load<u8>(a + at) !== load<u8>(b + at)) return false;
  return true;
}

/** Below, equal or above 0, as memcmp. */
export function compareKeys(map: usize, a: usize, b: usize): i32 {
  const size = load<u32>(map, MAP_KEY_SIZE);
  for (let at: u32 = 0; at < size; at++) {
    const difference = (load<u8>(a + at) as i32) - (load<u8>(b + at) as i32);
    if (difference !== 0) return difference;
  }
  return 0;
}
