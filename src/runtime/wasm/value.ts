import { roundUp, valueStride } from "./geometry";
import {
  MAIN_CPU,
  MAP_CPU_STRIDE,
  MAP_CPUS,
  MAP_KEY_SIZE,
  MAP_SPIN_LOCK,
  MAP_VALUE_SIZE,
} from "./layout";
import { clear, copy, put } from "./memory";
import { spinLock, spinUnlock } from "./spin-lock";

/** `cpu` where user space writes all CPUs' values at once, each rounded up to 8 bytes. */
export const ALL_CPUS: u32 = 0xffffffff;

/**
 * Writes an entry's value, of which CPU 0's part lies at `at`. A map that is not per CPU has one
 * part. A program writes its own CPU's, and zeroes the others where the entry is new.
 */
export function writeValue(map: usize, at: usize, value: usize, cpu: u32, isNew: bool): void {
  const size = load<u32>(map, MAP_VALUE_SIZE);
  const stride = load<u32>(map, MAP_CPU_STRIDE);
  if (stride === 0) {
    const lockAt = load<u32>(map, MAP_SPIN_LOCK);
    if (lockAt === 0) copy(at, value, size);
    else {
      copyAround(at, value, size, lockAt - 1);
      if (isNew) put(at + lockAt - 1, 0);
    }
    return;
  }
  const cpus = load<u32>(map, MAP_CPUS);
  if (cpu === ALL_CPUS) {
    const step = valueStride(size) as u32;
    for (let i: u32 = 0; i < cpus; i++) copy(at + i * stride, value + i * step, size);
    return;
  }
  if (isNew) for (let i: u32 = 0; i < cpus; i++) clear(at + i * stride, size);
  if (cpu < cpus) copy(at + cpu * stride, value, size);
}

/** BPF_F_LOCK: writes a value under its spin lock. False: the main thread waited too long for it. */
export function writeLocked(map: usize, at: usize, value: usize, cpu: u32): bool {
  const word = at + load<u32>(map, MAP_SPIN_LOCK) - 1;
  if (!spinLock(word, cpu === ALL_CPUS ? MAIN_CPU : cpu)) return false;
  writeValue(map, at, value, cpu, false);
  spinUnlock(word);
  return true;
}

/** All but the spin lock, which is never copied. Kernel: copy_map_value. */
function copyAround(to: usize, from: usize, size: u32, lockAt: u32): void {
  const rest = lockAt + 4;
  copy(to, from, lockAt);
  copy(to + rest, from + rest, size - rest);
}

/** Writes an entry's value, all CPUs' parts, each rounded up to 8 bytes, to `out`. */
export function readValue(map: usize, at: usize, out: usize): void {
  const size = load<u32>(map, MAP_VALUE_SIZE);
  const stride = load<u32>(map, MAP_CPU_STRIDE);
  const step = valueStride(size) as u32;
  const cpus = load<u32>(map, MAP_CPUS);
  for (let i: u32 = 0; i < cpus; i++) copy(out + i * step, at + i * stride, size);
  // Whether it is held is nobody's business.
  const lockAt = load<u32>(map, MAP_SPIN_LOCK);
  if (lockAt !== 0) put(out + lockAt - 1, 0);
}

/** Bytes an entry takes where it is copied out: its key, then all CPUs' values, in steps of 8. */
export function entryBytes(map: usize): u32 {
  const key = roundUp(load<u32>(map, MAP_KEY_SIZE), 8) as u32;
  return key + load<u32>(map, MAP_CPUS) * (valueStride(load<u32>(map, MAP_VALUE_SIZE)) as u32);
}
