import type { Btf } from "./btf.ts";
import { resolveType } from "./btf-types.ts";

/** Structs within structs that are looked into. Kernel: MAX_RESOLVE_DEPTH. */
const maxDepth = 32;

/**
 * Where a map's value, by its BTF type, has its `struct bpf_spin_lock`s: bytes from its start. They are
 * found in structs and arrays within it, and not in unions, as by the kernel's btf_find_field. A value may
 * have one: where there are more, the first two are told.
 */
export function spinLockOffsets(btf: Btf, value: number | undefined): readonly number[] {
  if (value === undefined) return [];
  // By type and depth: hostile structs that hold each other many times would take for ever.
  const known = new Map<string, readonly number[]>();
  const within = (type: number, depth: number): readonly number[] => {
    const key = `${type} ${depth}`;
    const found = known.get(key) ?? locksOf(type, depth).slice(0, 2);
    known.set(key, found);
    return found;
  };
  const locksOf = (type: number, depth: number): readonly number[] => {
    const of = resolveType(btf, type);
    if (depth > maxDepth) return [];
    if (of.kind === "array") {
      const first = of.length === 0 ? [] : within(of.type, depth + 1);
      return of.length > 1 ? first.flatMap((at) => [at, at]) : first;
    }
    if (of.kind !== "struct") return [];
    if (depth > 0 && of.name === "bpf_spin_lock" && of.size === 4) return [0];
    const locks: number[] = [];
    for (const member of of.members) {
      if (member.bitOffset % 32 === 0)
        for (const at of within(member.type, depth + 1)) locks.push(member.bitOffset / 8 + at);
      if (locks.length > 1) break;
    }
    return locks;
  };
  return resolveType(btf, value).kind === "struct" ? within(value, 0) : [];
}
