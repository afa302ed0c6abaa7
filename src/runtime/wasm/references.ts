/**
 * Maps whose values name something outside: devmap and devmap_hash (kernel/bpf/devmap.c) an
 * interface, prog_array (arraymap.c) a program. 0 means none. Programs do not write them.
 */
import { valueAt } from "./array";
import { E2BIG, EBADF, EEXIST, EINVAL, ENOENT } from "./error";
import { updateHash } from "./hash-write";
import {
  MAP_MAX_ENTRIES,
  MAP_VALUE_SIZE,
  UPDATE_ANY,
  UPDATE_EXIST,
  UPDATE_NOEXIST,
} from "./layout";
import { publish, put } from "./memory";

/** `struct bpf_devmap_val`: the interface, then a program that may be absent. */
const DEVICE_PROGRAM: usize = 4;

/** The slot of an index in use, or 0. For devmap and prog_array. */
export function lookupReference(map: usize, key: usize): usize {
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return 0;
  const slot = valueAt(map, index);
  return load<u32>(slot) === 0 ? 0 : slot;
}

/** Interface 0 clears the slot; BPF_EXIST is not looked at. */
export function updateDevice(map: usize, key: usize, value: usize, flags: u32): i32 {
  if (flags > (UPDATE_EXIST as u32)) return -EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return -E2BIG;
  if (flags === UPDATE_NOEXIST) return -EEXIST;
  if (namesProgram(map, value)) return -EINVAL;
  publish(valueAt(map, index), load<u32>(value));
  return 0;
}

export function removeDevice(map: usize, key: usize): i32 {
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return -EINVAL;
  publish(valueAt(map, index), 0);
  return 0;
}

/** BPF_EXIST does not keep a new entry out, and interface 0 is refused. */
export function updateDeviceHash(map: usize, key: usize, value: usize, flags: u32, cpu: u32): i32 {
  if (flags > (UPDATE_EXIST as u32) || load<u32>(value) === 0) return -EINVAL;
  if (namesProgram(map, value)) return -EINVAL;
  // A negative program is none; an entry shows that as 0. The value is the caller's scratch.
  if (load<u32>(map, MAP_VALUE_SIZE) > 4) put(value + DEVICE_PROGRAM, 0);
  return updateHash(map, key, value, flags === UPDATE_EXIST ? UPDATE_ANY : flags, cpu);
}

/** Programs on devmap entries run on an interface's transmit side, which there is none of here. */
function namesProgram(map: usize, value: usize): bool {
  return load<u32>(map, MAP_VALUE_SIZE) > 4 && load<i32>(value, DEVICE_PROGRAM) > 0;
}

export function updateProgram(map: usize, key: usize, value: usize, flags: u32): i32 {
  if (flags !== UPDATE_ANY) return -EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return -E2BIG;
  if (load<u32>(value) === 0) return -EBADF;
  publish(valueAt(map, index), load<u32>(value));
  return 0;
}

export function removeProgram(map: usize, key: usize): i32 {
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return -E2BIG;
  const slot = valueAt(map, index);
  if (load<u32>(slot) === 0) return -ENOENT;
  publish(slot, 0);
  return 0;
}
