import { out, packetCheck, packetStart, type RuleCase } from "./rule-case.ts";

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
    says: /r7 .*pointed into the packet until bpf_xdp_adjust_head moved that, at instruction 9; load data/,
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
