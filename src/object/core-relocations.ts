import { UserError } from "../common/user-error.ts";
import type { Btf } from "./btf.ts";
import type { CoreRecord } from "./btf-ext.ts";
import { nameOfType, resolveType } from "./btf-types.ts";

/** enum bpf_core_relo_kind, linux/bpf.h: how a message says what the kernel was asked. */
const questions = [
  "the offset of a field",
  "the size of a field",
  "whether a field exists",
  "the sign of a field",
  "a bit field's left shift",
  "a bit field's right shift",
  "a local type id",
  "a type id",
  "whether a type exists",
  "the size of a type",
  "whether an enum value exists",
  "an enum value",
  "whether a type matches",
];
const lastFieldQuestion = 5;
const localTypeId = 6;

/**
 * Structs that are the same everywhere: program contexts (stable by uapi promise) and headers on the
 * wire. For them the compiler's own answer, which is in the instruction, is the right one.
 */
const stableStructs = new Set([
  "xdp_md",
  "__sk_buff",
  "bpf_fib_lookup",
  "bpf_tunnel_key",
  "ethhdr",
  "vlan_hdr",
  "vlan_ethhdr",
  "arphdr",
  "iphdr",
  "ipv6hdr",
  "ipv6_opt_hdr",
  "frag_hdr",
  "in_addr",
  "in6_addr",
  "udphdr",
  "tcphdr",
  "sctphdr",
  "icmphdr",
  "icmp6hdr",
]);

/** Why a CO-RE relocation cannot be done, or undefined where the code is right as it is. */
export function refuseCoreRelocation(
  btf: Btf,
  record: CoreRecord,
  where: string,
): UserError | undefined {
  if (record.kind === localTypeId) return undefined;
  const struct = resolveType(btf, record.type);
  const stable = "name" in struct && stableStructs.has(struct.name);
  if (record.kind <= lastFieldQuestion && stable) return undefined;
  const question = questions[record.kind] ?? `CO-RE question ${record.kind}`;
  return new UserError(
    "OBJECT_CORE_RELOCATION",
    where,
    `it asks the kernel for ${question} (${nameOfType(btf, record.type)}, access ${record.access}), and user space has no kernel types`,
    "use the struct of the linux/ headers, without preserve_access_index",
  );
}
