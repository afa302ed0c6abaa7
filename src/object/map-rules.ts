import { UserError } from "../common/user-error.ts";
import type { MapSpec, MapType, RefusedMap } from "./object-spec.ts";

/** map_flags by name, linux/bpf.h. */
const flagNames = {
  BPF_F_NO_PREALLOC: 1 << 0,
  BPF_F_NO_COMMON_LRU: 1 << 1,
  BPF_F_NUMA_NODE: 1 << 2,
  BPF_F_RDONLY: 1 << 3,
  BPF_F_WRONLY: 1 << 4,
  BPF_F_STACK_BUILD_ID: 1 << 5,
  BPF_F_ZERO_SEED: 1 << 6,
  BPF_F_RDONLY_PROG: 1 << 7,
  BPF_F_WRONLY_PROG: 1 << 8,
  BPF_F_CLONE: 1 << 9,
  BPF_F_MMAPABLE: 1 << 10,
  BPF_F_PRESERVE_ELEMS: 1 << 11,
  BPF_F_INNER_MAP: 1 << 12,
  BPF_F_LINK: 1 << 13,
} as const;
type FlagName = keyof typeof flagNames;

const access: readonly FlagName[] = [
  "BPF_F_RDONLY",
  "BPF_F_WRONLY",
  "BPF_F_RDONLY_PROG",
  "BPF_F_WRONLY_PROG",
];
const placement: readonly FlagName[] = ["BPF_F_NUMA_NODE"];

/** Largest per-CPU value, rounded up to 8 bytes: the kernel's PCPU_MIN_UNIT_SIZE. */
const maxPerCpuValueBytes = 32_768;
/** Below the kernel's KMALLOC_MAX_SIZE an entry of a hash or trie must stay. */
const maxEntryBytes = 2 ** 22;
const maxCount = 2 ** 31;

/** What the kernel's map_alloc_check asks of one type: a size is exact, a range or a list. */
interface MapRule {
  readonly keySize: readonly [least: number, most: number];
  /** Absent: at least 1 byte. */
  readonly valueSizes?: readonly number[];
  readonly perCpu: boolean;
  readonly flags: readonly FlagName[];
  readonly requiredFlag?: FlagName;
}

const arrayFlags = [...access, ...placement];
const hashFlags: readonly FlagName[] = [
  ...access,
  ...placement,
  "BPF_F_NO_PREALLOC",
  "BPF_F_ZERO_SEED",
];
const lruFlags: readonly FlagName[] = [
  ...access,
  ...placement,
  "BPF_F_NO_COMMON_LRU",
  "BPF_F_ZERO_SEED",
];
const deviceFlags: readonly FlagName[] = [...placement, "BPF_F_RDONLY", "BPF_F_WRONLY"];
const anyKey = [1, maxEntryBytes] as const;
const indexKey = [4, 4] as const;
const noKey = [0, 0] as const;

/** The map types that have storage here. */
const rules = {
  array: {
    keySize: indexKey,
    perCpu: false,
    flags: [...arrayFlags, "BPF_F_MMAPABLE", "BPF_F_INNER_MAP"],
  },
  percpu_array: { keySize: indexKey, perCpu: true, flags: access },
  hash: { keySize: anyKey, perCpu: false, flags: hashFlags },
  percpu_hash: {
    keySize: anyKey,
    perCpu: true,
    flags: hashFlags.filter((name) => name !== "BPF_F_NUMA_NODE"),
  },
  lru_hash: { keySize: anyKey, perCpu: false, flags: lruFlags },
  lru_percpu_hash: {
    keySize: anyKey,
    perCpu: true,
    flags: lruFlags.filter((name) => name !== "BPF_F_NUMA_NODE"),
  },
  lpm_trie: {
    keySize: [5, 4 + 256],
    perCpu: false,
    flags: [...access, ...placement, "BPF_F_NO_PREALLOC"],
    requiredFlag: "BPF_F_NO_PREALLOC",
  },
  prog_array: {
    keySize: indexKey,
    valueSizes: [4],
    perCpu: false,
    flags: [...placement, "BPF_F_RDONLY", "BPF_F_WRONLY"],
  },
  devmap: { keySize: indexKey, valueSizes: [4, 8], perCpu: false, flags: deviceFlags },
  devmap_hash: { keySize: indexKey, valueSizes: [4, 8], perCpu: false, flags: deviceFlags },
  cpumap: { keySize: indexKey, valueSizes: [4, 8], perCpu: false, flags: placement },
  xskmap: { keySize: indexKey, valueSizes: [4], perCpu: false, flags: deviceFlags },
  array_of_maps: { keySize: indexKey, valueSizes: [4], perCpu: false, flags: deviceFlags },
  hash_of_maps: { keySize: anyKey, valueSizes: [4], perCpu: false, flags: hashFlags },
  queue: { keySize: noKey, perCpu: false, flags: arrayFlags },
  stack: { keySize: noKey, perCpu: false, flags: arrayFlags },
  bloom_filter: { keySize: noKey, perCpu: false, flags: [...arrayFlags, "BPF_F_ZERO_SEED"] },
  ringbuf: { keySize: noKey, valueSizes: [0], perCpu: false, flags: placement },
  perf_event_array: {
    keySize: indexKey,
    valueSizes: [4],
    perCpu: false,
    flags: [...deviceFlags, "BPF_F_PRESERVE_ELEMS"],
  },
} as const satisfies Partial<Record<MapType, MapRule>>;

export type StoredMapType = keyof typeof rules;

const kernelSockets = "holds sockets of the kernel";
const kernelObjects = "keeps storage of the kernel's objects";

/** Why the other map types have none: what follows their name. */
const unavailable: Readonly<Record<Exclude<MapType, StoredMapType>, string>> = {
  stack_trace: "holds stacks of the kernel",
  cgroup_array: "holds cgroups of the kernel",
  sockmap: kernelSockets,
  sockhash: kernelSockets,
  reuseport_sockarray: kernelSockets,
  cgroup_storage: kernelObjects,
  percpu_cgroup_storage: kernelObjects,
  sk_storage: kernelObjects,
  inode_storage: kernelObjects,
  task_storage: kernelObjects,
  cgrp_storage: kernelObjects,
  struct_ops: "replaces functions of the kernel",
  user_ringbuf: "is written by a process that the kernel gives its pages to",
  arena: "shares pages with a process by the kernel's page tables",
};

/** Why there are no maps of this type, after its name (`holds …`); undefined where there are. */
export function whyUnavailable(type: MapType): string | undefined {
  return isStored(type) ? undefined : unavailable[type];
}

export function isStored(type: MapType): type is StoredMapType {
  return type in rules;
}

/** Whether each CPU has a value of its own. */
export function isPerCpu(type: StoredMapType): boolean {
  return rules[type].perCpu;
}

/** Hash functions of a bloom filter whose map_extra is this: kernel/bpf/bloom_filter.c. */
export function bloomHashes(extra = 0): number {
  return extra === 0 ? 5 : extra;
}

/** Maps whose values are other maps. */
export function holdsMaps(type: MapType): boolean {
  return type === "array_of_maps" || type === "hash_of_maps";
}

/** Maps that programs write records into for the main thread to read: they hold no entries. */
export function holdsEvents(type: MapType): boolean {
  return type === "perf_event_array" || type === "ringbuf";
}

/** Why the kernel would refuse to create such a map, or undefined. */
export function checkMap(spec: MapSpec): UserError | undefined {
  const refused = refusedMap(spec);
  return refused && new UserError(refused.code, `map ${refused.name}`, refused.what, refused.fix);
}

/** The same as plain data. What is wrong with the maps that a map of maps is to hold has their name. */
export function refusedMap(spec: MapSpec): RefusedMap | undefined {
  const { name } = spec;
  const refuse = (code: string, what: string, fix: string) => ({ name, code, what, fix });
  if (!isStored(spec.type))
    return refuse(
      "MAP_TYPE_UNSUPPORTED",
      `its type, ${spec.type}, ${unavailable[spec.type]}: not available in user space`,
      `use one of ${Object.keys(rules).join(", ")}`,
    );
  const rule: MapRule = rules[spec.type];
  // A perf_event_array without a number has an entry for each CPU, as libbpf makes it.
  const hasCount = isCount(spec.maxEntries);
  if (!hasCount && !(spec.type === "perf_event_array" && spec.maxEntries === 0))
    return refuse(
      "MAP_MAX_ENTRIES",
      `max_entries is ${spec.maxEntries}`,
      `set it between 1 and ${maxCount}`,
    );
  const [least, most] = rule.keySize;
  if (!Number.isInteger(spec.keySize) || spec.keySize < least || spec.keySize > most)
    return refuse(
      "MAP_KEY_SIZE",
      `the key (type ${spec.type}) is ${spec.keySize} bytes`,
      least === most ? `make it ${least} bytes` : `make it ${least} to ${most} bytes`,
    );
  return (
    checkValueSize(spec, rule, refuse) ??
    checkFlags(spec, rule, refuse) ??
    checkParticulars(spec, refuse)
  );
}

type Refuse = (code: string, what: string, fix: string) => RefusedMap;

function checkValueSize(spec: MapSpec, rule: MapRule, refuse: Refuse): RefusedMap | undefined {
  const { type, keySize, valueSize } = spec;
  const what = `the value (type ${type}) is ${valueSize} bytes`;
  if (!isCount(valueSize) && rule.valueSizes === undefined)
    return refuse("MAP_VALUE_SIZE", what, "make it at least 1 byte");
  if (rule.valueSizes !== undefined && !rule.valueSizes.includes(valueSize))
    return refuse("MAP_VALUE_SIZE", what, `make it ${rule.valueSizes.join(" or ")} bytes`);
  if (rule.perCpu && valueSize > maxPerCpuValueBytes)
    return refuse("MAP_VALUE_SIZE", what, `make it at most ${maxPerCpuValueBytes} bytes`);
  const isArray = type === "array" || type === "percpu_array";
  if (!isArray && keySize + valueSize >= maxEntryBytes - 64)
    return refuse(
      "MAP_VALUE_SIZE",
      `${what}, with a key of ${keySize}`,
      `keep key and value together below ${maxEntryBytes - 64} bytes`,
    );
  return undefined;
}

function checkFlags(spec: MapSpec, rule: MapRule, refuse: Refuse): RefusedMap | undefined {
  const { flags, type } = spec;
  const has = (name: FlagName): boolean => (flags & flagNames[name]) !== 0;
  const allowed = rule.flags.reduce((mask, name) => mask | flagNames[name], 0);
  const refused = (flags & ~allowed) >>> 0;
  if (refused !== 0)
    return refuse(
      "MAP_FLAGS",
      `maps of type ${type} do not take ${describeFlags(refused)}`,
      `they take ${rule.flags.join(", ")}`,
    );
  if (rule.requiredFlag !== undefined && !has(rule.requiredFlag))
    return refuse(
      "MAP_FLAGS",
      `maps of type ${type} need ${rule.requiredFlag}`,
      "set it in map_flags",
    );
  if (has("BPF_F_RDONLY") && has("BPF_F_WRONLY"))
    return refuse("MAP_FLAGS", "BPF_F_RDONLY and BPF_F_WRONLY exclude each other", "drop one");
  if (has("BPF_F_RDONLY_PROG") && has("BPF_F_WRONLY_PROG"))
    return refuse(
      "MAP_FLAGS",
      "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG exclude each other",
      "drop one",
    );
  return undefined;
}

const pageBytes = 4096;
const mostHashes = 15;

/** What only some types ask. */
function checkParticulars(spec: MapSpec, refuse: Refuse): RefusedMap | undefined {
  const { type, maxEntries, extra = 0, spinLock, inner } = spec;
  const isPower = (maxEntries & (maxEntries - 1)) === 0;
  if (type === "ringbuf" && (!isPower || maxEntries % pageBytes !== 0))
    return refuse(
      "MAP_MAX_ENTRIES",
      `max_entries, a ringbuf's size in bytes, is ${maxEntries}`,
      `make it a power of two, at least ${pageBytes}`,
    );
  if (extra !== 0 && type !== "bloom_filter")
    return refuse("MAP_EXTRA", `maps of type ${type} take no map_extra`, "remove it");
  if (extra > mostHashes)
    return refuse(
      "MAP_EXTRA",
      `map_extra, a bloom filter's number of hash functions, is ${extra}`,
      `make it 1 to ${mostHashes}, or 0 for ${bloomHashes()}`,
    );
  if (spinLock !== undefined && type !== "hash" && type !== "array")
    return refuse(
      "MAP_SPIN_LOCK",
      `maps of type ${type} take no struct bpf_spin_lock in their values`,
      "use a hash or an array",
    );
  return holdsMaps(type) ? checkInner(inner, refuse) : undefined;
}

/** Maps that a map of maps does not take: they have no map_meta_equal in the kernel. */
const neverInner: readonly MapType[] = ["prog_array", "array_of_maps", "hash_of_maps"];

function checkInner(inner: MapSpec | undefined, refuse: Refuse): RefusedMap | undefined {
  if (inner === undefined)
    return refuse(
      "MAP_INNER",
      "nothing says what its maps are like",
      "declare them: __array(values, struct { … }), or in a bpf_elf_map inner_id",
    );
  if (neverInner.includes(inner.type))
    return refuse(
      "MAP_INNER",
      `it cannot hold maps of type ${inner.type}`,
      "hold the entries of those in maps of another type",
    );
  return refusedMap(inner);
}

/** Names of the bits set, and what has none in hex. */
function describeFlags(flags: number): string {
  const names: string[] = [];
  let rest = flags;
  for (const [name, bit] of Object.entries(flagNames)) {
    if ((flags & bit) === 0) continue;
    names.push(name);
    rest &= ~bit;
  }
  if (rest !== 0) names.push(`0x${(rest >>> 0).toString(16)}`);
  return names.join(", ");
}

function isCount(n: number): boolean {
  return Number.isInteger(n) && n >= 1 && n <= maxCount;
}
