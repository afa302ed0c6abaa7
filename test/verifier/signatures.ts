import { helpers } from "../../src/engine/helpers/helper-table.ts";
import type { HelperSignature } from "../../src/verifier/helper-signature.ts";

/** What the verifier must know of helpers beside what the engine's rows say. */
const additions: Readonly<Record<string, Partial<HelperSignature>>> = {
  map_lookup_elem: { returns: "map_value_or_null", packetMemory: true },
  map_update_elem: { packetMemory: true },
  map_delete_elem: { packetMemory: true },
  // What follows the size may hold nothing: the kernel does not ask.
  trace_printk: { arguments: ["readable_memory", "size"] },
  csum_diff: { packetMemory: true },
  xdp_adjust_head: { movesPacket: true },
  xdp_adjust_meta: { movesPacket: true },
  xdp_adjust_tail: { movesPacket: true },
};

const networkTypes = ["xdp", "socket", "tc", "cgroup_skb"] as const;

/** Helpers whose rules are verified before an engine has them. */
const more: readonly HelperSignature[] = [
  {
    id: 12,
    name: "tail_call",
    arguments: ["context", "map", "anything"],
    types: networkTypes,
    maps: ["prog_array"],
    tailCall: true,
  },
  {
    id: 131,
    name: "ringbuf_reserve",
    arguments: ["map", "allocation_size", "anything"],
    types: networkTypes,
    maps: ["ringbuf"],
    returns: "reserved_memory_or_null",
  },
  {
    id: 132,
    name: "ringbuf_submit",
    arguments: ["reserved_memory", "anything"],
    types: networkTypes,
  },
  {
    id: 133,
    name: "ringbuf_discard",
    arguments: ["reserved_memory", "anything"],
    types: networkTypes,
  },
  {
    id: 164,
    name: "for_each_map_elem",
    arguments: ["map", "callback", "stack_or_null", "anything"],
    types: networkTypes,
    callback: "map_walk",
  },
  {
    id: 181,
    name: "loop",
    arguments: ["anything", "callback", "stack_or_null", "anything"],
    types: networkTypes,
    callback: "loop",
  },
];

/** All helpers that tests use, by id. */
export const signatures: ReadonlyMap<number, HelperSignature> = new Map(
  [
    ...[...helpers.values()].map((helper) => ({ ...helper, ...additions[helper.name] })),
    ...more,
  ].map((signature) => [signature.id, signature] as const),
);
