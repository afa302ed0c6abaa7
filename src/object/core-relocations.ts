import { putU32le } from "../common/bytes.ts";
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
/** Whether a type exists, its size, and whether it matches. */
const stableQuestions = new Set([8, 9, 12]);

/**
 * Structs that are the same everywhere: program contexts (stable by uapi promise) and headers on the
 * wire. For them the compiler's own answer, which is in the instruction, is the right one.
 */
const stableStructs = new Set([
  "xdp_md",
  "__sk_buff",
  "bpf_fib_lookup",
  "bpf_tunnel_key",
  "bpf_redir_neigh",
  "bpf_sock_tuple",
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

/** Questions whose answer is "no" where there is no such type: a field, a type, an enum value, a match. */
const existenceQuestions = [2, 8, 10, 12];

/** `mov` of an immediate, 32 and 64 bits: what an answer of yes or no is compiled to. */
const moves = [0xb4, 0xb7];
/** And of an enum's value, whose upper half lies in the second slot of the instruction. */
const lddw = 0x18;

/**
 * Answers the CO-RE question of the instruction at byte `at` of `code`: the compiler's own answer
 * stays for types that are the same everywhere; whether anything of the kernel exists is answered
 * with no. Why it cannot be done, or undefined where it has been.
 */
export function relocateCore(
  btf: Btf,
  record: CoreRecord,
  code: Uint8Array,
  at: number,
  place: (slot: number) => string,
): UserError | undefined {
  if (record.kind === localTypeId) return undefined;
  const type = resolveType(btf, record.type);
  // A name may go on behind three underscores, to tell apart what the source sees in one type.
  const name = "name" in type ? type.name.replace(/___.*$/s, "") : "";
  if (
    stableStructs.has(name) &&
    (record.kind <= lastFieldQuestion || stableQuestions.has(record.kind))
  )
    return undefined;
  const isWide = code[at] === lddw && at + 16 <= code.length;
  if (existenceQuestions.includes(record.kind) && (isWide || moves.includes(code[at]!))) {
    putU32le(code, at + 4, 0);
    if (isWide) putU32le(code, at + 12, 0);
    return undefined;
  }
  const question = questions[record.kind] ?? `CO-RE question ${record.kind}`;
  return new UserError(
    "OBJECT_CORE_RELOCATION",
    place(at / 8),
    `it asks the kernel for ${question} (${nameOfType(btf, record.type)}, access ${record.access}), and user space has no kernel types`,
    "use the struct of the linux/ headers, without preserve_access_index",
  );
}
