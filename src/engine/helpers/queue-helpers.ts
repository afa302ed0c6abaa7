import { errno } from "../../common/errno.ts";
import type { MapType } from "../../object/object-spec.ts";
import { anyType, type Helper, R2, R3 } from "./helper.ts";

const queues: readonly MapType[] = ["queue", "stack"];

/** The helpers on maps without keys: kernel/bpf/queue_stack_maps.c, bloom_filter.c. */
export const queueHelpers: readonly Helper[] = [
  {
    id: 87,
    name: "map_push_elem",
    arguments: ["map", "map_value", "anything"],
    types: anyType,
    packetMemory: true,
    maps: [...queues, "bloom_filter"],
    changesMap: true,
    call({ registers, context, map }) {
      // Flags are 64 bits wide; the runtime takes the low word.
      if (registers[R3 + 1] !== 0) return -errno.EINVAL;
      const [value, flags] = [registers[R2]!, registers[R3]!];
      return context.runtime.push(map!.descriptor, value, flags, context.cpu);
    },
  },
  {
    id: 88,
    name: "map_pop_elem",
    arguments: ["map", "writable_map_value"],
    types: anyType,
    maps: queues,
    changesMap: true,
    call({ registers, context, map }) {
      return context.runtime.pop(map!.descriptor, registers[R2]!, context.cpu);
    },
  },
  {
    id: 89,
    name: "map_peek_elem",
    arguments: ["map", "writable_map_value"],
    types: anyType,
    maps: [...queues, "bloom_filter"],
    call({ registers, context, map }) {
      return context.runtime.peek(map!.descriptor, registers[R2]!, context.cpu);
    },
  },
];
