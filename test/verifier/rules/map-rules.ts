import { lookup, out, packetCheck, type RuleCase } from "./rule-case.ts";

const locksNeedBtf = "it finds spin locks only by BTF";

export const mapRules: readonly RuleCase[] = [
  {
    rule: "what map_lookup_elem returns is compared with 0",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\n${out}`,
    refused: `${lookup(1)}\nr1 = *(u64 *)(r0 + 0)\n${out}`.replace("out: ", ""),
    code: "MAYBE_NULL",
    says: /compare r0 with 0 before this/,
  },
  {
    rule: "a null check of a copy counts for all copies, also on the stack",
    accepted: `${lookup(1)}\n*(u64 *)(r10 - 16) = r0\nr6 = r0\nif r6 == 0 goto out\nr1 = *(u64 *)(r10 - 16)\nr1 = *(u64 *)(r1 + 0)\n${out}`,
    refused: `${lookup(1)}\n*(u64 *)(r10 - 16) = r0\nr6 = r0\nif r6 != 0 goto out\nr1 = *(u64 *)(r10 - 16)\nr1 = *(u64 *)(r1 + 0)\n${out}`,
    code: "NOT_A_POINTER",
    says: /r1 .*is null here: what bpf_map_lookup_elem returned at instruction 5 was compared with 0/,
  },
  {
    rule: "a pointer that may be null is not moved",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr0 += 8\nr1 = *(u64 *)(r0 + 0)\n${out}`,
    refused: `${lookup(1)}\nr0 += 8\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\n${out}`,
    code: "MAYBE_NULL",
    says: /arithmetic is done on it/,
  },
  {
    rule: "what is added to a map's value is not negative",
    accepted: `r6 = *(u32 *)(r1 + 12)\n${lookup(0)}\nif r0 == 0 goto out\nr6 &= 7\nr0 += r6\nr1 = *(u8 *)(r0 + 4)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\n${lookup(0)}\nif r0 == 0 goto out\nr6 &= 7\nr6 += -4\nr0 += r6\nr1 = *(u8 *)(r0 + 4)\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /any byte may be accessed, and the value of map counters has 16: what was added to r0 may be negative, it is -4 to 3; make sure it is not negative/,
  },
  {
    rule: "a constant key within an array is always there",
    accepted:
      `*(u32 *)(r10 - 8) = 3\nr1 = map_by_fd(0) ll\nr2 = r10\nr2 += -8\ncall 1\nr1 = *(u64 *)(r0 + 0)\n${out}`.replace(
        "out: ",
        "",
      ),
    refused:
      `*(u32 *)(r10 - 8) = 4\nr1 = map_by_fd(0) ll\nr2 = r10\nr2 += -8\ncall 1\nr1 = *(u64 *)(r0 + 0)\n${out}`.replace(
        "out: ",
        "",
      ),
    code: "MAYBE_NULL",
    says: /may be null/,
  },
  {
    rule: "a map value is read within its size",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 + 24)\n${out}`,
    refused: `${lookup(1)}\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 + 25)\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /bytes 25 to 32 are accessed, and the value of map flows has 32/,
  },
  {
    rule: "an index into a map value is bounded",
    accepted: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nif r6 > 31 goto out\nr0 += r6\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nif r6 > 32 goto out\nr0 += r6\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /compare it with 31, or mask it/,
  },
  {
    rule: "a signed index is bounded on both sides",
    accepted: `r6 = *(u32 *)(r1 + 12)\nr6 <<= 32\nr6 s>>= 32\n${lookup(1)}\nif r0 == 0 goto out\nif r6 s> 31 goto out\nif r6 s< 0 goto out\nr0 += r6\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\nr6 <<= 32\nr6 s>>= 32\n${lookup(1)}\nif r0 == 0 goto out\nif r6 s> 31 goto out\nr0 += r6\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    code: "POINTER_OFFSET",
    says: /bound/,
  },
  {
    rule: "a mask bounds an index",
    accepted: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nr6 &= 24\nr0 += r6\nr1 = *(u64 *)(r0 + 0)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nr6 &= 28\nr0 += r6\nr1 = *(u64 *)(r0 + 0)\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /what was added to r0 is 0 to 28/,
  },
  {
    rule: "a compare of one register bounds its copy",
    accepted: `r6 = *(u32 *)(r1 + 12)\nr7 = r6\n${lookup(1)}\nif r0 == 0 goto out\nif r6 > 31 goto out\nr0 += r7\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\nr7 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nif r6 > 31 goto out\nr0 += r7\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /map flows/,
  },
  {
    rule: "a 32-bit compare bounds a number that is known to have 32 bits",
    accepted: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nif w6 > 31 goto out\nr0 += r6\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    refused: `r6 = r1\n${packetCheck(14)}\nr6 = *(u64 *)(r2 + 0)\n${lookup(1)}\nif r0 == 0 goto out\nif w6 > 31 goto out\nr0 += r6\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    code: "POINTER_OFFSET",
    says: /r0/,
  },
  {
    rule: "read-only data is not written",
    accepted: "r1 = map_val(map_by_fd(4)) + 0 ll\n*(u8 *)(r1 + 0) = 1\nr0 = 0\nexit",
    refused: "r1 = map_val(map_by_fd(2)) + 0 ll\n*(u8 *)(r1 + 0) = 1\nr0 = 0\nexit",
    code: "MAP_READ_ONLY",
    says: /map \.rodata is read-only/,
  },
  {
    rule: "read-only data is known when the program is verified",
    accepted:
      "r1 = map_val(map_by_fd(2)) + 0 ll\nr2 = *(u32 *)(r1 + 0)\nr3 = map_val(map_by_fd(4)) + 0 ll\nr3 += r2\nr0 = *(u32 *)(r3 + 56)\nexit",
    refused:
      "r1 = map_val(map_by_fd(2)) + 0 ll\nr2 = *(u32 *)(r1 + 0)\nr3 = map_val(map_by_fd(4)) + 0 ll\nr3 += r2\nr0 = *(u32 *)(r3 + 60)\nexit",
    code: "MAP_VALUE_BOUNDS",
    says: /bytes 64 to 67/,
  },
  {
    rule: "socket filters use no map with a spin lock",
    type: "socket",
    accepted: `${lookup(1)}\nr0 = 0\nexit`,
    refused: `${lookup(6)}\nr0 = 0\nexit`,
    code: "PROGRAM_MAP",
    says: /uses map locked, whose values hold a struct bpf_spin_lock/,
    notInKernel: locksNeedBtf,
  },
  {
    rule: "a spin lock is freed on every path",
    accepted: locking("call 93\nr1 = r6\ncall 94"),
    refused: locking("call 93"),
    code: "REFERENCE_LEAK",
    says: /the spin lock taken at instruction 10 is still held; call bpf_spin_unlock on every path/,
    notInKernel: locksNeedBtf,
  },
  {
    rule: "one spin lock is held at a time",
    accepted: locking("call 93\nr1 = r6\ncall 94\nr1 = r6\ncall 93\nr1 = r6\ncall 94"),
    refused: locking("call 93\nr1 = r6\ncall 93"),
    code: "SPIN_LOCK",
    says: /bpf_spin_lock is called while the spin lock taken at instruction 10 is held/,
    notInKernel: locksNeedBtf,
  },
  {
    rule: "nothing is called while a spin lock is held",
    accepted: locking("call 93\nr1 = r6\ncall 94\ncall 5"),
    refused: locking("call 93\ncall 5\nr1 = r6\ncall 94"),
    code: "SPIN_LOCK",
    says: /bpf_ktime_get_ns is called while/,
    notInKernel: locksNeedBtf,
  },
  {
    rule: "a spin lock is only for its helpers",
    accepted: locking("r2 = *(u32 *)(r6 + 4)"),
    refused: locking("r2 = *(u32 *)(r6 + 0)"),
    code: "SPIN_LOCK",
    says: /bytes of the struct bpf_spin_lock in a value of map locked are accessed/,
    notInKernel: locksNeedBtf,
  },
  {
    rule: "a spin lock is taken at its place in the value",
    accepted: locking("call 93\nr1 = r6\ncall 94"),
    refused: locking("r1 += 4\ncall 93\nr1 = r6\ncall 94"),
    code: "SPIN_LOCK",
    says: /takes in r1 the address of a struct bpf_spin_lock/,
    notInKernel: locksNeedBtf,
  },
  {
    rule: "a spin lock that is not held is not freed",
    accepted: locking("call 93\nr1 = r6\ncall 94"),
    refused: locking("call 94"),
    code: "SPIN_LOCK",
    says: /a spin lock is freed, and none is held/,
    notInKernel: locksNeedBtf,
  },
];

/** A value's lock in r1 and r6, and then what is done with it. */
function locking(body: string): string {
  return `${lookup(6)}\nif r0 == 0 goto out\nr6 = r0\nr6 += 4\nr1 = r6\n${body}\n${out}`;
}
