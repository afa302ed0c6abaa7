import { type Executable, framesBytes } from "../../src/engine/engine.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import { assembled, type EngineBench, spec, unwrap } from "./engine-bench.ts";
import { prove } from "./engine-pair.ts";
import { linkUnverified } from "./unverified.ts";

/** A program that the verifier accepts and that would run for seconds, hours or years. */
export interface LongRun {
  readonly name: string;
  readonly type?: ProgramType;
  readonly text: string;
  readonly maps?: (bench: EngineBench) => MapHandle[];
  /** What it may tail-call, in order: as many copies of the program itself. */
  readonly chain?: number;
}

/**
 * 2²³ times 2²³ turns of what finds in r9 the address of three words: one to keep a number in, the
 * program's context, and how many turns have been begun.
 */
const goRound = (body: string): string => `
  *(u64 *)(r10 - 8) = 0
  *(u64 *)(r10 - 16) = r1
  *(u64 *)(r10 - 24) = 1
  r1 = ${2 ** 23}
  r2 = code_addr(outer) ll
  r3 = r10
  r3 += -24
  r4 = 0
  call 181
  r0 = 2
  exit
  outer:
  r3 = r2
  r1 = ${2 ** 23}
  r2 = code_addr(body) ll
  r4 = 0
  call 181
  r0 = 0
  exit
  body:
  r9 = r2
  r3 = *(u64 *)(r9 + 16)
  r3 += 1
  *(u64 *)(r9 + 16) = r3
  ${body}
  r0 = 0
  exit`;

const times = (count: number, text: string): string =>
  Array.from({ length: count }, () => text).join("\n");

/** A walk in strides that no cache foresees: r8 from what r8 was. Constants: Knuth's MMIX. */
const nextRandom = `r8 = *(u64 *)(r9 + 0)
  r3 = 6364136223846793005 ll
  r8 *= r3
  r3 = 1442695040888963407 ll
  r8 += r3
  *(u64 *)(r9 + 0) = r8
  r8 >>= 29`;

/** Arithmetic on r7 by r8 whose result is wanted. */
const used = (text: string): string =>
  `r7 = *(u64 *)(r9 + 0)\nr7 |= -7\nr8 = 3\n${text}\n*(u64 *)(r9 + 0) = r7`;

const large = (bench: EngineBench): MapHandle[] => [
  bench.map("array", { maxEntries: 1, valueSize: 1 << 28 }),
];
const inLarge = `r8 &= 0x0ffffff8
  r7 = map_val(map_by_fd(0)) + 0 ll
  r7 += r8`;

/** A map of constants that holds this text. */
const constant =
  (text: string) =>
  (bench: EngineBench): MapHandle[] => {
    const bytes = Uint8Array.from([...text, "\0"], (char) => char.charCodeAt(0));
    const spec = {
      name: ".rodata",
      valueSize: bytes.length,
      maxEntries: 1,
      flags: 0x80,
      readOnly: true,
    };
    const map = bench.map("array", spec);
    bench.access(map).update(new Uint8Array(4), bytes);
    return [Object.assign(map, { frozenValue: bytes })];
  };

/** A callback of walks over maps. */
const entry = "\nentry:\nr0 = 0\nexit";

/** A key of the map at r10 - 8 by the low word of r8, and the map in r1. */
const key = `*(u32 *)(r10 - 8) = r8
  r2 = r10
  r2 += -8
  r1 = map_by_fd(0) ll`;

const zeroed = (bytes: number): string =>
  Array.from({ length: bytes / 8 }, (_, i) => `*(u64 *)(r10 - ${8 * i + 8}) = 0`).join("\n");

export const longRuns: readonly LongRun[] = [
  { name: "loops of nothing", text: goRound("") },
  {
    name: "inner loop of 200 turns",
    text: goRound(
      "r8 = *(u64 *)(r9 + 0)\nr7 = 0\nagain: r7 += 1\nr8 ^= r7\nif r7 < 200 goto again\n*(u64 *)(r9 + 0) = r8",
    ),
  },
  { name: "divisions", text: goRound(used(times(64, "r7 /= r8"))) },
  { name: "signed remainders", text: goRound(used(times(64, "r7 s%= r8\nr7 += r8"))) },
  { name: "multiplications", text: goRound(used(times(64, "r7 *= r8"))) },
  {
    name: "atomic additions",
    maps: (bench) => [bench.map("array", { maxEntries: 1 })],
    text: goRound(
      `r7 = map_val(map_by_fd(0)) + 0 ll\nr8 = 1\n${times(64, "lock *(u64 *)(r7 + 0) += r8")}`,
    ),
  },
  {
    name: "atomic exchanges",
    maps: (bench) => [bench.map("array", { maxEntries: 1 })],
    text: goRound(
      `r7 = map_val(map_by_fd(0)) + 0 ll\nr8 = 1\n${times(64, "r8 = xchg_64(r7 + 0, r8)")}`,
    ),
  },
  {
    name: "stores all over a quarter of a gigabyte",
    maps: large,
    text: goRound(`${nextRandom}\n${inLarge}\n*(u64 *)(r7 + 0) = r8`),
  },
  {
    name: "loads all over a quarter of a gigabyte, each by the last",
    maps: large,
    text: goRound(
      `r8 = *(u64 *)(r9 + 0)\n${times(16, `r3 = 1664525\nr8 *= r3\nr8 += 1013904223\n${inLarge}\nr5 = *(u64 *)(r7 + 0)\nr8 += r5`)}\n*(u64 *)(r9 + 0) = r8`,
    ),
  },
  {
    name: "lookups in a hash of a million entries",
    maps: (bench) => [bench.map("hash", { maxEntries: 1 << 20 })],
    text: goRound(
      `${nextRandom}\nr8 &= 0xfffff\n${key}\n*(u64 *)(r10 - 16) = 0\nr3 = r10\nr3 += -16\nr4 = 0\nif r8 & 1 goto look\ncall 2\ngoto done\nlook: call 1\ndone:`,
    ),
  },
  {
    name: "updates of an LRU map of a million entries",
    maps: (bench) => [bench.map("lru_hash", { maxEntries: 1 << 20 })],
    text: goRound(
      `${nextRandom}\n${key}\n*(u64 *)(r10 - 16) = 0\nr3 = r10\nr3 += -16\nr4 = 0\ncall 2`,
    ),
  },
  {
    name: "updates of a hash of large values",
    maps: (bench) => [
      bench.map("hash", { maxEntries: 64, valueSize: 1 << 20 }),
      bench.map("array", { maxEntries: 1, valueSize: 1 << 20 }),
    ],
    text: goRound(
      `${nextRandom}\nr8 &= 31\n${key}\nr3 = map_val(map_by_fd(1)) + 0 ll\nr4 = 0\ncall 2`,
    ),
  },
  {
    name: "updates of a large array entry",
    maps: (bench) => [
      bench.map("array", { maxEntries: 1, valueSize: 1 << 26 }),
      bench.map("array", { maxEntries: 1, valueSize: 1 << 26 }),
    ],
    text: goRound(`r8 = 0\n${key}\nr3 = map_val(map_by_fd(1)) + 0 ll\nr4 = 0\ncall 2`),
  },
  {
    name: "lookups in an array",
    maps: (bench) => [bench.map("array", { maxEntries: 1 << 20 })],
    text: goRound(`${nextRandom}\nr8 &= 0xfffff\n${key}\ncall 1`),
  },
  {
    name: "lookups and updates in a trie of IPv4 prefixes",
    maps: (bench) => [bench.map("lpm_trie", { keySize: 8, maxEntries: 1 << 18, flags: 1 })],
    text: goRound(
      `${nextRandom}\n*(u32 *)(r10 - 4) = r8\nr8 >>= 32\nr7 = r8\nr8 &= 31\n${key}\n*(u64 *)(r10 - 16) = 0\nr3 = r10\nr3 += -16\nr4 = 0\nif r7 & 64 goto look\ncall 2\ngoto done\nlook: *(u32 *)(r10 - 8) = 32\ncall 1\ndone:`,
    ),
  },
  {
    name: "lookups down a trie of 1,600 nested prefixes",
    maps: (bench) => [bench.map("lpm_trie", { keySize: 204, maxEntries: 1600, flags: 1 })],
    text: goRound(
      `${zeroed(208)}\nr8 = *(u64 *)(r9 + 0)\nr8 += 1\n*(u64 *)(r9 + 0) = r8\nif r8 > 1599 goto look\n*(u32 *)(r10 - 208) = r8\nr2 = r10\nr2 += -208\nr1 = map_by_fd(0) ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall 2\nr0 = 0\nexit\nlook: *(u32 *)(r10 - 208) = 1600\n${times(16, "r2 = r10\nr2 += -208\nr1 = map_by_fd(0) ll\ncall 1")}`,
    ),
  },
  {
    name: "walks over an empty hash of 4 million buckets",
    maps: (bench) => [bench.map("hash", { maxEntries: 1 << 22 })],
    text:
      goRound(
        "r1 = map_by_fd(0) ll\nr2 = code_addr(entry) ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall 164",
      ) + entry,
  },
  {
    name: "walks over an array of a million entries",
    maps: (bench) => [bench.map("array", { maxEntries: 1 << 20 })],
    text:
      goRound(
        "r1 = map_by_fd(0) ll\nr2 = code_addr(entry) ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall 164",
      ) + entry,
  },
  {
    name: "bytes of the packet",
    text: goRound("r1 = *(u64 *)(r9 + 8)\nr2 = 0\nr3 = r10\nr3 += -400\nr4 = 400\ncall 189"),
  },
  {
    name: "bytes of the packet, one at a time",
    text: goRound(
      `r8 = *(u64 *)(r9 + 8)\n${times(8, "r1 = r8\nr2 = 0\nr3 = r10\nr3 += -8\nr4 = 1\ncall 189")}`,
    ),
  },
  {
    name: "a packet that grows and shrinks at its end",
    text: goRound(
      "r7 = *(u64 *)(r9 + 8)\nr1 = r7\nr2 = 1500\ncall 65\nr1 = r7\nr2 = -1500\ncall 65",
    ),
  },
  {
    name: "a packet that grows and shrinks at its head",
    type: "tc",
    text: goRound(
      "r7 = *(u64 *)(r9 + 8)\nr1 = r7\nr2 = 100\nr3 = 0\ncall 43\nr1 = r7\nr2 = 14000\nr3 = 0\ncall 38",
    ),
  },
  {
    name: "room in a packet",
    type: "tc",
    text: goRound(
      "r7 = *(u64 *)(r9 + 8)\nr1 = r7\nr2 = 100\nr3 = 0\nr4 = 0\nr5 = 0\ncall 50\nr1 = r7\nr2 = -100\nr3 = 0\nr4 = 0\nr5 = 0\ncall 50",
    ),
  },
  {
    name: "VLAN tags",
    type: "tc",
    text: goRound(
      "r7 = *(u64 *)(r9 + 8)\nr1 = r7\nr2 = 8\nr3 = 5\ncall 18\nr1 = r7\nr2 = 8\nr3 = 5\ncall 18\nr1 = r7\ncall 19\nr1 = r7\ncall 19",
    ),
  },
  {
    name: "hashes of the packet",
    type: "tc",
    text: goRound(`r7 = *(u64 *)(r9 + 8)\n${times(8, "r1 = r7\ncall 41\nr1 = r7\ncall 34")}`),
  },
  {
    name: "checksums replaced",
    type: "tc",
    text: goRound(
      `r7 = *(u64 *)(r9 + 8)\n${times(8, "r1 = r7\nr2 = 40\nr3 = 1\nr4 = 2\nr5 = 0x12\ncall 11")}`,
    ),
  },
  {
    name: "tunnel keys",
    type: "tc",
    text: goRound(
      `${zeroed(48)}\nr7 = *(u64 *)(r9 + 8)\n${times(4, "r1 = r7\nr2 = r10\nr2 += -48\nr3 = 44\nr4 = 0\ncall 21")}`,
    ),
  },
  {
    name: "copies of the packet",
    type: "tc",
    text: goRound("r1 = *(u64 *)(r9 + 8)\nr2 = 1\nr3 = 0\ncall 13"),
  },
  {
    name: "routes looked up",
    text: goRound(
      `${zeroed(64)}\n*(u8 *)(r10 - 64) = 2\n*(u32 *)(r10 - 56) = 1\nr7 = *(u64 *)(r9 + 8)\n${times(4, "r1 = r7\nr2 = r10\nr2 += -64\nr3 = 64\nr4 = 0\ncall 69")}`,
    ),
  },
  {
    name: "redirects by a map",
    maps: (bench) => [bench.map("devmap_hash", { maxEntries: 1 << 16, valueSize: 4 })],
    text: goRound(times(8, "r1 = map_by_fd(0) ll\nr2 = 5\nr3 = 0\ncall 51")),
  },
  {
    name: "events with the whole packet",
    maps: (bench) => [bench.map("perf_event_array", { maxEntries: 2, valueSize: 4 })],
    text: goRound(
      "*(u64 *)(r10 - 8) = 0\nr1 = *(u64 *)(r9 + 8)\nr2 = map_by_fd(0) ll\nr3 = 0x578ffffffff ll\nr4 = r10\nr4 += -8\nr5 = 8\ncall 25",
    ),
  },
  {
    name: "texts of many numbers",
    maps: constant("%llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu"),
    text: goRound(
      `${zeroed(96).replaceAll("= 0", "= -1")}\nr1 = r10\nr1 += -360\nr2 = 256\nr3 = map_val(map_by_fd(0)) + 0 ll\nr4 = r10\nr4 += -96\nr5 = 96\ncall 165`,
    ),
  },
  {
    name: "texts of nothing",
    maps: constant("a"),
    text: goRound(
      times(4, "r1 = 0\nr2 = 0\nr3 = map_val(map_by_fd(0)) + 0 ll\nr4 = 0\nr5 = 0\ncall 165"),
    ),
  },
  {
    name: "texts of addresses",
    maps: constant("%pI6 %pI6 %pI6"),
    text: goRound(
      `${zeroed(64)}\nr1 = r10\nr1 += -32\n*(u64 *)(r10 - 64) = r1\n*(u64 *)(r10 - 56) = r1\n*(u64 *)(r10 - 48) = r1\nr1 = 0\nr2 = 0\nr3 = map_val(map_by_fd(0)) + 0 ll\nr4 = r10\nr4 += -64\nr5 = 24\ncall 165`,
    ),
  },
  {
    name: "texts of a format of 60,000 bytes",
    maps: constant("a".repeat(60_000)),
    text: goRound("r1 = 0\nr2 = 0\nr3 = map_val(map_by_fd(0)) + 0 ll\nr4 = 0\nr5 = 0\ncall 165"),
  },
  {
    name: "comparisons with a text of 60,000 bytes",
    maps: constant("a".repeat(60_000)),
    text: goRound(
      "*(u64 *)(r10 - 8) = 0x61\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = map_val(map_by_fd(0)) + 0 ll\ncall 182",
    ),
  },
  {
    name: "comparisons of texts of 60,000 bytes",
    maps: constant("a".repeat(60_000)),
    text: goRound(
      "r1 = map_val(map_by_fd(0)) + 0 ll\nr2 = 59000\nr3 = map_val(map_by_fd(0)) + 0 ll\ncall 182",
    ),
  },
  { name: "the clock since boot", text: goRound(times(8, "call 125")) },
  { name: "random numbers", text: goRound(times(8, "call 7")) },
  {
    name: "checksums of a megabyte",
    maps: (bench) => [bench.map("array", { maxEntries: 1, valueSize: 1 << 20 })],
    text: goRound(
      "r1 = 0\nr2 = 0\nr3 = map_val(map_by_fd(0)) + 0 ll\nr4 = 1048576\nr5 = 0\ncall 28",
    ),
  },
  {
    name: "checksums of 4 bytes",
    text: goRound(
      `*(u64 *)(r10 - 8) = 7\n${times(8, "r1 = 0\nr2 = 0\nr3 = r10\nr3 += -8\nr4 = 4\nr5 = 0\ncall 28")}`,
    ),
  },
  {
    name: "trace lines",
    text: goRound(
      "r1 = 0x642520642520 ll\n*(u64 *)(r10 - 8) = r1\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = -1\nr4 = -1\nr5 = 0\ncall 6",
    ),
  },
  {
    name: "conversions of numbers",
    text: goRound(
      "*(u64 *)(r10 - 64) = 0x20202020\n*(u64 *)(r10 - 56) = 0x20202020\nr1 = 0x3939393939393939 ll\n*(u64 *)(r10 - 24) = r1\n*(u64 *)(r10 - 16) = 0x39\nr1 = r10\nr1 += -24\nr2 = 16\nr3 = 10\nr4 = r10\nr4 += -8\ncall 105",
    ),
  },
  {
    name: "records of 8 bytes for a full ring buffer",
    maps: (bench) => [bench.map("ringbuf", { keySize: 0, valueSize: 0, maxEntries: 1 << 20 })],
    text: goRound(
      "*(u64 *)(r10 - 8) = 7\nr1 = map_by_fd(0) ll\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\ncall 130",
    ),
  },
  {
    name: "pushes to and pops from a queue of large values",
    maps: (bench) => [
      bench.map("queue", { keySize: 0, valueSize: 1 << 20, maxEntries: 4 }),
      bench.map("array", { maxEntries: 1, valueSize: 1 << 20 }),
    ],
    text: goRound("r1 = map_by_fd(0) ll\nr2 = map_val(map_by_fd(1)) + 0 ll\nr3 = 2\ncall 87"),
  },
  {
    name: "large keys of a bloom filter",
    maps: (bench) => [
      bench.map("bloom_filter", { keySize: 0, valueSize: 4096, maxEntries: 4096 }),
      bench.map("array", { maxEntries: 1, valueSize: 4096 }),
    ],
    text: goRound("r1 = map_by_fd(0) ll\nr2 = map_val(map_by_fd(1)) + 0 ll\ncall 89"),
  },
  {
    name: "spin locks",
    maps: (bench) => [bench.map("array", { maxEntries: 1, valueSize: 16, spinLock: 0 })],
    text: goRound(
      times(
        4,
        "r1 = map_val(map_by_fd(0)) + 0 ll\ncall 93\nr1 = map_val(map_by_fd(0)) + 0 ll\ncall 94",
      ),
    ),
  },
  {
    name: "updates of a large array entry, no callback",
    maps: (bench) => [
      bench.map("array", { maxEntries: 1, valueSize: 1 << 26 }),
      bench.map("array", { maxEntries: 1, valueSize: 1 << 26 }),
    ],
    text: `r6 = 0\nagain: r8 = 0\n${key}\nr3 = map_val(map_by_fd(1)) + 0 ll\nr4 = 0\ncall 2\nr6 += 1\nif r6 < 60000 goto again\nr0 = 2\nexit`,
  },
  {
    name: "checksums of a megabyte, no callback",
    maps: (bench) => [bench.map("array", { maxEntries: 1, valueSize: 1 << 20 })],
    text: "r6 = 0\nagain: r1 = 0\nr2 = 0\nr3 = map_val(map_by_fd(0)) + 0 ll\nr4 = 1048576\nr5 = 0\ncall 28\nr6 += 1\nif r6 < 60000 goto again\nr0 = 2\nexit",
  },
  {
    name: "33 tail calls, each of 900,000 instructions",
    maps: (bench) => [bench.map("prog_array", { maxEntries: 1, valueSize: 4 })],
    chain: 1,
    text: "r6 = r1\nr7 = 0\nagain: r7 += 1\nif r7 < 450000 goto again\nr1 = r6\nr2 = map_by_fd(0) ll\nr3 = 0\ncall 12\nr0 = 2\nexit",
  },
  {
    name: "33 tail calls, each of 100,000 cold lookups",
    maps: (bench) => [
      bench.map("hash", { maxEntries: 1 << 20 }),
      bench.map("prog_array", { maxEntries: 1, valueSize: 4 }),
    ],
    chain: 1,
    text: `r6 = r1\nr9 = 1\nr5 = 0\n*(u64 *)(r10 - 16) = 0\nr7 = 0\nagain: r3 = 1664525\nr9 *= r3\nr9 += 1013904223\nr8 = r9\nr8 &= 0xfffff\n${key}\ncall 1\nr7 += 1\nif r7 < 60000 goto again\nr1 = r6\nr2 = map_by_fd(1) ll\nr3 = 0\ncall 12\nr0 = 2\nexit`,
  },
];

/** Turns that the last run of a program which goes round has begun: its frame is as it left it. */
export function turnsBegun({ arena, context }: EngineBench): number {
  return Number(arena.view.getBigUint64(context.stack + framesBytes - 8, true));
}

/** Made for a bench's engine, with all that the verifier proves of it. */
export function prepareLongRun(bench: EngineBench, one: LongRun): Executable {
  const maps = one.maps?.(bench) ?? [];
  const type = one.type ?? "xdp";
  const instructions = assembled(one.text);
  const linked = unwrap(linkUnverified(spec(instructions), maps, type));
  const proof = prove(linked.instructions, type, maps);
  const programs: Executable[] = [];
  Object.assign(bench.context, { programs });
  const program = bench.prepareLinked({ ...linked, verified: true, proof });
  if (one.chain !== undefined) {
    programs.push(program);
    const table = maps.find(({ type }) => type === "prog_array")!;
    bench.access(table).update(new Uint8Array(4), Uint8Array.of(1, 0, 0, 0));
  }
  return program;
}
