import type { EngineCase } from "./case-table.ts";

/** What programs of the skb types may reach of their packet and context, and what not. */
export const skbCases: readonly EngineCase[] = [
  {
    name: "lets a tc program write its packet",
    type: "tc",
    data: 16,
    program: `r2 = *(u32 *)(r1 + 76)
      *(u32 *)(r2 + 0) = 0x04030201
      r0 = *(u32 *)(r2 + 12)
      exit`,
    r0: 0x0f0e_0d0cn,
    packet: "01020304 04050607 08090a0b 0c0d0e0f",
  },
  {
    name: "shows a cgroup_skb program the packet from its network header on",
    type: "cgroup_skb",
    program: `r2 = *(u32 *)(r1 + 76)
      r3 = *(u32 *)(r1 + 80)
      r0 = *(u8 *)(r2 + 0)
      r3 -= r2
      r0 <<= 8
      r0 += r3
      exit`,
    r0: 0x0e32n,
  },
  {
    name: "keeps a cgroup_skb program from the header in front of its packet",
    type: "cgroup_skb",
    program: "r2 = *(u32 *)(r1 + 76)\nr0 = *(u8 *)(r2 - 1)\nexit",
    fault: { code: "bad_access", slot: 1, says: /no object/ },
  },
  {
    name: "keeps a cgroup_skb program from writing its packet",
    type: "cgroup_skb",
    program: "r2 = *(u32 *)(r1 + 76)\nr0 = *(u8 *)(r2 + 0)\n*(u8 *)(r2 + 0) = 1\nexit",
    fault: { code: "read_only", slot: 2, says: /which programs of type cgroup_skb only read/ },
  },
  ...(["tc", "cgroup_skb", "socket"] as const).map(
    (type): EngineCase => ({
      name: `shows a ${type} program no socket`,
      type,
      program: `r2 = *(u64 *)(r1 + 168)
        r0 = 7
        if r2 == 0 goto l
        r0 = *(u32 *)(r2 + 4)
        l: exit`,
      r0: 7n,
    }),
  ),
  {
    name: "faults where a helper is given a socket that is none",
    type: "tc",
    program: "r1 = *(u64 *)(r1 + 168)\ncall 95\nexit",
    fault: { code: "bad_argument", slot: 1, says: /sk_fullsock, argument r1: no socket/ },
  },
  {
    name: "checks pointers made before a change of the frame against the new one",
    type: "tc",
    program: `r6 = r1
      r7 = *(u32 *)(r1 + 80)
      r0 = *(u8 *)(r7 - 1)
      r2 = 50
      r3 = 0
      call 38
      r0 = *(u8 *)(r7 - 15)
      r0 = *(u8 *)(r7 - 14)
      exit`,
    fault: { code: "bad_access", slot: 7, says: /no object/ },
  },
  {
    name: "refuses to read a length that lies beyond the stack",
    type: "xdp",
    program: `r2 = 1
      r3 = r10
      r3 += -2
      r4 = 0
      r5 = 0
      call 163
      exit`,
    fault: { code: "bad_argument", slot: 5, says: /check_mtu, argument r3: read of 4 bytes/ },
  },
  {
    name: "refuses to put a number where there is no room for it",
    program: `*(u64 *)(r10 - 8) = 0x37
      r1 = r10
      r1 += -8
      r2 = 2
      r3 = 10
      r4 = r10
      r4 += -4
      call 105
      exit`,
    fault: { code: "bad_argument", slot: 7, says: /strtol, argument r4: write of 8 bytes/ },
  },
  {
    name: "refuses a string to compare with that is no constant",
    program: `*(u64 *)(r10 - 8) = 0x37
      r1 = r10
      r1 += -8
      r2 = 8
      r3 = r1
      call 182
      exit`,
    fault: { code: "bad_argument", slot: 5, says: /strncmp, argument r3: no string constant/ },
  },
  {
    name: "refuses a string constant without an end",
    maps: (bench) => [
      bench.map("array", {
        name: ".rodata",
        valueSize: 8,
        maxEntries: 1,
        readOnly: true,
        contents: [{ key: new Uint8Array(4), value: new Uint8Array(8).fill(0x41) }],
      }),
    ],
    program: `*(u64 *)(r10 - 8) = 0x37
      r1 = r10
      r1 += -8
      r2 = 8
      r3 = map_val(map_by_fd(0)) + 0 ll
      call 182
      exit`,
    fault: { code: "bad_argument", slot: 6, says: /a string without a zero byte at its end/ },
  },
  {
    name: "takes no memory of a size that is not 0 at null",
    type: "raw",
    maps: (bench) => [
      bench.map("array", { name: ".rodata", valueSize: 8, maxEntries: 1, readOnly: true }),
    ],
    program: `r1 = 0
      r2 = 4
      r3 = map_val(map_by_fd(0)) + 0 ll
      r4 = 0
      r5 = 0
      call 165
      exit`,
    fault: { code: "bad_argument", slot: 6, says: /snprintf, argument r1: write of 4 bytes/ },
  },
  {
    name: "prints into no buffer, and gives the length all the same",
    maps: (bench) => [
      bench.map("array", { name: ".rodata", valueSize: 8, maxEntries: 1, readOnly: true }),
    ],
    program: `r1 = 0
      r2 = 0
      r3 = map_val(map_by_fd(0)) + 0 ll
      r4 = 0
      r5 = 0
      call 165
      exit`,
    r0: 1n,
  },
];
