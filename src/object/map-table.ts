import { UserError } from "../common/user-error.ts";
import { type MapSpec, type MapType, mapTypes, type RefusedMap } from "./object-spec.ts";

/** A map as it is read, and where in the object code refers to it. */
export interface LocatedMap {
  readonly spec: MapSpec;
  readonly section: number;
  /** Byte of the section where its definition begins; 0 for data sections. */
  readonly offset: number;
  /** Bytes of its definition; for data sections of the whole section. */
  readonly size: number;
  /** `id` of iproute2's map definitions: what tail-call sections and inner maps refer to. */
  readonly id?: number;
}

/** A map that cannot be, and where code would refer to it. */
export interface LocatedRefusal {
  readonly refusal: RefusedMap;
  readonly section: number;
  readonly offset: number;
}

/** An object's maps in their final order, and which of them a piece of code refers to. */
export class MapTable {
  readonly maps: readonly LocatedMap[];
  /** By section and offset. */
  readonly #refused: ReadonlyMap<string, RefusedMap>;
  /** Index into `maps` by section and offset; data sections under -1. */
  readonly #indexes = new Map<number, Map<number, number>>();

  constructor(maps: readonly LocatedMap[], refused: readonly LocatedRefusal[]) {
    this.maps = maps;
    this.#refused = new Map(
      refused.map(({ section, offset, refusal }) => [`${section} ${offset}`, refusal]),
    );
    for (const [index, { section, offset, spec }] of maps.entries()) {
      const offsets = this.#indexes.get(section) ?? new Map<number, number>();
      offsets.set(spec.dataSection === undefined ? offset : -1, index);
      this.#indexes.set(section, offsets);
    }
  }

  /** Index of the map defined at this byte of a section, or whose data the byte belongs to. */
  find(section: number, offset: number): number | undefined {
    const offsets = this.#indexes.get(section);
    const data = offsets?.get(-1);
    if (data === undefined || offset < 0) return offset < 0 ? undefined : offsets?.get(offset);
    return offset < this.maps[data]!.size ? data : undefined;
  }

  /** Why there is no map where the object defines one. */
  refusal(section: number, offset: number): RefusedMap | undefined {
    return this.#refused.get(`${section} ${offset}`);
  }
}

/** The attributes that definitions give; the rest is the same for all that are not data sections. */
export interface MapAttributes {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly pinned: boolean;
  readonly pinName?: string | undefined;
  readonly keyType?: number | undefined;
  readonly valueType?: number | undefined;
  readonly extra?: number | undefined;
  /** As `spinLockOffsets` gives them. */
  readonly spinLocks?: readonly number[] | undefined;
  readonly inner?: MapSpec | undefined;
  readonly slots?: MapSpec["slots"] | undefined;
}

/** BPF_F_NUMA_NODE: asks for memory near a processor, which user space does not choose. */
const numaNode = 4;
/** BPF_F_RDONLY_PROG. linux/bpf.h. */
const readOnlyForPrograms = 128;

const typeNames: ReadonlyMap<number, MapType> = new Map(
  Object.entries(mapTypes).map(([name, number]) => [number, name as MapType]),
);

/** A spec from its attributes, or what is wrong with its type. */
export function mapSpec(
  file: string,
  name: string,
  attributes: MapAttributes,
): { readonly spec: MapSpec } | { readonly error: UserError } {
  const type = typeNames.get(attributes.type);
  if (type === undefined)
    return {
      error: new UserError(
        "OBJECT_MAP_TYPE",
        `${file}, map "${name}"`,
        `map type ${attributes.type} is unknown; types are 1 (hash) to ${typeNames.size} (arena)`,
        "use a BPF_MAP_TYPE_* of linux/bpf.h",
      ),
    };
  const { spinLocks = [] } = attributes;
  if (spinLocks.length > 1)
    return {
      error: new UserError(
        "OBJECT_BAD_MAP",
        `${file}, map "${name}"`,
        "its value has more than one struct bpf_spin_lock",
        "keep one, which guards all of the value",
      ),
    };
  return {
    spec: {
      name,
      type,
      keySize: attributes.keySize,
      valueSize: attributes.valueSize,
      maxEntries: type === "ringbuf" ? ringBytes(attributes.maxEntries) : attributes.maxEntries,
      flags: attributes.flags & ~numaNode,
      pinning: attributes.pinned ? "by_name" : "none",
      ...(attributes.pinName === undefined ? {} : { pinName: attributes.pinName }),
      keyType: attributes.keyType,
      valueType: attributes.valueType,
      readOnly: (attributes.flags & readOnlyForPrograms) !== 0,
      contents: [],
      dataSection: undefined,
      inner: attributes.inner,
      extra: attributes.extra,
      spinLock: spinLocks[0],
      slots: attributes.slots ?? [],
    },
  };
}

const pageBytes = 4096;

/** A ringbuf's size as libbpf rounds it up: a power of two of whole pages. adjust_ringbuf_sz. */
function ringBytes(asked: number): number {
  if (asked === 0) return 0;
  let bytes = pageBytes;
  while (bytes < asked) bytes *= 2;
  return bytes;
}

/** Sixteen times what the largest known objects declare. */
const maxMaps = 4096;

export function tooManyMaps(file: string, section: string, count: number): UserError | undefined {
  if (count <= maxMaps) return undefined;
  return new UserError(
    "OBJECT_TOO_LARGE",
    `${file}, section "${section}"`,
    `${count} maps; at most ${maxMaps} are allowed`,
    "split the object",
  );
}

/** The array with one value that holds a data section. `bytes` is undefined where all is zero. */
export function dataSectionMap(
  section: string,
  size: number,
  bytes: Uint8Array | undefined,
  btfType: number | undefined,
): MapSpec {
  const readOnly = section.startsWith(".rodata") || section === ".kconfig";
  return {
    name: section,
    type: "array",
    keySize: 4,
    valueSize: size,
    maxEntries: 1,
    flags: readOnly ? readOnlyForPrograms : 0,
    pinning: "none",
    keyType: undefined,
    valueType: btfType,
    readOnly,
    contents: bytes === undefined ? [] : [{ key: new Uint8Array(4), value: bytes }],
    dataSection: section,
    inner: undefined,
    slots: [],
  };
}
