import { lookup, out, type RuleCase } from "./rule-case.ts";

/** bpf_strtol of 8 bytes at -16, but for where it shall write. */
const digits =
  "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 16) = 0\nr1 = r10\nr1 += -16\nr2 = 8\nr3 = 0\nr4 = r10";

/** A map and a key of it. */
const key = "*(u64 *)(r10 - 8) = 0\nr1 = map_by_fd(1) ll\nr2 = r10\nr2 += -8";
const tailCall = "r1 = r7\nr2 = map_by_fd(5) ll\nr3 = 0\ncall 12";

export const helperRules: readonly RuleCase[] = [
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
    rule: "what is reserved is given back",
    accepted:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\nr1 = r0\nr2 = 0\ncall 132\nl: r0 = 0\nexit",
    refused:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\n*(u64 *)(r0 + 8) = 1\nl: r0 = 0\nexit",
    code: "REFERENCE_LEAK",
    says: /the call at instruction 4 reserved is not given back/,
  },
  {
    rule: "what was given back is not used",
    accepted:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\n*(u64 *)(r0 + 8) = 1\nr1 = r0\nr2 = 0\ncall 133\nl: r0 = 0\nexit",
    refused:
      "r1 = map_by_fd(3) ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto l\nr6 = r0\nr1 = r0\nr2 = 0\ncall 133\n*(u64 *)(r6 + 8) = 1\nl: r0 = 0\nexit",
    code: "NOT_A_POINTER",
    says: /r6 .*pointed to a record that bpf_ringbuf_discard took at instruction 9/,
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
    rule: "helpers belong to program types",
    accepted: "r2 = 0\ncall 44\nr0 = 1\nexit",
    refused: "r2 = 0\nr3 = r10\nr3 += -8\nr4 = 8\ncall 26\nr0 = 1\nexit",
    code: "PROGRAM_HELPER_NOT_ALLOWED",
    says: /bpf_skb_load_bytes \(helper 26\), which programs of type xdp may not call/,
  },
  {
    rule: "a number that a helper writes is aligned",
    accepted: `${digits}\nr4 += -8\ncall 105\nr0 = 0\nexit`,
    refused: `${digits}\nr4 += -12\ncall 105\nr0 = 0\nexit`,
    code: "MISALIGNED",
    says: /8 bytes at stack offset -12 are not aligned to 8/,
  },
  {
    rule: "a format has an argument for each conversion",
    accepted: formatted(0, 16),
    refused: formatted(0, 8),
    code: "HELPER_ARGUMENT",
    says: /the format asks for 2 arguments or more, and 1 are given/,
  },
  {
    rule: "a format has only conversions that helpers know",
    accepted: formatted(0, 16),
    refused: formatted(8, 16),
    code: "HELPER_ARGUMENT",
    says: /conversion 2, "%q", is none that helpers know/,
  },
  {
    rule: "arguments of a format are 64-bit words",
    accepted: formatted(0, 16),
    refused: formatted(0, 12),
    code: "HELPER_ARGUMENT",
    says: /take 12 bytes \(r5\), and each is a 64-bit word/,
  },
  {
    rule: "a format is a constant that ends in a zero byte",
    accepted: formatted(0, 16),
    refused: formatted(14, 16),
    code: "HELPER_ARGUMENT",
    says: /takes in r3 a string constant that ends in a zero byte/,
  },
  {
    rule: "a string constant lies where user space cannot write either",
    accepted: compared(7),
    refused: compared(8),
    code: "HELPER_ARGUMENT",
    says: /bpf_strncmp takes in r3 a string constant, in a map that nobody writes/,
  },
  {
    rule: "a helper's memory is no null pointer",
    accepted: `${key}\ncall 1\nr0 = 0\nexit`,
    refused: `${key}\nr2 = 0\ncall 1\nr0 = 0\nexit`,
    code: "HELPER_ARGUMENT",
    says: /takes in r2 the address of a key \(8 bytes\), and r2 is 0 \(NULL\); pass the address of a variable/,
  },
  {
    rule: "a helper's memory is no number",
    accepted: `${key}\ncall 1\nr0 = 0\nexit`,
    refused: `r6 = *(u32 *)(r1 + 12)\n${key}\nr2 = r6\ncall 1\nr0 = 0\nexit`,
    code: "HELPER_ARGUMENT",
    says: /and r2 holds a number; put it into a variable, and pass its address/,
  },
  {
    rule: "the context is no memory to helpers",
    accepted: `${key}\ncall 1\nr0 = 0\nexit`,
    refused: `r6 = r1\n${key}\nr2 = r6\ncall 1\nr0 = 0\nexit`,
    code: "HELPER_ARGUMENT",
    says: /and the context is none; copy what is needed/,
  },
  {
    rule: "a helper that takes null takes what may be null where its size is 0",
    accepted: checksumOf(0),
    refused: checksumOf(4),
    code: "HELPER_ARGUMENT",
    says: /bpf_csum_diff takes in r1 memory, and r1 may be null; compare r1 with 0/,
    notInKernel: "it lets the helper read there",
  },
  {
    rule: "a reserved record has a constant size",
    accepted: record("", "16", "r1 = r0\nr2 = 0\ncall 133"),
    refused: record("r6 = *(u32 *)(r1 + 12)", "r6", "r1 = r0\nr2 = 0\ncall 133"),
    code: "HELPER_ARGUMENT",
    says: /takes in r2 a number known at verification; reserve a constant size/,
  },
  {
    rule: "a record is given back once",
    accepted: record("", "16", "r6 = r0\nr1 = r0\nr2 = 0\ncall 132"),
    refused: record("", "16", "r6 = r0\nr1 = r0\nr2 = 0\ncall 132\nr1 = r6\nr2 = 0\ncall 133"),
    code: "HELPER_ARGUMENT",
    says: /a reserved record, and r1 pointed to a record that bpf_ringbuf_submit took at instruction 9/,
  },
  {
    rule: "a record is given back whole",
    accepted: record("", "16", "r1 = r0\nr2 = 0\ncall 132"),
    refused: record("", "16", "r0 += 8\nr1 = r0\nr2 = 0\ncall 132"),
    code: "HELPER_ARGUMENT",
    says: /pass the pointer that bpf_ringbuf_reserve returned, with nothing added/,
  },
  {
    rule: "nothing is held over a tail call",
    accepted: record("r7 = r1", "16", `r1 = r0\nr2 = 0\ncall 132\n${tailCall}`),
    refused: record("r7 = r1", "16", `r6 = r0\n${tailCall}\nr1 = r6\nr2 = 0\ncall 132`),
    code: "REFERENCE_LEAK",
    says: /a tail call may end the program, and what the call at instruction 5 reserved is not given back/,
  },
  {
    rule: "helpers are called by a number that is one",
    accepted: "call 5\nr0 = 0\nexit",
    refused: "call 0\nr0 = 0\nexit",
    code: "PROGRAM_HELPER_UNKNOWN",
    says: /a function that is declared and not defined/,
  },
];

/** bpf_snprintf of the format at this offset, with so many bytes of arguments. */
function formatted(offset: number, bytes: number): string {
  return `*(u64 *)(r10 - 8) = 1
    *(u64 *)(r10 - 16) = 2
    r1 = r10
    r1 += -32
    r2 = 16
    r3 = map_val(map_by_fd(7)) + ${offset} ll
    r4 = r10
    r4 += -16
    r5 = ${bytes}
    call 165
    r0 = 0
    exit`;
}

/** bpf_ringbuf_reserve of so many bytes, and what is done with them. */
function record(before: string, size: string, body: string): string {
  return `${before}\nr1 = map_by_fd(3) ll\nr2 = ${size}\nr3 = 0\ncall 131\nif r0 == 0 goto o\n${body}\no: r0 = 0\nexit`;
}

/** The checksum of so many bytes of a map's value, which may not be there. */
function checksumOf(bytes: number): string {
  return `${lookup(1)}\nr1 = r0\nr2 = ${bytes}\nr3 = 0\nr4 = 0\nr5 = 0\ncall 28\nr0 = 0\nexit`;
}

/** Compares two bytes of stack with the text in this map. */
function compared(map: number): string {
  return `*(u64 *)(r10 - 8) = 0
    r1 = r10
    r1 += -8
    r2 = 2
    r3 = map_val(map_by_fd(${map})) ll
    call 182
    exit`;
}
