import { lookup, out, type RuleCase } from "./rule-case.ts";

export const stackRules: readonly RuleCase[] = [
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
    rule: "an index into the stack is bounded by what lies behind it",
    accepted: indexedStack(56),
    refused: indexedStack(120),
    code: "STACK_BOUNDS",
    says: /8 bytes at stack offset -64 to 56 are outside of the frame.*; bound what was added to r1: compare it with 56, or mask it with &=/,
  },
  {
    rule: "zero that is stored somewhere among zeros leaves zeros",
    accepted:
      "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 16) = 0\ncall 7\nr0 &= 15\nr1 = r10\nr1 += -16\nr1 += r0\nr2 = 0\n*(u8 *)(r1 + 0) = r2\nr9 = *(u8 *)(r10 - 8)\nr1 = r10\nr1 += -8\nr1 += r9\n*(u8 *)(r1 + 7) = 1\nr0 = 0\nexit",
    refused:
      "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 16) = 0\ncall 7\nr0 &= 15\nr1 = r10\nr1 += -16\nr1 += r0\nr2 = 1\n*(u8 *)(r1 + 0) = r2\nr9 = *(u8 *)(r10 - 8)\nr1 = r10\nr1 += -8\nr1 += r9\n*(u8 *)(r1 + 7) = 1\nr0 = 0\nexit",
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "a fetching atomic operation gives the number that lay on the stack",
    accepted: fetched("*(u64 *)(r10 - 8) = 3", "r6 = atomic_fetch_add((u64 *)(r10 - 8), r6)"),
    refused: fetched("*(u64 *)(r10 - 8) = 4", "r6 = atomic_fetch_add((u64 *)(r10 - 8), r6)"),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
  },
  {
    rule: "a fetching atomic operation gives the low half of a number on the stack",
    accepted: fetched(
      "r1 = 3\n*(u64 *)(r10 - 8) = r1",
      "w6 = atomic_fetch_or((u32 *)(r10 - 8), w6)",
    ),
    refused: fetched(
      "r1 = 3\n*(u64 *)(r10 - 8) = r1",
      "w6 = atomic_fetch_or((u32 *)(r10 - 4), w6)",
    ),
    code: "STACK_BOUNDS",
    says: /unknown distance/,
  },
  {
    rule: "what an atomic operation has changed is not known",
    accepted: fetched("*(u64 *)(r10 - 8) = 3", "r6 = *(u64 *)(r10 - 8)"),
    refused: fetched(
      "*(u64 *)(r10 - 8) = 3",
      "lock *(u64 *)(r10 - 8) += r6\nr6 = *(u64 *)(r10 - 8)\nr6 &= 7",
    ),
    code: "STACK_BOUNDS",
    says: /outside of the frame/,
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
    rule: "a pointer is stored whole",
    accepted: "*(u64 *)(r10 - 8) = r1\nr0 = 0\nexit",
    refused: "*(u32 *)(r10 - 8) = r1\nr0 = 0\nexit",
    code: "STACK_POINTER_SPILL",
    says: /only 4 bytes of a pointer would be stored/,
  },
  {
    rule: "nothing is subtracted from the frame pointer",
    accepted: "r2 = r10\nr2 += -8\n*(u64 *)(r2 + 0) = 0\nr0 = 0\nexit",
    refused: "r2 = r10\nr2 -= 8\n*(u64 *)(r2 + 0) = 0\nr0 = 0\nexit",
    code: "POINTER_ARITHMETIC",
    says: /add a negative number instead/,
    notInKernel: "it lets a privileged loader do so",
  },
  {
    rule: "even no bytes lie at the frame pointer itself",
    accepted: noBytes(-8),
    refused: noBytes(0),
    code: "STACK_BOUNDS",
    says: /0 bytes at stack offset 0 are outside of the frame/,
  },
];

/** bpf_csum_diff of nothing at a place of the stack. */
function noBytes(offset: number): string {
  return `r1 = r10\nr1 += ${offset}\nr2 = 0\nr3 = 0\nr4 = 0\nr5 = 0\ncall 28\nr0 = 0\nexit`;
}

/** Uses what `fetch` leaves in r6 as an index at which 4 bytes are left. */
function fetched(store: string, fetch: string): string {
  return `${store}\nr6 = 0\n${fetch}\nr1 = r10\nr1 += -4\nr1 += r6\n*(u8 *)(r1 + 0) = 1\nr0 = 0\nexit`;
}

/** Writes one of the words of an array on the stack, at an index of the bits in `mask`. */
function indexedStack(mask: number): string {
  return `r6 = *(u32 *)(r1 + 12)
    r6 &= ${mask}
    r1 = r10
    r1 += -64
    r1 += r6
    *(u64 *)(r1 + 0) = 1
    r0 = 0
    exit`;
}
