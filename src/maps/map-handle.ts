import { type MapSpec, type MapType, mapTypes } from "../object/object-spec.ts";
import {
  F_RDONLY_PROG,
  MAP_CPUS,
  MAP_FLAGS,
  MAP_KEY_SIZE,
  MAP_MAX_ENTRIES,
  MAP_SPIN_LOCK,
  MAP_TYPE,
  MAP_VALUE_SIZE,
} from "../runtime/wasm/layout.ts";

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

/** A map's handle, read back from its descriptor: what a map of maps holds is known by no other name. */
export function describedMap(name: string, descriptor: number, view: DataView): MapHandle {
  const word = (at: number): number => view.getUint32(descriptor + at, true);
  const type = typeNames.get(word(MAP_TYPE));
  if (type === undefined) throw new Error(`no map at ${descriptor}`);
  const flags = word(MAP_FLAGS);
  const spinLock = word(MAP_SPIN_LOCK);
  return {
    name,
    type,
    keySize: word(MAP_KEY_SIZE),
    valueSize: word(MAP_VALUE_SIZE),
    maxEntries: word(MAP_MAX_ENTRIES),
    flags,
    cpus: word(MAP_CPUS),
    descriptor,
    readOnly: (flags & F_RDONLY_PROG) !== 0,
    spinLock: spinLock === 0 ? undefined : spinLock - 1,
  };
}

const typeNames: ReadonlyMap<number, MapType> = new Map(
  Object.entries(mapTypes).map(([name, number]) => [number, name as MapType]),
);

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
