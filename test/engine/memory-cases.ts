import { F_RDONLY_PROG, F_WRONLY_PROG } from "../../src/runtime/wasm/layout.ts";
import type { EngineCase } from "./case-table.ts";

/** Loads data and data_end of an xdp program to r2 and r3. */
export const packetEnds = `
  r2 = *(u32 *)(r1 + 0)
  r3 = *(u32 *)(r1 + 4)
`;

const loads: readonly EngineCase[] = [
  { name: "loads one byte", program: "r0 = *(u8 *)(r1 + 63)\nexit", r0: 63n },
  {
    name: "loads two bytes, little end first",
    program: "r0 = *(u16 *)(r1 + 1)\nexit",
    r0: 0x0201n,
  },
  {
    name: "loads four bytes and clears the upper half",
    program: "r0 = -1\nr0 = *(u32 *)(r1 + 3)\nexit",
    r0: 0x0605_0403n,
  },
  {
    name: "loads eight aligned bytes",
    program: "r0 = *(u64 *)(r1 + 8)\nexit",
    r0: 0x0f0e_0d0c_0b0a_0908n,
  },
  {
    name: "loads eight unaligned bytes",
    program: "r0 = *(u64 *)(r1 + 3)\nexit",
    r0: 0x0a09_0807_0605_0403n,
  },
  {
    name: "extends the sign of a loaded byte",
    program: "r0 = *(s8 *)(r1 + 1)\nexit",
    data: "0080",
    r0: 0xffff_ffff_ffff_ff80n,
  },
  {
    name: "extends the sign of two loaded bytes",
    program: "r0 = *(s16 *)(r1 + 1)\nexit",
    data: "000080",
    r0: 0xffff_ffff_ffff_8000n,
  },
  {
    name: "extends the sign of four loaded bytes",
    program: "r0 = *(s32 *)(r1 + 0)\nexit",
    data: "01000080",
    r0: 0xffff_ffff_8000_0001n,
  },
  {
    name: "keeps a positive sign-extended load positive",
    program: "r0 = *(s8 *)(r1 + 0)\nexit",
    data: "7f",
    r0: 0x7fn,
  },
  {
    name: "loads a pointer's own memory into the pointer",
    program: "r1 = *(u64 *)(r1 + 0)\nr0 = r1\nexit",
    data: "8877665544332211",
    r0: 0x1122_3344_5566_7788n,
  },
];

const stores: readonly EngineCase[] = [
  {
    name: "stores the low bytes of a register by size",
    program: `r2 = 0x1122334455667788 ll
      *(u8 *)(r1 + 0) = r2
      *(u16 *)(r1 + 1) = r2
      *(u32 *)(r1 + 3) = r2
      *(u64 *)(r1 + 7) = r2
      exit`,
    data: 16,
    packet: "88 8877 88776655 8877665544332211 0f",
  },
  {
    name: "stores eight aligned bytes",
    program: "r2 = 0x1122334455667788 ll\n*(u64 *)(r1 + 8) = r2\nexit",
    data: 16,
    packet: "0001020304050607 8877665544332211",
  },
  {
    name: "stores immediates, extending the sign to eight bytes",
    program: `*(u8 *)(r1 + 0) = -1
      *(u16 *)(r1 + 1) = -2
      *(u32 *)(r1 + 3) = -3
      *(u64 *)(r1 + 8) = -4
      exit`,
    data: 16,
    packet: "ff feff fdffffff 07 fcffffffffffffff",
  },
];

const stack: readonly EngineCase[] = [
  {
    name: "keeps what is stored at both ends of the stack frame",
    program: `r2 = 0x1122334455667788 ll
      *(u64 *)(r10 - 512) = r2
      *(u8 *)(r10 - 1) = 9
      r0 = *(u64 *)(r10 - 512)
      r3 = *(u8 *)(r10 - 1)
      r0 += r3
      exit`,
    r0: 0x1122_3344_5566_7791n,
  },
  {
    name: "starts with a zeroed stack",
    program: "r0 = *(u64 *)(r10 - 64)\n*(u64 *)(r10 - 64) = -1\nexit",
    r0: 0n,
  },
  {
    name: "starts with a zeroed stack again",
    program: "r0 = *(u64 *)(r10 - 64)\n*(u64 *)(r10 - 64) = -1\nexit",
    r0: 0n,
  },
  {
    name: "refuses a store below the stack frame",
    program: "*(u8 *)(r10 - 513) = 1\nexit",
    fault: { code: "bad_access", slot: 0, says: /write of 1 byte at 0x.*no object/ },
  },
  {
    name: "refuses a load across the top of the stack",
    program: "r0 = 1\nr0 = *(u64 *)(r10 - 4)\nexit",
    fault: { code: "bad_access", slot: 1, says: /4 bytes beyond the end of the stack frame 0/ },
  },
];

const packets: readonly EngineCase[] = [
  {
    name: "reads the last byte of an xdp packet",
    type: "xdp",
    program: `${packetEnds}r0 = *(u8 *)(r2 + 63)\nexit`,
    r0: 63n,
  },
  {
    name: "refuses to read behind the packet",
    type: "xdp",
    program: `${packetEnds}r0 = *(u16 *)(r2 + 63)\nexit`,
    fault: {
      code: "bad_access",
      slot: 2,
      says: /read of 2 bytes .* 1 bytes beyond the end of the packet/,
    },
  },
  {
    name: "refuses to read at the packet's end",
    type: "xdp",
    program: `${packetEnds}r0 = *(u8 *)(r3 + 0)\nexit`,
    fault: { code: "bad_access", slot: 2, says: /no object/ },
  },
  {
    name: "refuses to read before the packet",
    type: "xdp",
    program: `${packetEnds}r0 = *(u8 *)(r2 - 1)\nexit`,
    fault: { code: "bad_access", slot: 2, says: /no object/ },
  },
  {
    name: "refuses to write behind the packet after a good write to it",
    type: "xdp",
    program: `${packetEnds}*(u8 *)(r2 + 0) = 1\n*(u32 *)(r2 + 61) = 1\nexit`,
    fault: { code: "bad_access", slot: 3, says: /write of 4 bytes/ },
  },
  {
    name: "refuses an atomic operation on an xdp packet, as the kernel does",
    type: "xdp",
    program: `${packetEnds}r4 = 1\nlock *(u32 *)(r2 + 0) += r4\nexit`,
    fault: { code: "bad_access", slot: 3, says: /atomic operation of 4 bytes on the packet/ },
  },
  {
    name: "refuses an access to a socket filter's packet, which it may only load",
    type: "socket",
    program: "r0 = *(u32 *)(r1 + 76)\nexit",
    fault: { code: "bad_access", slot: 0, says: /__sk_buff \+ 76/ },
  },
  {
    name: "refuses a pointer with a high word",
    program: "r2 = 0x100000000 ll\nr1 += r2\nr0 = *(u8 *)(r1 + 0)\nexit",
    fault: { code: "bad_pointer", slot: 3, says: /read of 1 byte through 0x1/ },
  },
  {
    name: "refuses null",
    program: "r1 = 0\nr0 = *(u8 *)(r1 + 4)\nexit",
    fault: { code: "bad_pointer", slot: 1, says: /null \+ 4/ },
  },
  {
    name: "refuses a negative address",
    program: "r1 = 0\nr0 = *(u8 *)(r1 - 4)\nexit",
    fault: { code: "bad_access", slot: 1, says: /0xfffffffc/ },
  },
  {
    name: "refuses an address whose offset would wrap into the arena",
    program: "r1 = -1\nw1 = w1\nr0 = *(u8 *)(r1 + 32767)\nexit",
    fault: { code: "bad_pointer", slot: 2, says: /null/ },
  },
  {
    name: "refuses any read where the data is empty",
    program: "r0 = *(u8 *)(r1 + 0)\nexit",
    data: "",
    fault: { code: "bad_access", slot: 0, says: /no object/ },
  },
];

const contexts: readonly EngineCase[] = [
  {
    name: "gives an xdp program its packet's length by data_end - data",
    type: "xdp",
    program: `${packetEnds}r0 = r3\nr0 -= r2\nexit`,
    r0: 64n,
  },
  {
    name: "gives data_meta equal to data at first",
    type: "xdp",
    program: "r0 = *(u32 *)(r1 + 0)\nr2 = *(u32 *)(r1 + 8)\nr0 -= r2\nexit",
    r0: 0n,
  },
  { name: "gives ingress_ifindex", type: "xdp", program: "r0 = *(u32 *)(r1 + 12)\nexit", r0: 1n },
  { name: "gives rx_queue_index", type: "xdp", program: "r0 = *(u32 *)(r1 + 16)\nexit", r0: 0n },
  ...[
    { what: "two bytes", access: "r0 = *(u16 *)(r1 + 0)" },
    { what: "eight bytes", access: "r0 = *(u64 *)(r1 + 0)" },
    { what: "an unaligned word", access: "r0 = *(u32 *)(r1 + 2)" },
    { what: "a sign-extended pointer", access: "r0 = *(s32 *)(r1 + 0)" },
    { what: "egress_ifindex", access: "r0 = *(u32 *)(r1 + 20)" },
  ].map(
    ({ what, access }): EngineCase => ({
      name: `refuses to read ${what} of xdp_md`,
      type: "xdp",
      program: `${access}\nexit`,
      fault: { code: "bad_access", slot: 0, says: /xdp_md \+ \d+ is not allowed/ },
    }),
  ),
  {
    name: "refuses to write xdp_md",
    type: "xdp",
    program: "*(u32 *)(r1 + 0) = 0\nexit",
    fault: { code: "read_only", slot: 0, says: /write of 4 bytes at xdp_md \+ 0/ },
  },
  {
    name: "gives a socket filter the frame's length",
    type: "socket",
    program: "r0 = *(u32 *)(r1 + 0)\nexit",
    r0: 64n,
  },
  {
    name: "gives a socket filter the protocol in network order",
    type: "socket",
    data: `000000000000 000000000000 86dd ${"00".repeat(40)}`,
    program: "r0 = *(u32 *)(r1 + 16)\nexit",
    r0: 0xdd86n,
  },
  {
    name: "calls a frame with a length field 802.2",
    type: "socket",
    data: `000000000000 000000000000 0026 4242 ${"00".repeat(40)}`,
    program: "r0 = *(u32 *)(r1 + 16)\nexit",
    r0: 0x0400n,
  },
  {
    name: "calls a frame with a length field and no LLC header 802.3",
    type: "socket",
    data: `000000000000 000000000000 0026 ffff ${"00".repeat(40)}`,
    program: "r0 = *(u32 *)(r1 + 16)\nexit",
    r0: 0x0100n,
  },
  {
    name: "marks a broadcast frame",
    type: "socket",
    data: `ffffffffffff ${"00".repeat(58)}`,
    program: "r0 = *(u32 *)(r1 + 4)\nexit",
    r0: 1n,
  },
  {
    name: "marks a multicast frame",
    type: "socket",
    data: `01005e000001 ${"00".repeat(58)}`,
    program: "r0 = *(u32 *)(r1 + 4)\nexit",
    r0: 2n,
  },
  {
    name: "lets a socket filter read part of a field",
    type: "socket",
    program: "r0 = *(u8 *)(r1 + 0)\nexit",
    r0: 64n,
  },
  {
    name: "lets a socket filter keep state in cb",
    type: "socket",
    program:
      "*(u64 *)(r1 + 56) = 7\n*(u8 *)(r1 + 67) = 2\nr0 = *(u64 *)(r1 + 56)\nr2 = *(u32 *)(r1 + 64)\nr0 += r2\nexit",
    r0: 0x0200_0007n,
  },
  {
    name: "clears cb before each run",
    type: "socket",
    program: "r0 = *(u64 *)(r1 + 56)\nexit",
    r0: 0n,
  },
  ...[
    { what: "across the end of cb", access: "r0 = *(u64 *)(r1 + 64)" },
    { what: "eight bytes of len", access: "r0 = *(u64 *)(r1 + 0)" },
    { what: "tstamp", access: "r0 = *(u64 *)(r1 + 152)" },
    { what: "data_meta", access: "r0 = *(u32 *)(r1 + 140)" },
    { what: "family", access: "r0 = *(u32 *)(r1 + 88)" },
    { what: "half of sk", access: "r0 = *(u32 *)(r1 + 168)" },
  ].map(
    ({ what, access }): EngineCase => ({
      name: `refuses a socket filter ${what}`,
      type: "socket",
      program: `${access}\nexit`,
      fault: { code: "bad_access", slot: 0, says: /__sk_buff \+ \d+ is not allowed/ },
    }),
  ),
  {
    name: "refuses a socket filter to write mark",
    type: "socket",
    program: "*(u32 *)(r1 + 8) = 1\nexit",
    fault: { code: "read_only", slot: 0, says: /write of 4 bytes at __sk_buff \+ 8/ },
  },
  {
    name: "refuses an atomic operation on cb",
    type: "socket",
    program: "r2 = 1\nlock *(u32 *)(r1 + 48) += r2\nexit",
    fault: { code: "read_only", slot: 1, says: /atomic operation of 4 bytes at __sk_buff \+ 48/ },
  },
];

const lookupFirst = `
  *(u32 *)(r10 - 4) = 0
  r2 = r10
  r2 += -4
  r1 = map_by_fd(0) ll
  call 1
`;

const mapValues: readonly EngineCase[] = [
  {
    name: "reads and writes a map's value",
    maps: (bench) => [bench.map("array")],
    program: `${lookupFirst}*(u64 *)(r0 + 0) = 5\nr0 = *(u64 *)(r0 + 0)\nexit`,
    r0: 5n,
  },
  {
    name: "refuses an access across the end of a value, though the next value follows",
    maps: (bench) => [bench.map("array")],
    program: `${lookupFirst}r0 = *(u64 *)(r0 + 4)\nexit`,
    fault: {
      code: "bad_access",
      slot: 6,
      says: /4 bytes beyond the end of the value of map array/,
    },
  },
  {
    name: "refuses the padding behind a value whose size is not a multiple of eight",
    maps: (bench) => [bench.map("array", { valueSize: 5 })],
    program: `${lookupFirst}r0 = *(u8 *)(r0 + 5)\nexit`,
    fault: { code: "bad_access", slot: 6, says: /1 bytes beyond the end of the value/ },
  },
  {
    name: "refuses values of a map that the program does not name",
    maps: (bench) => [bench.map("array"), bench.map("array", { name: "other" })],
    program: `${lookupFirst}r0 += 4096\nr0 = *(u8 *)(r0 + 0)\nexit`,
    fault: { code: "bad_access", slot: 7, says: /no object/ },
  },
  {
    name: "refuses a write to a map that is read-only to programs",
    maps: (bench) => [bench.map("array", { name: "rodata", flags: F_RDONLY_PROG })],
    program: `${lookupFirst}r3 = *(u64 *)(r0 + 0)\n*(u64 *)(r0 + 0) = 5\nexit`,
    fault: { code: "read_only", slot: 7, says: /read-only map rodata/ },
  },
  {
    name: "refuses a read from a map that is write-only to programs",
    maps: (bench) => [bench.map("array", { name: "sink", flags: F_WRONLY_PROG })],
    program: `${lookupFirst}*(u64 *)(r0 + 0) = 5\nr0 = *(u64 *)(r0 + 0)\nexit`,
    fault: { code: "bad_access", slot: 7, says: /write-only map sink/ },
  },
  {
    name: "addresses a global variable directly",
    maps: (bench) => [bench.map("array", { valueSize: 16, maxEntries: 1 })],
    program: `r1 = map_val(map_by_fd(0)) + 8 ll
      *(u64 *)(r1 + 0) = 77
      r2 = map_val(map_by_idx(0)) + 0 ll
      r0 = *(u64 *)(r2 + 8)
      exit`,
    r0: 77n,
  },
  {
    name: "refuses an access through a map's own address",
    maps: (bench) => [bench.map("array")],
    program: "r1 = map_by_idx(0) ll\nr0 = *(u32 *)(r1 + 0)\nexit",
    fault: { code: "bad_access", slot: 2, says: /no object/ },
  },
];

export const memoryCases: readonly EngineCase[] = [
  ...loads,
  ...stores,
  ...stack,
  ...packets,
  ...contexts,
  ...mapValues,
];
