import type { Btf } from "./btf.ts";
import { resolveType } from "./btf-types.ts";

/**
 * Where a map's value, by its BTF type, has its `struct bpf_spin_lock`: bytes from its start. As the
 * kernel only members of the value's own struct count. Undefined where there is none.
 */
export function spinLockOffset(btf: Btf, value: number | undefined): number | undefined {
  if (value === undefined) return undefined;
  const type = resolveType(btf, value);
  if (type.kind !== "struct") return undefined;
  const lock = type.members.find((member) => {
    const of = resolveType(btf, member.type);
    return of.kind === "struct" && of.name === "bpf_spin_lock" && of.size === 4;
  });
  return lock !== undefined && lock.bitOffset % 32 === 0 ? lock.bitOffset / 8 : undefined;
}
