import { allStatic, lookup, out, packetCheck, packetStart, type RuleCase } from "./rule-case.ts";

export const packetRules: readonly RuleCase[] = [
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
    rule: "a pointer beyond the packet's end stays there where it is moved up, and not where it is moved down",
    accepted: indexBeyondEnd("r4 += 8"),
    refused: indexBeyondEnd("r4 += -2000"),
    code: "MAP_VALUE_BOUNDS",
    says: /byte 64 is accessed, and the value of map flows has 32/,
    notInKernel: "it takes the pointer for beyond the end wherever it is moved",
  },
  {
    rule: "a pointer beyond the packet's end that is moved down by an unknown number may lie before it",
    accepted: indexBeyondEnd("r5 = 0"),
    refused: indexBeyondEnd("r5 = *(u32 *)(r1 + 12)\nr5 &= 0xfff\nr4 -= r5"),
    code: "MAP_VALUE_BOUNDS",
    says: /byte 64 is accessed, and the value of map flows has 32/,
    notInKernel: "it takes the pointer for beyond the end wherever it is moved",
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
    rule: "an offset into the packet is small enough for a compare with data_end to count",
    accepted: farOffset("r5 &= 0x7fff"),
    refused: farOffset("r5 = r5"),
    code: "PACKET_BOUNDS",
    says: /none is known to be there: that offset is 0 to 65535, and a compare with data_end counts only where offset and access end within 65535 bytes; bound the offset before it is added, to at most 65534, for instance with & 0x7fff; then compare with data_end/,
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
    says: /r7 .*pointed into the packet until bpf_xdp_adjust_head moved that, at instruction 9; load data/,
  },
  {
    rule: "pointers into the packet end with a callback that moves it",
    accepted: movedInLoop("r1 = *(u64 *)(r10 - 8)\nr7 = *(u32 *)(r1 + 0)\nr0 = r7"),
    refused: movedInLoop("r0 = *(u8 *)(r7 + 0)"),
    code: "NOT_A_POINTER",
    says: /r7 .*pointed into the packet until bpf_xdp_adjust_head moved that, at instruction 20; load data/,
    typed: allStatic,
  },
  {
    rule: "pointers on the stack into the packet end with a callback that moves it",
    accepted: movedInLoop("r0 = *(u64 *)(r10 - 16)"),
    refused: movedInLoop("r1 = *(u64 *)(r10 - 16)\nr0 = *(u8 *)(r1 + 0)"),
    code: "NOT_A_POINTER",
    says: /r1 .*pointed into the packet until bpf_xdp_adjust_head moved that, at instruction 21; load data/,
    typed: allStatic,
  },
  {
    rule: "pointers into the packet end with a global function that may move it",
    typed: new Map([[11, ["context"]]]),
    accepted: movedInFunction("r0 = r7\nr0 = 1"),
    refused: movedInFunction("r0 = 1\nr0 = *(u8 *)(r7 + 0)"),
    code: "NOT_A_POINTER",
    says: /r7 .*pointed into the packet until the call of global function function1, which may move that, at instruction 6; load data/,
  },
  {
    rule: "a global function that may move the packet is given no memory of it",
    typed: new Map([[8, ["context", { bytes: 8 }]]]),
    accepted: movedWithMemory("r2 = r10\nr2 += -8\n*(u64 *)(r2 + 0) = 0\nr3 = 0\nr4 = 0"),
    refused: movedWithMemory(packetCheck(14)),
    code: "FUNCTION_ARGUMENT",
    says: /function1, which may move the packet, takes in r2 memory, and r2 points into the packet; copy the bytes/,
    notInKernel: "it lets the function use the memory once the packet has moved",
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
    rule: "helpers take packet memory only where they say so",
    accepted: `${packetCheck(8)}\nr1 = map_by_fd(1) ll\ncall 1\n${out}`,
    refused: `${packetCheck(8)}\nr1 = r2\nr2 = 8\ncall 6\n${out}`,
    code: "HELPER_ARGUMENT",
    says: /copy the bytes to the stack/,
  },
];

/** A byte at a 16-bit offset that the packet holds, compared as it should be. */
function farOffset(bound: string): string {
  return `${packetCheck(14)}
    r5 = *(u16 *)(r2 + 12)
    ${bound}
    r2 += r5
    r4 = r2
    r4 += 1
    if r4 > r3 goto out
    r0 = *(u8 *)(r2 + 0)
    ${out}`;
}

/** The packet's start in r7 and at -16, the context at -8, a loop that moves the packet, and `after`. */
function movedInLoop(after: string): string {
  return `*(u64 *)(r10 - 8) = r1
    ${packetCheck(14)}
    r7 = r2
    *(u64 *)(r10 - 16) = r2
    r1 = 2
    r2 = code_addr(f) ll
    r3 = r10
    r3 += -8
    r4 = 0
    call 181
    ${after}
    ${out}
    f: r1 = *(u64 *)(r2 + 0)
    r2 = 4
    call 44
    r0 = 0
    exit`;
}

/** The packet's start in r7, a function that moves the packet, and two instructions behind it. */
function movedInFunction(after: string): string {
  return `${packetCheck(14)}
    r7 = r2
    call f
    ${after}
    out: r0 = 1
    exit
    f: r2 = 4
    call 44
    r0 = 0
    exit`;
}

/** A function moves the packet and then reads what it was given in r2, which five instructions set. */
function movedWithMemory(given: string): string {
  return `${given}
    call f
    out: r0 = 2
    exit
    f: r6 = r2
    r2 = 4
    call 44
    r0 = 0
    if r6 == 0 goto o
    r0 = *(u8 *)(r6 + 0)
    o: exit`;
}

/** Uses 64 as an index into a value of 32 bytes where r4, found beyond data_end and moved, is not beyond it. */
function indexBeyondEnd(move: string): string {
  return `${packetStart}
    r4 = r2
    r4 += 2000
    if r4 <= r3 goto out
    ${move}
    r6 = 64
    if r4 <= r3 goto join
    r6 = 0
    join: ${lookup(1).trim()}
    if r0 == 0 goto out
    r0 += r6
    r0 = *(u8 *)(r0 + 0)
    ${out}`;
}
