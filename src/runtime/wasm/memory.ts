/**
 * Every write to the arena goes through here (a test builds the runtime with writes that stop the
 * thread after the nth, and repairs what it left). The functions vanish by inlining.
 */

/** A word that other threads may write at this moment. */
export function shared(at: usize): u32 {
  return atomic.load<u32>(at);
}

export function shared64(at: usize): u64 {
  return atomic.load<u64>(at);
}

/** Makes everything written before visible to a thread that reads this word by `shared`. */
export function publish(at: usize, value: u32): void {
  atomic.store<u32>(at, value);
}

export function publish64(at: usize, value: u64): void {
  atomic.store<u64>(at, value);
}

export function put(at: usize, value: u32): void {
  store<u32>(at, value);
}

export function put64(at: usize, value: u64): void {
  store<u64>(at, value);
}

export function putByte(at: usize, value: u32): void {
  store<u8>(at, value);
}

/** Sets bits of a word that other threads may be setting others of. */
export function setBits(at: usize, bits: u32): void {
  atomic.or<u32>(at, bits);
}

/** Copies by 8-byte words, as the kernel does, so that counters of up to 64 bits never tear. */
export function copy(to: usize, from: usize, size: u32): void {
  if (size > 128) {
    memory.copy(to, from, size);
    return;
  }
  let done: u32 = 0;
  for (; done + 8 <= size; done += 8) store<u64>(to + done, load<u64>(from + done));
  if (done + 4 <= size) {
    store<u32>(to + done, load<u32>(from + done));
    done += 4;
  }
  for (; done < size; done++) store<u8>(to + done, load<u8>(from + done));
}

export function clear(at: usize, size: u32): void {
  memory.fill(at, 0, size);
}
