import { helpers } from "../../src/engine/helpers/helper-table.ts";
import type { HelperSignature } from "../../src/verifier/helper-signature.ts";

const networkTypes = ["xdp", "socket", "tc", "cgroup_skb"] as const;

/** Helpers whose rules are verified before an engine has them. */
const more: readonly HelperSignature[] = [
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
];

/** All helpers that tests use, by id. */
export const signatures: ReadonlyMap<number, HelperSignature> = new Map(
  [...helpers.values(), ...more].map((signature) => [signature.id, signature] as const),
);
