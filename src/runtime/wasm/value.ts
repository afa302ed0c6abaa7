import { roundUp, valueStride } from "./geometry";
import { MAP_CPU_STRIDE, MAP_CPUS, MAP_KEY_SIZE, MAP_VALUE_SIZE } from "./layout";
import { clear, copy } from "./memory";

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
    copy(at, value, size);
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

/** Writes an entry's value, all CPUs' parts, each rounded up to 8 bytes, to `out`. */
export function readValue(map: usize, at: usize, out: usize): void {
  const size = load<u32>(map, MAP_VALUE_SIZE);
  const stride = load<u32>(map, MAP_CPU_STRIDE);
  const step = valueStride(size) as u32;
  const cpus = load<u32>(map, MAP_CPUS);
  for (let i: u32 = 0; i < cpus; i++) copy(out + i * step, at + i * stride, size);
}

/** Bytes an entry takes where it is copied out: its key, then all CPUs' values, in steps of 8. */
export function entryBytes(map: usize): u32 {
  const key = roundUp(load<u32>(map, MAP_KEY_SIZE), 8) as u32;
  return key + load<u32>(map, MAP_CPUS) * (valueStride(load<u32>(map, MAP_VALUE_SIZE)) as u32);
}
