/**
 * The map operations of the WebAssembly runtime, as each thread's instance exports them.
 *
 * All arguments are u32 arena offsets or small integers. `map` is a descriptor's offset; `key` and
 * `value` are offsets of that many bytes; the caller has checked that they lie in the arena.
 * Results below 0 are `-errno`, as the kernel's map operations give them.
 */
export interface MapRuntime {
  /** Lays out a zeroed descriptor and its storage (`storage`: offset of `storageBytes(…)` zeroed bytes). */
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
  /** The value of `key` on `cpu`, or 0. `bpf_map_lookup_elem`. */
  lookup(map: number, key: number, cpu: number): number;
  /** `bpf_map_update_elem` as a program on `cpu` calls it: one value, that CPU's. */
  update(map: number, key: number, value: number, flags: number, cpu: number): number;
  /** `BPF_MAP_UPDATE_ELEM` as user space calls it: for per-CPU maps `value` holds all CPUs' values, each rounded up to 8 bytes. */
  updateAll(map: number, key: number, value: number, flags: number): number;
  /** `bpf_map_delete_elem`. `cpu` is the caller's, or MAIN_THREAD. */
  remove(map: number, key: number, cpu: number): number;
  /** `BPF_MAP_GET_NEXT_KEY`: writes the key after `key` (0, or one that is gone: the first) to `out`. */
  nextKey(map: number, key: number, out: number): number;
  /** Releases and repairs what a dead worker held. True if the map's lock was its. */
  repair(map: number, cpu: number): number;
}

/** The `cpu` under which the main thread takes locks. */
export const MAIN_THREAD = 0xfffe;
