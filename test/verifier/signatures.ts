import { helpers } from "../../src/engine/helpers/helper-table.ts";
import type { HelperSignature } from "../../src/verifier/helper-signature.ts";

const networkTypes = ["xdp", "socket", "tc", "cgroup_skb"] as const;

/** Helpers whose rules are verified before an engine has them. */
const more: readonly HelperSignature[] = [
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
  [...helpers.values(), ...more].map((signature) => [signature.id, signature] as const),
);
