import { assemble } from "../../src/isa/assembler.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import type { VerifiableProgram, VerifiedMap } from "../../src/verifier/program.ts";

/** Maps that the programs name by index. */
export const testMaps: readonly VerifiedMap[] = [
  map({ name: "counters", type: "array", keySize: 4, valueSize: 16, maxEntries: 4 }),
  map({ name: "flows", type: "hash", keySize: 8, valueSize: 32, maxEntries: 16 }),
  map({
    name: ".rodata",
    type: "array",
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
    flags: 0x80,
    readOnly: true,
    frozenValue: Uint8Array.from([4, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
  }),
  map({ name: "events", type: "ringbuf", keySize: 0, valueSize: 0, maxEntries: 4096 }),
  map({ name: "globals", type: "array", keySize: 4, valueSize: 64, maxEntries: 1 }),
  map({ name: "programs", type: "prog_array", keySize: 4, valueSize: 4, maxEntries: 4 }),
];

function map(parts: Partial<VerifiedMap> & Pick<VerifiedMap, "name" | "type">): VerifiedMap {
  return { keySize: 4, valueSize: 8, maxEntries: 1, flags: 0, readOnly: false, ...parts };
}

export function programOf(
  text: string,
  type: ProgramType = "xdp",
  more: Partial<VerifiableProgram> = {},
): VerifiableProgram {
  const assembled = assemble(text);
  if (!assembled.ok) throw new AggregateError(assembled.error, `${assembled.error[0]}\n${text}`);
  return {
    object: "test.o",
    name: "test",
    type,
    instructions: assembled.value,
    maps: testMaps,
    functions: [],
    lines: [],
    ...more,
  };
}

/** One rule: a program that keeps it, and its twin that breaks it. */
export interface RuleCase {
  readonly rule: string;
  readonly type?: ProgramType;
  readonly accepted: string;
  readonly refused: string;
  readonly code: string;
  /** In the cause, or the fix. */
  readonly says: RegExp;
  /** Why the kernel cannot be asked. */
  readonly notInKernel?: string;
}

const packetStart = `
  r2 = *(u32 *)(r1 + 0)
  r3 = *(u32 *)(r1 + 4)`;

const lookup = (index: number, keySlot = -8): string => `
  *(u64 *)(r10 - 8) = 0
  r1 = map_by_fd(${index}) ll
  r2 = r10
  r2 += ${keySlot}
  call 1`;

const packetCheck = (bytes: number): string => `${packetStart}
  r4 = r2
  r4 += ${bytes}
  if r4 > r3 goto out`;

const out = `
  out: r0 = 1
  exit`;

/** Those are compared as compiled C instead. */
const callbacksNeedBtf = "it takes callbacks only with BTF";

export const ruleCases: readonly RuleCase[] = [
  {
    rule: "registers are set before they are read",
    accepted: "r3 = 5\nr0 = r3\nexit",
    refused: "r0 = r3\nexit",
    code: "UNINITIALISED_REGISTER",
    says: /r3 is read and holds nothing/,
  },
  {
    rule: "r0 is set at exit",
    accepted: "r0 = 0\nexit",
    refused: "r6 = 0\nexit",
    code: "UNINITIALISED_REGISTER",
    says: /r0 is read/,
  },
  {
    rule: "calls leave nothing in r1 to r5",
    accepted: "r6 = r1\ncall 5\nr0 = r6\nr0 = 0\nexit",
    refused: "call 5\nr0 = r1\nexit",
    code: "UNINITIALISED_REGISTER",
    says: /calls leave nothing in r1 to r5/,
  },
  {
    rule: "every instruction can be reached",
    accepted: "goto l\nl: r0 = 0\nexit",
    refused: "goto l\nr0 = 1\nl: r0 = 0\nexit",
    code: "UNREACHABLE_CODE",
    says: /no jump, call or fall-through comes here/,
  },
  {
    rule: "packet bytes are compared with data_end before they are read",
    accepted: `${packetCheck(14)}\nr0 = *(u8 *)(r2 + 13)\n${out}`,
    refused: `${packetStart}\nr0 = *(u8 *)(r2 + 13)\nexit`,
    code: "PACKET_BOUNDS",
    says: /compare r2 \+ 14 with data_end before this/,
  },
  {
    rule: "a compare with data_end covers the bytes up to it and no more",
    accepted: `${packetCheck(14)}\nr0 = *(u16 *)(r2 + 12)\n${out}`,
    refused: `${packetCheck(14)}\nr0 = *(u16 *)(r2 + 13)\n${out}`,
    code: "PACKET_BOUNDS",
    says: /packet bytes 13 to 14 are accessed, and only the first 14 are known/,
  },
  {
    rule: "a strict compare covers one byte more",
    accepted: `${packetStart}\nr4 = r2\nr4 += 13\nif r4 >= r3 goto out\nr0 = *(u8 *)(r2 + 13)\n${out}`,
    refused: `${packetStart}\nr4 = r2\nr4 += 13\nif r4 > r3 goto out\nr0 = *(u8 *)(r2 + 13)\n${out}`,
    code: "PACKET_BOUNDS",
    says: /only the first 13 are/,
  },
  {
    rule: "a compare with data_end tells something on the side where it fits",
    accepted: `${packetStart}\nr4 = r2\nr4 += 14\nif r3 >= r4 goto l\ngoto out\nl: r0 = *(u8 *)(r2 + 0)\n${out}`,
    refused: `${packetStart}\nr4 = r2\nr4 += 14\nif r3 >= r4 goto out\nr0 = *(u8 *)(r2 + 0)\n${out}`,
    code: "PACKET_BOUNDS",
    says: /none is known to be there/,
  },
  {
    rule: "nothing lies before the packet",
    accepted: `${packetCheck(14)}\nr4 = r2\nr4 += 4\nr0 = *(u8 *)(r4 - 4)\n${out}`,
    refused: `${packetCheck(14)}\nr4 = r2\nr4 += 4\nr0 = *(u8 *)(r4 - 5)\n${out}`,
    code: "PACKET_BOUNDS",
    says: /before the packet/,
  },
  {
    rule: "a variable offset into the packet is compared again",
    accepted: `${packetCheck(14)}\nr5 = *(u8 *)(r2 + 0)\nr2 += r5\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 + 0)\n${out}`,
    refused: `${packetCheck(14)}\nr5 = *(u8 *)(r2 + 0)\nr2 += r5\nr0 = *(u32 *)(r2 + 0)\n${out}`,
    code: "PACKET_BOUNDS",
    says: /variable offset/,
  },
  {
    rule: "an offset into the packet is bounded before it is added",
    accepted: `${packetCheck(14)}\nr5 = *(u32 *)(r2 + 0)\nr5 &= 0xff\nr2 += r5\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 + 0)\n${out}`,
    refused: `${packetCheck(14)}\nr5 = *(u64 *)(r2 + 0)\nr2 += r5\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 + 0)\n${out}`,
    code: "POINTER_OFFSET",
    says: /may be anywhere/,
  },
  {
    rule: "pointers into the packet end with a helper that moves it",
    accepted:
      `r6 = r1\n${packetCheck(14)}\nr1 = r6\nr2 = 4\ncall 44\nr1 = r6\n${packetCheck(14)}\nr0 = *(u8 *)(r2 + 0)\n${out}`.replaceAll(
        "if r4 > r3 goto out\nr1 = r6",
        "if r4 > r3 goto out\nr1 = r6",
      ),
    refused: `r6 = r1\n${packetCheck(14)}\nr7 = r2\nr1 = r6\nr2 = 4\ncall 44\nr0 = *(u8 *)(r7 + 0)\n${out}`,
    code: "NOT_A_POINTER",
    says: /r7 is used as a pointer and holds a number/,
  },
  {
    rule: "data_end is only for compares",
    accepted: `${packetStart}\nr0 = r3\nr0 -= r2\nexit`,
    refused: `${packetStart}\nr0 = *(u8 *)(r3 - 1)\nexit`,
    code: "NOT_A_POINTER",
    says: /data_end itself is only for compares/,
  },
  {
    rule: "data_end is not moved",
    accepted: `${packetStart}\nr2 += 4\nr0 = 0\nexit`,
    refused: `${packetStart}\nr3 += -4\nr0 = 0\nexit`,
    code: "POINTER_ARITHMETIC",
    says: /may not change/,
  },
  {
    rule: "metadata lies before data, and is compared with it",
    accepted:
      "r2 = *(u32 *)(r1 + 8)\nr3 = *(u32 *)(r1 + 0)\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 + 0)\nout: r0 = 1\nexit",
    refused:
      "r2 = *(u32 *)(r1 + 8)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 4\nif r4 > r3 goto out\nr0 = *(u32 *)(r2 + 0)\nout: r0 = 1\nexit",
    code: "PACKET_BOUNDS",
    says: /with data before this/,
  },
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
    says: /holds a number/,
  },
  {
    rule: "a pointer that may be null is not moved",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr0 += 8\nr1 = *(u64 *)(r0 + 0)\n${out}`,
    refused: `${lookup(1)}\nr0 += 8\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\n${out}`,
    code: "MAYBE_NULL",
    says: /arithmetic is done on it/,
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
    rule: "the stack has 512 bytes",
    accepted: "*(u64 *)(r10 - 512) = 1\nr0 = 0\nexit",
    refused: "*(u64 *)(r10 - 520) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "nothing lies above the frame pointer",
    accepted: "*(u8 *)(r10 - 1) = 1\nr0 = 0\nexit",
    refused: "*(u8 *)(r10 + 0) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /negative offsets/,
  },
  {
    rule: "stack accesses are aligned",
    accepted: "*(u32 *)(r10 - 4) = 1\nr0 = 0\nexit",
    refused: "*(u32 *)(r10 - 6) = 1\nr0 = 0\nexit",
    code: "MISALIGNED",
    says: /not aligned to 4/,
  },
  {
    rule: "a variable stack offset is bounded",
    accepted:
      "r2 = *(u32 *)(r1 + 12)\nr2 &= 7\nr3 = r10\nr3 += -16\nr3 += r2\n*(u8 *)(r3 + 0) = 1\nr0 = 0\nexit",
    refused:
      "r2 = *(u32 *)(r1 + 12)\nr2 &= 31\nr3 = r10\nr3 += -16\nr3 += r2\n*(u8 *)(r3 + 0) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "a spilled pointer comes back as the pointer it was",
    accepted: "*(u64 *)(r10 - 8) = r1\nr2 = *(u64 *)(r10 - 8)\nr0 = *(u32 *)(r2 + 12)\nexit",
    refused:
      "*(u64 *)(r10 - 8) = r1\n*(u8 *)(r10 - 8) = 1\nr2 = *(u64 *)(r10 - 8)\nr0 = *(u32 *)(r2 + 12)\nexit",
    code: "NOT_A_POINTER",
    says: /r2 is used as a pointer and holds a number/,
  },
  {
    rule: "a spilled pointer is loaded whole",
    accepted: "*(u64 *)(r10 - 8) = r1\nr0 = *(u64 *)(r10 - 8)\nr0 = 0\nexit",
    refused: "*(u64 *)(r10 - 8) = r1\nr0 = *(u32 *)(r10 - 8)\nexit",
    code: "STACK_POINTER_FILL",
    says: /load all 8 bytes/,
  },
  {
    rule: "a spilled number keeps its range",
    accepted: `r6 = *(u32 *)(r1 + 12)\nr6 &= 31\n*(u64 *)(r10 - 16) = r6\n${lookup(1)}\nif r0 == 0 goto out\nr1 = *(u64 *)(r10 - 16)\nr0 += r1\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\nr6 &= 31\n*(u64 *)(r10 - 16) = r6\n*(u8 *)(r10 - 12) = 1\n${lookup(1)}\nif r0 == 0 goto out\nr1 = *(u64 *)(r10 - 16)\nr0 += r1\nr1 = *(u8 *)(r0 + 0)\n${out}`,
    code: "POINTER_OFFSET",
    says: /r0/,
  },
  {
    rule: "context fields are read with their size",
    accepted: "r0 = *(u32 *)(r1 + 12)\nexit",
    refused: "r0 = *(u16 *)(r1 + 12)\nexit",
    code: "CONTEXT_ACCESS",
    says: /xdp_md\.ingress_ifindex \(offset 12\) cannot be read with 2 bytes/,
  },
  {
    rule: "context fields that the type does not have are refused",
    accepted: "r0 = *(u32 *)(r1 + 16)\nexit",
    refused: "r0 = *(u32 *)(r1 + 20)\nexit",
    code: "CONTEXT_ACCESS",
    says: /xdp_md\.egress_ifindex/,
  },
  {
    rule: "the context of xdp is not written",
    accepted: "r0 = *(u32 *)(r1 + 12)\nexit",
    refused: "*(u32 *)(r1 + 12) = 1\nr0 = 0\nexit",
    code: "CONTEXT_ACCESS",
    says: /cannot be written/,
  },
  {
    rule: "a socket filter writes only cb",
    type: "socket",
    accepted: "*(u32 *)(r1 + 48) = 1\nr0 = 0\nexit",
    refused: "*(u32 *)(r1 + 8) = 1\nr0 = 0\nexit",
    code: "CONTEXT_ACCESS",
    says: /__sk_buff\.mark/,
  },
  {
    rule: "a socket filter has no data pointers",
    type: "socket",
    accepted: "r0 = *(u32 *)(r1 + 0)\nexit",
    refused: "r0 = *(u32 *)(r1 + 76)\nexit",
    code: "CONTEXT_ACCESS",
    says: /__sk_buff\.data/,
  },
  {
    rule: "a cgroup_skb program does not write the packet",
    type: "cgroup_skb",
    accepted:
      "r2 = *(u32 *)(r1 + 76)\nr3 = *(u32 *)(r1 + 80)\nr4 = r2\nr4 += 1\nif r4 > r3 goto l\nr5 = *(u8 *)(r2 + 0)\nl: r0 = 1\nexit",
    refused:
      "r2 = *(u32 *)(r1 + 76)\nr3 = *(u32 *)(r1 + 80)\nr4 = r2\nr4 += 1\nif r4 > r3 goto l\n*(u8 *)(r2 + 0) = 1\nl: r0 = 1\nexit",
    code: "PACKET_READ_ONLY",
    says: /may read the packet, not write it/,
  },
  {
    rule: "a cgroup_skb program returns 0 or 1",
    type: "cgroup_skb",
    accepted: "r0 = *(u32 *)(r1 + 0)\nr0 &= 1\nexit",
    refused: "r0 = *(u32 *)(r1 + 0)\nexit",
    code: "RETURN_VALUE",
    says: /returns 0 \(drop\) or 1 \(pass\)/,
  },
  {
    rule: "the context pointer is not moved before it is read through",
    accepted: "r2 = r1\nr0 = *(u32 *)(r2 + 12)\nexit",
    refused: "r2 = r1\nr2 += 4\nr0 = *(u32 *)(r2 + 8)\nexit",
    code: "CONTEXT_ACCESS",
    says: /changed by arithmetic/,
  },
  {
    rule: "a packet load takes the context in r6",
    type: "socket",
    accepted: "r6 = r1\nr0 = *(u8 *)skb[0]\nexit",
    refused: "r6 = 1\nr0 = *(u8 *)skb[0]\nexit",
    code: "PACKET_LOAD",
    says: /copy r1 to r6/,
  },
  {
    rule: "numbers are no pointers",
    accepted: "r2 = r10\n*(u64 *)(r2 - 8) = 0\nr0 = 0\nexit",
    refused: "r2 = 65536\n*(u64 *)(r2 - 8) = 0\nr0 = 0\nexit",
    code: "NOT_A_POINTER",
    says: /holds a number/,
  },
  {
    rule: "only addition and subtraction are done on pointers",
    accepted: "r1 += 8\nr0 = 0\nexit",
    refused: "r1 *= 8\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /"mul" is done on it/,
  },
  {
    rule: "32-bit arithmetic does not cut pointers",
    accepted: "r1 += 8\nr0 = 0\nexit",
    refused: "w1 += 8\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /cut it in half/,
  },
  {
    rule: "two pointers are not added",
    accepted: "r2 = r10\nr2 -= r1\nr0 = 0\nexit",
    refused: "r2 = r10\nr2 += r1\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /both pointers/,
  },
  {
    rule: "shifts stay within the width",
    accepted: "r0 = 1\nr0 <<= 63\nexit",
    refused: "r0 = 1\nr0 <<= 64\nexit",
    code: "INVALID_SHIFT",
    says: /shifts a 64-bit number by 64/,
  },
  {
    rule: "nothing is divided by the constant 0",
    accepted: "r0 = 1\nr1 = 0\nr0 /= r1\nexit",
    refused: "r0 = 1\nr0 /= 0\nexit",
    code: "DIVISION_BY_ZERO",
    says: /constant 0/,
  },
  {
    rule: "atomics are aligned",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 + 8) += r1\n${out}`,
    refused: `${lookup(1)}\nif r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 + 4) += r1\n${out}`,
    code: "MISALIGNED",
    says: /not aligned to 8/,
  },
  {
    rule: "atomics do not work on packets",
    accepted: "*(u64 *)(r10 - 8) = 0\nr1 = 1\nlock *(u64 *)(r10 - 8) += r1\nr0 = 0\nexit",
    refused: `${packetCheck(16)}\nr1 = 1\nlock *(u64 *)(r2 + 8) += r1\n${out}`,
    code: "ATOMIC_TARGET",
    says: /works on the packet/,
  },
  {
    rule: "a helper's key is readable memory of the key's size",
    accepted: `*(u64 *)(r10 - 8) = 0\n${lookup(1)}\n${out}`.replace("out: ", ""),
    refused: `${lookup(1, -4)}\n${out}`.replace("out: ", ""),
    code: "STACK_BOUNDS",
    says: /8 bytes at stack offset -4/,
  },
  {
    rule: "a helper takes a map where its signature says so",
    accepted: `${lookup(1)}\n${out}`.replace("out: ", ""),
    refused: `*(u64 *)(r10 - 8) = 0\nr1 = 7\nr2 = r10\nr2 += -8\ncall 1\nr0 = 0\nexit`,
    code: "HELPER_ARGUMENT",
    says: /takes in r1 a map/,
  },
  {
    rule: "a helper takes only the types of map it works on",
    accepted: `${lookup(1)}\n${out}`.replace("out: ", ""),
    refused: `*(u64 *)(r10 - 8) = 0\nr1 = map_by_fd(3) ll\nr2 = r10\nr2 += -8\ncall 1\nr0 = 0\nexit`,
    code: "HELPER_ARGUMENT",
    says: /map events, which is of type ringbuf/,
  },
  {
    rule: "a helper does not change a read-only map",
    accepted:
      "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 24) = 0\n*(u64 *)(r10 - 16) = 0\nr1 = map_by_fd(0) ll\nr2 = r10\nr2 += -8\nr3 = r10\nr3 += -24\nr4 = 0\ncall 2\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 24) = 0\n*(u64 *)(r10 - 16) = 0\nr1 = map_by_fd(2) ll\nr2 = r10\nr2 += -8\nr3 = r10\nr3 += -24\nr4 = 0\ncall 2\nr0 = 0\nexit",
    code: "MAP_READ_ONLY",
    says: /map \.rodata/,
  },
  {
    rule: "a helper takes the context as it came",
    accepted: "r2 = 0\ncall 44\nr0 = 1\nexit",
    refused: "r1 += 4\nr2 = 0\ncall 44\nr0 = 1\nexit",
    code: "HELPER_ARGUMENT",
    says: /the context, as the program got it/,
  },
  {
    rule: "a size given to a helper fits the memory",
    accepted: "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\ncall 6\nr0 = 0\nexit",
    refused: "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\nr2 = 9\ncall 6\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /9 bytes at stack offset -8/,
  },
  {
    rule: "a size given to a helper is not negative",
    accepted:
      "r6 = *(u32 *)(r1 + 12)\nr6 &= 7\nr6 += 1\n*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\nr2 = r6\ncall 6\nr0 = 0\nexit",
    refused:
      "call 5\nr6 = r0\n*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\nr2 = r6\ncall 6\nr0 = 0\nexit",
    code: "HELPER_SIZE",
    says: /may be negative/,
  },
  {
    rule: "a size of 0 is only given where it may be",
    accepted: "r1 = 0\nr2 = 0\nr3 = 0\nr4 = 0\nr5 = 0\ncall 28\nexit",
    refused:
      "r6 = *(u32 *)(r1 + 12)\nr6 &= 7\n*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\nr2 = r6\ncall 6\nr0 = 0\nexit",
    code: "HELPER_SIZE",
    says: /takes at least 1/,
  },
  {
    rule: "helpers take packet memory only where they say so",
    accepted: `${packetCheck(8)}\nr1 = map_by_fd(1) ll\ncall 1\n${out}`,
    refused: `${packetCheck(8)}\nr1 = r2\nr2 = 8\ncall 6\n${out}`,
    code: "HELPER_ARGUMENT",
    says: /copy the bytes to the stack/,
  },
  {
    rule: "what is reserved is given back",
    accepted:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\nr1 = r0\nr2 = 0\ncall 132\nl: r0 = 0\nexit",
    refused:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\n*(u64 *)(r0 + 8) = 1\nl: r0 = 0\nexit",
    code: "REFERENCE_LEAK",
    says: /the call at 4 reserved is not given back/,
  },
  {
    rule: "what was given back is not used",
    accepted:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\n*(u64 *)(r0 + 8) = 1\nr1 = r0\nr2 = 0\ncall 133\nl: r0 = 0\nexit",
    refused:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\nr6 = r0\nr1 = r0\nr2 = 0\ncall 133\n*(u64 *)(r6 + 8) = 1\nl: r0 = 0\nexit",
    code: "NOT_A_POINTER",
    says: /r6 is used as a pointer and holds a number/,
  },
  {
    rule: "reserved memory has the size asked for",
    accepted:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\n*(u64 *)(r0 + 8) = 1\nr1 = r0\nr2 = 0\ncall 133\nl: r0 = 0\nexit",
    refused:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\n*(u64 *)(r0 + 9) = 1\nr1 = r0\nr2 = 0\ncall 133\nl: r0 = 0\nexit",
    code: "MEMORY_BOUNDS",
    says: /bytes 9 to 16/,
  },
  {
    rule: "a loop comes to an end",
    accepted: "r6 = 0\nl: r6 += 1\nif r6 != 100 goto l\nr0 = 0\nexit",
    refused: "r6 = 0\nl: r7 = 1\nif r6 != 100 goto l\nr0 = 0\nexit",
    code: "INFINITE_LOOP",
    says: /nothing changed/,
  },
  {
    rule: "a loop whose end is not known is followed only so far",
    accepted:
      "r6 = *(u32 *)(r1 + 12)\nr6 &= 63\nr7 = 0\nl: if r7 >= r6 goto o\nr7 += 1\ngoto l\no: r0 = 0\nexit",
    refused: "call 7\nr6 = r0\nr7 = 0\nl: if r7 >= r6 goto o\nr7 += 1\ngoto l\no: r0 = 0\nexit",
    code: "TOO_COMPLEX",
    says: /8192 branches are open on one path/,
  },
  {
    rule: "what depends on a loop's counter is checked with its last value",
    accepted: `${lookup(1)}\nif r0 == 0 goto out\nr6 = 0\nl: r1 = r0\nr1 += r6\nr2 = *(u8 *)(r1 + 0)\nr6 += 1\nif r6 != 32 goto l\n${out}`,
    refused: `${lookup(1)}\nif r0 == 0 goto out\nr6 = 0\nl: r1 = r0\nr1 += r6\nr2 = *(u8 *)(r1 + 0)\nr6 += 1\nif r6 != 33 goto l\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /bytes 32 to 32/,
  },
  {
    rule: "paths that meet are covered only by what they relied on",
    accepted: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nr7 = 4\nif r6 == 1 goto l\nr7 = 8\nl: r0 += r7\nr1 = *(u64 *)(r0 + 16)\n${out}`,
    refused: `r6 = *(u32 *)(r1 + 12)\n${lookup(1)}\nif r0 == 0 goto out\nr7 = 4\nif r6 == 1 goto l\nr7 = 16\nl: r0 += r7\nr1 = *(u64 *)(r0 + 16)\n${out}`,
    code: "MAP_VALUE_BOUNDS",
    says: /bytes 32 to 39/,
  },
  {
    rule: "a function gets what each call passes",
    accepted:
      "r2 = 8\ncall f\nr0 = 0\nexit\nf: r3 = r10\nr3 += -16\nr3 += r2\n*(u64 *)(r3 + 0) = 1\nr0 = 0\nexit",
    refused:
      "r2 = 16\ncall f\nr0 = 0\nexit\nf: r3 = r10\nr3 += -16\nr3 += r2\n*(u64 *)(r3 + 0) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "a function may write its caller's stack",
    accepted:
      "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 0) = 1\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 8) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "a function does not return a pointer to its stack",
    accepted: "call f\nr0 = 0\nexit\nf: r0 = r1\nexit",
    refused: "call f\nr0 = 0\nexit\nf: r0 = r10\nexit",
    code: "STACK_POINTER_RETURNED",
    says: /whose frame ends with it/,
  },
  {
    rule: "a function does not leave a pointer to its stack behind",
    accepted: "r1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 0) = 5\nr0 = 0\nexit",
    refused: "r1 = r10\nr1 += -8\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r1 + 0) = r10\nr0 = 0\nexit",
    code: "STACK_POINTER_RETURNED",
    says: /left there/,
  },
  {
    rule: "nested functions share 512 bytes of stack",
    accepted:
      "*(u64 *)(r10 - 256) = 0\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r10 - 256) = 0\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 256) = 0\ncall f\nr0 = 0\nexit\nf: *(u64 *)(r10 - 264) = 0\nr0 = 0\nexit",
    code: "STACK_DEPTH",
    says: /2 nested functions use 528 bytes/,
  },
  {
    rule: "functions nest eight deep",
    accepted: nested(8),
    refused: nested(9),
    code: "CALL_DEPTH",
    says: /more than 8 functions/,
  },
  {
    rule: "tail calls keep the stack below them small",
    accepted:
      "*(u64 *)(r10 - 240) = 0\ncall f\nr0 = 0\nexit\nf: r2 = map_by_fd(5) ll\nr3 = 0\ncall 12\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 256) = 0\ncall f\nr0 = 0\nexit\nf: r2 = map_by_fd(5) ll\nr3 = 0\ncall 12\nr0 = 0\nexit",
    code: "STACK_DEPTH",
    says: /makes tail calls/,
    notInKernel: "it takes tail calls in functions only with BTF",
  },
  {
    rule: "a callback runs any number of times on what it was given",
    accepted: loopProgram("r3 = *(u64 *)(r2 + 0)\nr3 += 1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit"),
    refused: loopProgram(
      "r3 = *(u64 *)(r2 + 0)\nr3 += 1\n*(u64 *)(r2 + 0) = r3\nr2 += r3\n*(u8 *)(r2 + 0) = 1\nr0 = 0\nexit",
    ),
    code: "POINTER_OFFSET",
    says: /may be anywhere/,
    notInKernel: callbacksNeedBtf,
  },
  {
    rule: "a callback returns 0 or 1",
    accepted: loopProgram("r0 = 1\nexit"),
    refused: loopProgram("r0 = 2\nexit"),
    code: "CALLBACK",
    says: /0 \(go on\) or 1 \(stop\)/,
    notInKernel: callbacksNeedBtf,
  },
  {
    rule: "a callback for a map's entries gets key and value",
    accepted: walkProgram("r0 = *(u64 *)(r3 + 24)\nr0 = *(u64 *)(r2 + 0)\nr0 = 0\nexit"),
    refused: walkProgram("r0 = *(u64 *)(r3 + 24)\nr0 = *(u64 *)(r2 + 1)\nr0 = 0\nexit"),
    code: "MEMORY_BOUNDS",
    says: /bytes 1 to 8/,
    notInKernel: callbacksNeedBtf,
  },
  {
    rule: "a callback does not write the key",
    accepted: walkProgram("*(u64 *)(r3 + 24) = 1\nr0 = 0\nexit"),
    refused: walkProgram("*(u64 *)(r2 + 0) = 1\nr0 = 0\nexit"),
    code: "MEMORY_READ_ONLY",
    says: /may only be read/,
    notInKernel: callbacksNeedBtf,
  },
  {
    rule: "helpers belong to program types",
    accepted: "r2 = 0\ncall 44\nr0 = 1\nexit",
    refused: "r2 = 0\nr3 = r10\nr3 += -8\nr4 = 8\ncall 26\nr0 = 1\nexit",
    code: "PROGRAM_HELPER_NOT_ALLOWED",
    says: /bpf_skb_load_bytes \(helper 26\), which programs of type xdp may not call/,
  },
  {
    rule: "nothing jumps into the middle of a 16-byte instruction",
    accepted: "goto +2\nr1 = 5 ll\nr0 = 0\nif r0 == 1 goto -4\nexit",
    refused: "r0 = 0\nif r0 == 1 goto +1\nr1 = 5 ll\nexit",
    code: "PROGRAM_JUMP_INTO_LDDW",
    says: /second half/,
  },
];

function nested(depth: number): string {
  const functions = Array.from({ length: depth - 1 }, (_, i) =>
    i === depth - 2 ? `f${i}: r0 = 0\nexit` : `f${i}: call f${i + 1}\nr0 = 0\nexit`,
  );
  return `call f0\nr0 = 0\nexit\n${functions.join("\n")}`;
}

function loopProgram(body: string): string {
  return `*(u64 *)(r10 - 8) = 0
    r1 = 1000
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 181
    r0 = 0
    exit
    f: ${body}`;
}

function walkProgram(body: string): string {
  return `r1 = map_by_fd(1) ll
    r2 = code_addr(f) ll
    r3 = 0
    r4 = 0
    call 164
    r0 = 0
    exit
    f: ${body}`;
}
