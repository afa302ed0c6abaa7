import type { EngineCase } from "./case-table.ts";

const calls: readonly EngineCase[] = [
  {
    name: "jumps forward, backward and far",
    program: `r0 = 0
      r1 = 5
      gotol far
    back:
      r0 += 10
      r1 += -1
      if r1 != 0 goto back
      exit
    far:
      goto back`,
    r0: 50n,
  },
  {
    name: "calls a function with r1 to r5 and takes r0 back",
    program: `r1 = 1
      r2 = 2
      r3 = 3
      r4 = 4
      r5 = 5
      call sum
      exit
    sum:
      r0 = r1
      r0 += r2
      r0 += r3
      r0 += r4
      r0 += r5
      exit`,
    r0: 15n,
  },
  {
    name: "gives r6 to r9 and r10 back after a call",
    program: `r6 = 6
      r7 = 7
      r8 = 8
      r9 = -9
      *(u64 *)(r10 - 8) = 100
      call clobber
      r0 = r6
      r0 += r7
      r0 += r8
      r0 += r9
      r1 = *(u64 *)(r10 - 8)
      r0 += r1
      exit
    clobber:
      r6 = 0
      r7 = 0
      r8 = 0
      r9 = 0
      *(u64 *)(r10 - 8) = 0
      exit`,
    r0: 112n,
  },
  {
    name: "lets a function write its caller's stack through a pointer",
    program: `r1 = r10
      r1 += -16
      call fill
      r0 = *(u64 *)(r10 - 16)
      exit
    fill:
      *(u64 *)(r1 + 0) = 42
      exit`,
    r0: 42n,
  },
  {
    name: "gives each call a zeroed stack frame",
    program: `call dirty
      call dirty
      exit
    dirty:
      r0 = *(u64 *)(r10 - 8)
      *(u64 *)(r10 - 8) = 7
      exit`,
    r0: 0n,
  },
  {
    name: "refuses a function's stack once it has returned",
    program: `call leak
      r0 = *(u64 *)(r0 - 8)
      exit
    leak:
      *(u64 *)(r10 - 8) = 7
      r0 = r10
      exit`,
    fault: { code: "bad_access", slot: 1, says: /no object/ },
  },
  {
    name: "refuses an access across two stack frames",
    program: `call inner
      exit
    inner:
      r0 = *(u64 *)(r10 - 4)
      exit`,
    fault: { code: "bad_access", slot: 2, says: /4 bytes beyond the end of the stack frame 1/ },
  },
  {
    name: "nests eight functions",
    program: `r1 = 7
      call down
      exit
    down:
      r0 = 99
      if r1 == 1 goto bottom
      r1 += -1
      call down
    bottom:
      exit`,
    r0: 99n,
  },
  {
    name: "refuses a ninth",
    program: `r1 = 8
      call down
      exit
    down:
      r0 = 99
      if r1 == 1 goto bottom
      r1 += -1
      call down
    bottom:
      exit`,
    fault: { code: "call_depth", slot: 6, says: /more than 8 nested functions/ },
  },
  {
    name: "loads the address of a function without faulting",
    program: `r1 = code_addr(other) ll
      r0 = 3
      exit
    other:
      r0 = 4
      exit`,
    r0: 3n,
  },
  {
    name: "ends a program that loops for ever",
    program: "loop:\nr0 = 1\ngoto loop",
    fault: { code: "budget_exceeded", slot: 0, says: /no exit within 10000000 instructions/ },
  },
  {
    name: "calls the helper whose number is in a register",
    program: "r1 = 0\nr6 = 8\ncallx r6\nexit",
    r0: 0n,
  },
  {
    name: "refuses a number in a register that is no helper",
    program: "r6 = 9999\ncallx r6\nexit",
    fault: { code: "bad_argument", slot: 1, says: /9999 is no helper/ },
  },
];

const atomicOn = (size: 32 | 64, operation: string, rest = ""): string => `
  r0 = 0x1111222233334444 ll
  *(u64 *)(r10 - 8) = r0
  r1 = 0xf0f0f0f0f0f0f0f0 ll
  ${operation.replaceAll("[]", `*(u${size} *)(r10 - 8)`)}
  ${rest || "r0 = *(u64 *)(r10 - 8)"}
  exit`;

const value = 0x1111_2222_3333_4444n;
const operand = 0xf0f0_f0f0_f0f0_f0f0n;
const upper = 0x1111_2222_0000_0000n;
const low = 0xffff_ffffn;

const atomics: readonly EngineCase[] = [
  ...(
    [
      ["add", "+=", value + operand, (value & low) + (operand & low)],
      ["or", "|=", value | operand, (value | operand) & low],
      ["and", "&=", value & operand, value & operand & low],
      ["xor", "^=", value ^ operand, (value ^ operand) & low],
    ] as const
  ).flatMap(([name, sign, after64, after32]): EngineCase[] => [
    {
      name: `does an atomic 64-bit ${name}`,
      program: atomicOn(64, `lock [] ${sign} r1`),
      r0: BigInt.asUintN(64, after64),
    },
    {
      name: `does an atomic 32-bit ${name} and leaves the other half`,
      program: atomicOn(32, `lock [] ${sign} w1`),
      r0: upper | (after32 & low),
    },
    {
      name: `fetches the old value of an atomic 64-bit ${name}`,
      program: atomicOn(64, `lock fetch ${name} [r10 - 8], r1`, "r0 = r1"),
      r0: value,
    },
    {
      name: `fetches the old value of an atomic 32-bit ${name}, zero-extended`,
      program: atomicOn(32, `lock fetch ${name}32 [r10 - 8], r1`, "r0 = r1"),
      r0: value & low,
    },
    {
      name: `stores the result of a fetching atomic 64-bit ${name}`,
      program: atomicOn(64, `lock fetch ${name} [r10 - 8], r1`),
      r0: BigInt.asUintN(64, after64),
    },
    {
      name: `stores the result of a fetching atomic 32-bit ${name}`,
      program: atomicOn(32, `lock fetch ${name}32 [r10 - 8], r1`),
      r0: upper | (after32 & low),
    },
  ]),
  {
    name: "exchanges 64 bits: the new value",
    program: atomicOn(64, "lock xchg [r10 - 8], r1"),
    r0: operand,
  },
  {
    name: "exchanges 64 bits: the old value",
    program: atomicOn(64, "lock xchg [r10 - 8], r1", "r0 = r1"),
    r0: value,
  },
  {
    name: "exchanges 32 bits: the new value",
    program: atomicOn(32, "lock xchg32 [r10 - 8], r1"),
    r0: upper | (operand & low),
  },
  {
    name: "exchanges 32 bits: the old value, zero-extended",
    program: atomicOn(32, "lock xchg32 [r10 - 8], r1", "r0 = r1"),
    r0: value & low,
  },
  {
    name: "compares 64 bits and exchanges where they are equal",
    program: atomicOn(64, "lock cmpxchg [r10 - 8], r1"),
    r0: operand,
  },
  {
    name: "compares 64 bits and leaves them where they differ",
    program: atomicOn(64, "r0 += 1\nlock cmpxchg [r10 - 8], r1"),
    r0: value,
  },
  {
    name: "gives the old 64 bits in r0 whether it exchanged or not",
    program: atomicOn(64, "r0 = 0\nlock cmpxchg [r10 - 8], r1", "r0 += 0"),
    r0: value,
  },
  {
    name: "compares the low 32 bits of r0 alone, and exchanges",
    program: atomicOn(32, "r0 = 0x3333444433334444 ll\nlock cmpxchg32 [r10 - 8], r1"),
    r0: upper | (operand & low),
  },
  {
    name: "gives the old 32 bits in r0, zero-extended",
    program: atomicOn(32, "r0 = -1\nlock cmpxchg32 [r10 - 8], r1", "r0 += 0"),
    r0: value & low,
  },
  {
    name: "refuses an atomic operation on an unaligned 64-bit word",
    program: "r1 = 1\nlock *(u64 *)(r10 - 12) += r1\nexit",
    fault: { code: "misaligned_atomic", slot: 1, says: /atomic operation of 8 bytes/ },
  },
  {
    name: "refuses an atomic operation on an unaligned 32-bit word",
    program: "r1 = 1\nlock *(u32 *)(r10 - 6) += w1\nexit",
    fault: { code: "misaligned_atomic", slot: 1, says: /atomic operation of 4 bytes/ },
  },
  {
    name: "refuses an atomic operation outside every object",
    program: "r1 = 1\nlock *(u64 *)(r10 + 0) += r1\nexit",
    fault: { code: "bad_access", slot: 1, says: /atomic operation of 8 bytes/ },
  },
];

/** Frame bytes are 0, 1, 2, …; the network header follows 14 bytes of Ethernet. */
const packetLoads: readonly EngineCase[] = [
  { load: "r0 = *(u8 *)skb[63]", r0: 63n },
  { load: "r0 = *(u16 *)skb[62]", r0: 0x3e3fn },
  { load: "r0 = *(u32 *)skb[12]", r0: 0x0c0d_0e0fn },
  { load: "r2 = 10\nr0 = *(u8 *)skb[r2 + 5]", r0: 15n },
  { load: "r2 = 10\nr0 = *(u16 *)skb[r2 - 10]", r0: 0x0001n },
  { load: "r2 = 60\nr0 = *(u32 *)skb[r2 + 0]", r0: 0x3c3d_3e3fn },
  { load: "r0 = *(u8 *)skb[-1048576]", r0: 14n, what: "the network header at SKF_NET_OFF" },
  { load: "r0 = *(u16 *)skb[-1048567]", r0: 0x1718n, what: "behind SKF_NET_OFF" },
  { load: "r0 = *(u8 *)skb[-2097152]", r0: 0n, what: "the link layer at SKF_LL_OFF" },
  { load: "r0 = *(u8 *)skb[-2097140]", r0: 12n, what: "behind SKF_LL_OFF" },
].map(
  ({ load, r0, what }): EngineCase => ({
    name: `loads ${what ?? load.split("\n").at(-1)} in network order`,
    type: "socket",
    program: `r6 = r1\n${load}\nexit`,
    r0,
  }),
);

const packetLoadEnds: readonly EngineCase[] = [
  { load: "r0 = *(u8 *)skb[64]", what: "one byte behind the packet" },
  { load: "r0 = *(u32 *)skb[61]", what: "across the packet's end" },
  { load: "r0 = *(u8 *)skb[-1]", what: "at -1" },
  { load: "r0 = *(u8 *)skb[-4096]", what: "at SKF_AD_OFF" },
  { load: "r0 = *(u8 *)skb[-2097153]", what: "before SKF_LL_OFF" },
  { load: "r2 = -20\nr0 = *(u8 *)skb[r2 + 5]", what: "by a negative index" },
].map(
  ({ load, what }): EngineCase => ({
    name: `ends the program with 0 at a packet load ${what}`,
    type: "socket",
    program: `r6 = r1\nr0 = 5\n${load}\nr0 = 7\nexit`,
    r0: 0n,
  }),
);

const packetLoadCalls: readonly EngineCase[] = [
  {
    name: "refuses a packet load whose r6 is not the context",
    type: "socket",
    program: "r6 = 0\nr0 = *(u8 *)skb[0]\nexit",
    fault: { code: "bad_pointer", slot: 1, says: /r6/ },
  },
  {
    name: "returns 0 from the function whose packet load fails",
    type: "socket",
    program: `call inner
      r0 += 3
      exit
    inner:
      r6 = r1
      r0 = *(u8 *)skb[64]
      r0 = 100
      exit`,
    r0: 3n,
  },
];

export const controlCases: readonly EngineCase[] = [
  ...calls,
  ...atomics,
  ...packetLoads,
  ...packetLoadEnds,
  ...packetLoadCalls,
];
