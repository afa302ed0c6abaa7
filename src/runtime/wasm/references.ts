/**
 * Maps whose values name something outside: devmap, devmap_hash (kernel/bpf/devmap.c) and xskmap
 * (net/xdp/xskmap.c) an interface, cpumap (cpumap.c) a worker, prog_array (arraymap.c) a program,
 * array_of_maps another map's descriptor. 0 means none. Programs do not write them.
 */
import { valueAt } from "./array";
import { E2BIG, EBADF, EEXIST, EINVAL, ENODEV, ENOENT, EOVERFLOW } from "./error";
import { updateHash } from "./hash-write";
import {
  MAP_MAX_ENTRIES,
  MAP_VALUE_SIZE,
  MAP_WORKERS,
  UPDATE_ANY,
  UPDATE_EXIST,
  UPDATE_NOEXIST,
} from "./layout";
import { publish, put } from "./memory";

/** `struct bpf_devmap_val`: the interface, then a program that may be absent. */
const DEVICE_PROGRAM: usize = 4;

/** The slot of an index in use, or 0. For all but devmap_hash. */
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

/** `struct bpf_cpumap_val`: a queue's size, 0 clears the slot; then a program that may be absent. */
export function updateWorker(map: usize, key: usize, value: usize, flags: u32): i32 {
  if (flags > (UPDATE_EXIST as u32)) return -EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return -E2BIG;
  if (flags === UPDATE_NOEXIST) return -EEXIST;
  if (load<u32>(value) > MOST_QUEUED) return -EOVERFLOW;
  if (index >= load<u32>(map, MAP_WORKERS)) return -ENODEV;
  if (namesProgram(map, value)) return -EINVAL;
  publish(valueAt(map, index), load<u32>(value));
  return 0;
}

const MOST_QUEUED: u32 = 16384;

/** From an xskmap's slot to what a program finds there: `struct bpf_xdp_sock`, the queue's number. */
export const SOCKET_QUEUE: usize = 4;

/** Each socket is bound to the queue of its index. */
export function initializeSockets(map: usize): void {
  const entries = load<u32>(map, MAP_MAX_ENTRIES);
  for (let i: u32 = 0; i < entries; i++) put(valueAt(map, i) + SOCKET_QUEUE, i);
}

export function updateSocket(map: usize, key: usize, value: usize, flags: u32): i32 {
  if (flags > (UPDATE_EXIST as u32)) return -EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, MAP_MAX_ENTRIES)) return -E2BIG;
  const socket = load<u32>(value);
  if (socket === 0) return -EBADF;
  const slot = valueAt(map, index);
  const old = load<u32>(slot);
  if (old === socket) return 0;
  if (old !== 0 && flags === UPDATE_NOEXIST) return -EEXIST;
  if (old === 0 && flags === UPDATE_EXIST) return -ENOENT;
  publish(slot, socket);
  return 0;
}

/** For prog_array and array_of_maps. */
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
