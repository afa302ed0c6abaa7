import type { MapSpec, MapType } from "../object/object-spec.ts";

/**
 * A map that has storage: what crosses threads. `descriptor` is its arena offset, which is also
 * what an eBPF register holds; the other fields repeat what the descriptor says, for TypeScript.
 */
export interface MapHandle {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly cpus: number;
  readonly descriptor: number;
  /** Programs may not write its values (`.rodata`, BPF_F_RDONLY_PROG). */
  readonly readOnly: boolean;
  /** Nor may user space, once it is filled: `.rodata`, whose values programs are compiled with. */
  readonly frozen?: boolean;
  /** map_extra, where it is not 0. */
  readonly extra?: number | undefined;
  /** Where a `struct bpf_spin_lock` lies in the value, bytes. */
  readonly spinLock?: number | undefined;
  /** Of a map of maps: what each of its maps is like. It has no storage. */
  readonly inner?: MapHandle | undefined;
}

/** What a map's handle will say, before the map has storage: enough to check what uses it. */
export function unplacedMap(spec: MapSpec): MapHandle {
  const { name, type, keySize, valueSize, maxEntries, flags, readOnly, extra, spinLock } = spec;
  return {
    name,
    type,
    keySize,
    valueSize,
    maxEntries,
    flags,
    readOnly,
    extra,
    spinLock,
    inner: spec.inner === undefined ? undefined : unplacedMap(spec.inner),
    cpus: 1,
    descriptor: 0,
  };
}
