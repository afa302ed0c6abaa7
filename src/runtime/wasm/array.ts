/** array and percpu_array: kernel/bpf/arraymap.c. */
import { E2BIG, EBUSY, EEXIST, EINVAL, ENOENT } from "./error";
import { arrayBytes, cpuStride, valueStride } from "./geometry";
import {
  MAP_CPU_STRIDE,
  MAP_CPUS,
  MAP_MAX_ENTRIES,
  MAP_SPIN_LOCK,
  MAP_VALUE_COUNT,
  MAP_VALUE_SIZE,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
  UPDATE_EXIST,
  UPDATE_LOCK,
  UPDATE_NOEXIST,
} from "./layout";
import { put } from "./memory";
import { ALL_CPUS, writeLocked, writeValue } from "./value";

export function initializeArray(map: usize, storage: u32, perCpu: boolean): void {
  const entries = load<u32>(map, MAP_MAX_ENTRIES);
  const size = load<u32>(map, MAP_VALUE_SIZE);
  const cpus = load<u32>(map, MAP_CPUS);
  const stride = valueStride(size) as u32;
  put(map + MAP_VALUES, storage);
  put(map + MAP_VALUE_STRIDE, stride);
  put(map + MAP_CPU_STRIDE, perCpu ? (cpuStride(entries, size) as u32) : 0);
  put(map + MAP_VALUE_COUNT, (arrayBytes(entries, size, cpus, perCpu) as u32) / stride);
}

export function lookupArray(map: usize, key: usize, cpu: u32): usize {
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return 0;
  return valueAt(map, index) + cpu * load<u32>(map, MAP_CPU_STRIDE);
}

export function valueAt(map: usize, index: u32): usize {
  return load<u32>(map, MAP_VALUES) + index * load<u32>(map, MAP_VALUE_STRIDE);
}

export function updateArray(map: usize, key: usize, value: usize, flags: u32, cpu: u32): i32 {
  const underLock = (flags & UPDATE_LOCK) !== 0;
  const isRefused = underLock && load<u32>(map, MAP_SPIN_LOCK) === 0;
  if ((flags & ~(UPDATE_LOCK as u32)) > (UPDATE_EXIST as u32)) return -EINVAL;
  // The system call looks for the lock first; so do per-CPU arrays, which have none.
  if (isRefused && (cpu === ALL_CPUS || load<u32>(map, MAP_CPU_STRIDE) !== 0)) return -EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return -E2BIG;
  if ((flags & UPDATE_NOEXIST) !== 0) return -EEXIST;
  if (isRefused) return -EINVAL;
  const at = valueAt(map, index);
  if (underLock) return writeLocked(map, at, value, cpu) ? 0 : -EBUSY;
  writeValue(map, at, value, cpu, false);
  return 0;
}

/** Every index is a key, whether something was put there or not. */
export function nextKeyArray(map: usize, key: usize, out: usize): i32 {
  const entries = load<u32>(map, MAP_MAX_ENTRIES);
  const index = key === 0 ? entries : load<u32>(key);
  if (index === entries - 1) return -ENOENT;
  put(out, index >= entries ? 0 : index + 1);
  return 0;
}
