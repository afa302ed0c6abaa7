import { errno } from "../../common/errno.ts";
import { holdsMaps } from "../../object/map-rules.ts";
import type { MapType } from "../../object/object-spec.ts";
import { anyType, type Helper, R2, R3, R4 } from "./helper.ts";

/** Maps whose values a program changes through helpers: `check_map_func_compatibility`. */
const valueMaps: readonly MapType[] = [
  "hash",
  "array",
  "percpu_hash",
  "percpu_array",
  "lru_hash",
  "lru_percpu_hash",
  "lpm_trie",
];

/** The helpers on a map's entries. A device map may be looked up, and its values only read. */
export const mapHelpers: readonly Helper[] = [
  {
    id: 1,
    name: "map_lookup_elem",
    arguments: ["map", "map_key"],
    types: anyType,
    work: 8,
    returns: "map_value_or_null",
    packetMemory: true,
    maps: [...valueMaps, "devmap", "devmap_hash", "xskmap", "array_of_maps", "hash_of_maps"],
    call(run) {
      const { arena, runtime, cpu } = run.context;
      const map = run.map!;
      const value = runtime.lookup(map.descriptor, run.registers[R2]!, cpu);
      if (value === 0 || !holdsMaps(map.type)) return value;
      const inner = arena.words[value >> 2]!;
      if (inner !== 0) run.memory.maps.reach(map, inner);
      return inner;
    },
  },
  {
    id: 2,
    name: "map_update_elem",
    arguments: ["map", "map_key", "map_value", "anything"],
    types: anyType,
    work: 12,
    packetMemory: true,
    maps: valueMaps,
    changesMap: true,
    call(run) {
      const { registers, context, map } = run;
      // Flags are 64 bits wide; the runtime takes the low word.
      if (registers[R4 + 1] !== 0) return -errno.EINVAL;
      const [key, value, flags] = [registers[R2]!, registers[R3]!, registers[R4]!];
      return context.runtime.update(map!.descriptor, key, value, flags, context.cpu);
    },
  },
  {
    id: 3,
    name: "map_delete_elem",
    arguments: ["map", "map_key"],
    types: anyType,
    work: 12,
    packetMemory: true,
    maps: valueMaps,
    changesMap: true,
    call(run) {
      const { runtime, cpu } = run.context;
      return runtime.remove(run.map!.descriptor, run.registers[R2]!, cpu);
    },
  },
  {
    id: 195,
    name: "map_lookup_percpu_elem",
    arguments: ["map", "map_key", "anything"],
    types: anyType,
    returns: "map_value_or_null",
    packetMemory: true,
    maps: ["percpu_array", "percpu_hash", "lru_percpu_hash"],
    /** The number of a CPU is 32 bits wide, as in the kernel. */
    call(run) {
      const map = run.map!;
      const cpu = run.registers[R3]! >>> 0;
      if (cpu >= map.cpus) return 0;
      return run.context.runtime.lookup(map.descriptor, run.registers[R2]!, cpu);
    },
  },
];
