/**
 * The map operations of the WebAssembly runtime, as each thread's instance exports them.
 *
 * All arguments are u32 arena offsets or small integers. `map` is a descriptor's offset; `key` and
 * `value` are offsets of that many bytes; the caller has checked that they lie in the arena.
 * Results below 0 are `-errno`, as the kernel's map operations give them. Update flags are 64 bits
 * in eBPF: a caller whose high word is not 0 passes 0xffffffff, which is refused as the kernel does.
 *
 * Any thread may call any operation at any time, except where it says otherwise.
 */
export interface MapRuntime extends DirectLookups, PacketSums {
  /**
   * Lays out a descriptor and its storage (`storage`: offset of `storageBytes(…)` zeroed bytes). The
   * descriptor is zero but for MAP_HASHES of a bloom filter and MAP_SPIN_LOCK, which the caller sets.
   */
  initialize(
    map: number,
    type: number,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    flags: number,
    cpus: number,
    storage: number,
    seed: number,
  ): number;
  /**
   * The value of `key` on `cpu`, or 0. `bpf_map_lookup_elem`. The main thread gets CPU 0's. Of a map
   * of maps it is where the inner map's descriptor stands.
   */
  lookup(map: number, key: number, cpu: number): number;
  /** `bpf_map_update_elem` as a program on `cpu` calls it: one value, that CPU's. */
  update(map: number, key: number, value: number, flags: number, cpu: number): number;
  /**
   * `BPF_MAP_UPDATE_ELEM` as user space calls it: for per-CPU maps `value` holds all CPUs' values,
   * each rounded up to 8 bytes. Main thread only.
   */
  updateAll(map: number, key: number, value: number, flags: number): number;
  /** `bpf_map_delete_elem`. `cpu` is the caller's, or MAIN_THREAD. */
  remove(map: number, key: number, cpu: number): number;
  /**
   * `BPF_MAP_GET_NEXT_KEY`: writes the key after `key` (0, or one that is gone: the first) to
   * `out`. -ENOENT after the last. Main thread only.
   */
  nextKey(map: number, key: number, out: number): number;
  /** `bpf_map_push_elem` of queue, stack and bloom_filter. */
  push(map: number, value: number, flags: number, cpu: number): number;
  /** `bpf_map_pop_elem`: -ENOENT and a zeroed value where there is none. */
  pop(map: number, value: number, cpu: number): number;
  /** `bpf_map_peek_elem`; of a bloom_filter 0 or -ENOENT for the value given. */
  peek(map: number, value: number, cpu: number): number;
  /**
   * Room for `size` bytes in ring `ring` (0 of a ringbuf; of a perf_event_array the caller's own
   * `cpu`), which the reader waits for until `commit`. 0 where there is none: counted as lost.
   */
  reserve(map: number, ring: number, size: number, cpu: number): number;
  /** Ends the writing of what `reserve` returned; `isDiscarded` not 0: it is passed by. */
  commit(sample: number, isDiscarded: number): void;
  /** Offset of a ring's oldest committed record (RECORD_*), or 0. Main thread only. */
  nextRecord(map: number, ring: number): number;
  /** Gives the room of `nextRecord`'s record back. Main thread only. */
  releaseRecord(map: number, ring: number): void;
  /** `bpf_spin_lock` on the word at `address`. 0 where the main thread waited a second in vain. */
  spinLock(address: number, cpu: number): number;
  spinUnlock(address: number): void;
  /**
   * Releases and repairs what a dead worker held: the map's lock, spin locks in its values, records
   * it had reserved. True if the map's lock was its. Main thread only.
   */
  repair(map: number, cpu: number): number;
  /**
   * Copies all CPUs' values of `key`, each rounded up to 8 bytes, to `out`: 0 or -ENOENT. Never
   * mixes two entries, as reading through `lookup` may once a worker replaces the entry. Main
   * thread only.
   */
  read(map: number, key: number, out: number): number;
  /**
   * Copies up to `capacity` entries (key, then all CPUs' values, each rounded up to 8 bytes) to
   * `out` and moves `cursor` (CURSOR_*, zeroed at the start) behind them. Returns their number,
   * which may be 0 before the end: that is where CURSOR_POSITION is CURSOR_END. Each entry that is
   * there from start to end is given once. Main thread only.
   */
  scan(map: number, cursor: number, out: number, capacity: number): number;
  /**
   * `bpf_for_each_map_elem` on an array or hash: moves `cursor` (CURSOR_*, zeroed at the start) to
   * the next entry, copies its key there, and returns `cpu`'s value of it, 0 at the end. Each entry
   * that is there from start to end is given once, whatever is changed between. For workers.
   */
  walk(map: number, cursor: number, cpu: number): number;
  /**
   * Writes the interfaces that a devmap or devmap_hash holds, but for `excluded` (0: none), to `out`, a
   * word each, the first `capacity` of them. Returns how many there are. For workers.
   */
  devices(map: number, excluded: number, out: number, capacity: number, cpu: number): number;
}

/**
 * `lookup` for a map whose type and key size the caller knows, to be imported by code compiled for
 * it: a call between WebAssembly modules costs nothing measurable. `cpu` is a worker's number.
 *
 * `Hash` serves hash, percpu_hash and devmap_hash, `Lru` the two LRU types, `Array` both arrays,
 * `Trie` lpm_trie; 4, 8 and 16 are key sizes in bytes, N is for all other sizes.
 */
export interface DirectLookups {
  lookupArray(map: number, key: number, cpu: number): number;
  lookupHash4(map: number, key: number, cpu: number): number;
  lookupHash8(map: number, key: number, cpu: number): number;
  lookupHash16(map: number, key: number, cpu: number): number;
  lookupHashN(map: number, key: number, cpu: number): number;
  lookupLru4(map: number, key: number, cpu: number): number;
  lookupLru8(map: number, key: number, cpu: number): number;
  lookupLru16(map: number, key: number, cpu: number): number;
  lookupLruN(map: number, key: number, cpu: number): number;
  lookupTrie(map: number, key: number, cpu: number): number;
}

/** What packets need of the runtime. */
export interface PacketSums {
  /**
   * The internet checksum's sum (RFC 1071) over the bytes from `from` up to `to`, at most 512 KiB:
   * folded to 16 bits, in network order, a partial sum as checksum.ts has them. An odd last byte
   * counts as the high half of a word.
   */
  internetSum(from: number, to: number): number;
  /** The same, and copies them to `target`, which must not overlap them. */
  copySum(from: number, to: number, target: number): number;
}

/** The `cpu` under which the main thread takes locks. */
export { MAIN_CPU as MAIN_THREAD } from "./wasm/layout.ts";
