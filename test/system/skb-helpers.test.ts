import { expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { Random } from "../packet/random.ts";
import { needing } from "../support/needing.ts";
import { kernelRuns, type ObjectRun, OurObject } from "./kernel-object.ts";
import { packets } from "./skb-packets.ts";
import { buildProgram } from "./truth-rig.ts";

const test = needing("clang", "kernel bpf()");

/** Five arguments and a text, as the programs' `io` has them. */
function io(args: readonly (number | bigint)[], text: string | Uint8Array = ""): Uint8Array {
  const bytes = new Uint8Array(112);
  const view = new DataView(bytes.buffer);
  for (const [i, arg] of args.entries())
    view.setBigInt64(i * 8, BigInt.asIntN(64, BigInt(arg)), true);
  bytes.set(typeof text === "string" ? Buffer.from(text, "latin1") : text, 48);
  return bytes;
}

type Arguments = readonly (number | bigint)[];

function product(...lists: readonly Arguments[]): Arguments[] {
  return lists.reduce<Arguments[]>(
    (all, list) => all.flatMap((before) => list.map((one) => [...before, one])),
    [[]],
  );
}

const random = new Random(6);
const word = () => random.below(2 ** 32);
const htons = (n: number) => ((n & 0xff) << 8) | (n >> 8);
const [ip, ipv6, arp, vlan, serviceVlan] = [0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8].map(htons);
const offsets = [
  0,
  1,
  14,
  24,
  33,
  40,
  41,
  60,
  64,
  0xffff,
  0x10000,
  0x7fff_ffff,
  2 ** 31,
  2 ** 32 - 1,
];
const wide = 2n ** 32n;
/** Values of the fields that a checksum is of, and edges of the sum's arithmetic. */
const changes: readonly Arguments[] = [
  [0, 0],
  [0, 0xffff],
  [0, 0xffff_ffff],
  [0xffff, 0],
  [0xc000_0201, 0xcb00_7109],
  [wide, 5],
  [0, wide + 9n],
  ...Array.from({ length: 6 }, () => [word(), word()]),
];
const room = [
  0, 1, 4, 8, 20, 28, 36, 40, 50, 100, 4095, 4096, -1, -8, -20, -28, -40, -60, -4095, -5000,
];

/** struct bpf_tunnel_key: with all members, without a label, and without what is not for setting. */
const tunnelKeys = ["", "label", "ext"].map((without) => {
  const bytes = random.bytes(44);
  if (without !== "ext") bytes.fill(0, 22, 24);
  if (without === "label") bytes.fill(0, 24, 28);
  return bytes;
});

/** For each program the arguments to call it with; texts where it takes one. */
const cases: Readonly<Record<string, readonly Uint8Array[]>> = {
  tc_nothing: [io([7])],
  tc_l3_csum_replace: [24, 25, 38, 0xffff, 65536].flatMap((offset) =>
    changes.flatMap(([from, to]) =>
      [0, 2, 4, 3, 16, wide].map((flags) => io([offset, from!, to!, flags])),
    ),
  ),
  tc_l4_csum_replace: [40, 41, 60, 65536].flatMap((offset) =>
    changes.flatMap(([from, to]) =>
      [0, 2, 4, 0x10, 0x12, 0x14, 0x22, 0x24, 0x34, 0x62, 0x74, 0x94, 0x104, 8].map((flags) =>
        io([offset, from!, to!, flags]),
      ),
    ),
  ),
  tc_change_tail: product(
    [0, 13, 14, 20, 60, 64, 100, 1500, 4000, 16_000, 16_064, 16_065, 65_550, 65_551, 2 ** 32 - 1],
    [0, 1, wide],
  ).map((a) => io(a)),
  tc_change_head: product(
    [0, 1, 14, 50, 200, 300, 3000, 14_610, 16_000, 65_400, 65_537, 2 ** 32 - 1],
    [0, 1, wide],
  ).map((a) => io(a)),
  tc_change_proto: product([ip!, ipv6!, arp!, 0, 0x10000 + ipv6!], [0, 1]).map((a) => io(a)),
  tc_change_type: [0, 1, 2, 3, 4, -1].map((type) => io([type])),
  tc_adjust_room: product(
    room,
    [0, 1, 2],
    [
      0,
      1,
      2,
      4,
      6,
      8 | 2,
      24 | 2,
      0x20,
      0x40 | 2,
      (14n << 56n) | 0x42n,
      (200n << 56n) | 4n,
      0x80,
      0x100,
      0x180,
      0x200,
      wide,
    ],
  ).map((a) => io(a)),
  tc_pull_data: [0, 1, 14, 42, 64, 1000, 2 ** 31, 2 ** 32 - 1].map((length) => io([length])),
  tc_csum_update: [io([5])],
  tc_store_bytes: product(offsets, [0, 1, 2, 3, 4, wide]).map((a) => io(a, "ABCDEFGH")),
  tc_load_bytes: offsets.map((offset) => io([offset], "previous contents")),
  tc_load_relative: product(offsets, [0, 1, 2]).map((a) => io(a, "previous contents")),
  tc_vlan_push: product([vlan!, serviceVlan!, ip!, 0], [0, 5, 0xfff, 0x1_2345]).map((a) => io(a)),
  tc_vlan_pop: [io([])],
  tc_vlan_stack: product([vlan!, serviceVlan!], [5, 0xe123], [vlan!], [9, 0], [0, 1, 2, 3]).map(
    (a) => io(a),
  ),
  tc_redirect: product([0, 1, 77], [0, 1, 2, 3, wide]).map((a) => io(a)),
  tc_redirect_peer: product([1], [0, 1]).map((a) => io(a)),
  tc_redirect_neigh: product([1], [0, 1], [0, 1]).map((a) => io(a)),
  tc_ecn: [io([])],
  tc_set_tstamp: product([0, 5, wide * 7n], [0, 1, 2, 3]).map((a) => io(a)),
  tc_csum_diff: Array.from({ length: 20 }, () => io([word()], random.bytes(64))),
  tc_route_realm: [io([])],
  tc_check_mtu: product([0, 1, 9999], [0, 10, -10, 66_000, -70_000], [0, 1, 2]).flatMap((a) =>
    ["", "\x10", "\xff\xff\x01"].map((text) => io(a, text)),
  ),
  tc_strncmp: ["needle", "needl", "needles", "", "\xff", "Needle"].map((text) => io([], text)),
  tc_csum_level: [
    [0, 1, 0, 2, 0],
    [1, 1, 1, 0, 2],
    [1, 1, 1, 1, 1],
    [1, 3, 0, 2, 1],
    [4, wide, 1, 2, 0],
  ].map((levels) => io(levels)),
  tc_hash: [0, 1, 0xffff_ffff].map((hash) => io([hash])),
  tc_write_context: [io([1, 2, 3, 4, 5]), io([-1, -1, -1, -1, -1])],
  tc_write_packet: [io([])],
  tc_room_twice: [
    [20, 1, 2, -20, 0x80],
    [40, 1, 4, -40, 0],
    [28, 1, 2 | 16, 8, 2],
    [8, 0, 0, -8, 0],
    [50, 1, (14n << 56n) | 0x52n, -50, 0],
  ].map((a) => io(a)),
  tc_encapsulated: product(
    [60],
    [2, 4, 8 | 2, 16 | 4, (14n << 56n) | 0x52n],
    [0, 8, -8, -20, -30],
    [0],
    // Less is asked of plain packets: what the kernel has for an unset transport header is moved with
    // the packet when it grows, and then stands for one somewhere before the network header.
    [14, 20, 33, 34, 42, 53, 54, 64, 100, 16_065],
  )
    .concat(
      product(
        [28, 40],
        [8 | 2, 16 | 4],
        [0],
        [1, 2, 3, 4, 5, 6, 7],
        [0, 1, 8, 24, 40, ip!, ipv6!, vlan!],
      ),
    )
    .map((a) => io(a)),
  tc_head_then_tail: product([0, 14, 40], [13, 14, 30, 54, 60, 200]).map((a) => io(a)),
  ...Object.fromEntries(
    ["tc_strtol", "tc_strtoul"].map((name) => [
      name,
      [0, 8, 10, 16, 2, 32, wide].flatMap((base) =>
        [
          "",
          "0",
          "7",
          "-7",
          " \t42x",
          "0x1f",
          "0xg",
          "0x",
          "-0x10",
          "017",
          "08",
          "f00",
          "-",
          "- 5",
          "+5",
          "9223372036854775807",
          "9223372036854775808",
          "-9223372036854775808",
          "-9223372036854775809",
          "18446744073709551615",
          "18446744073709551616",
          "-18446744073709551616",
          "\xa05",
          "0000000000000000000000000000012",
        ].map((text) => io([base], text)),
      ),
    ]),
  ),
  tc_snprintf: product(
    [-5, 123_456],
    [7],
    [0xbeef],
    [0x1234_5678_9abcn],
    [0, 1, 2, 10, 30, 63],
  ).map((a) => io(a, "x".repeat(64))),
  tc_vprintk: [io([1, -2, 3, 4, 5])],
  tc_tunnel_key: [
    ...product([44, 28, 24, 22, 8, 20, 48], [0, 1], [44], [0, 1]),
    ...product([44], [0, 1], [44, 28, 24, 22, 8, 20, 48], [0, 1]),
    ...product([44], [2, 4, 8, 16, 31, 32, wide], [44], [0, 1, 16, 17, 2, wide]),
  ].flatMap((a) => tunnelKeys.map((text) => io(a, text))),
  tc_tunnel_options: product([0, 1], [0, 1, 2], [0, 1, 2], [0, 1]).map((a) =>
    io(a, random.bytes(64)),
  ),
  tc_clone: [io([99, 0]), io([1, 2]), io([1, 4])],
  xdp_bytes: product(offsets, offsets).map((a) => io(a)),
  xdp_check_mtu: product([0, 1, 9999], [0, 10, 66_000, -70_000], [0, 1]).flatMap((a) =>
    ["", "\x10", "\xff\xff\x01"].map((text) => io(a, text)),
  ),
  cgroup_context: offsets.map((offset) => io([offset])),
};

const runs: readonly (ObjectRun & { readonly title: string })[] = Object.entries(cases).flatMap(
  ([program, all]) =>
    Object.entries(packets).flatMap(([name, packet], p) =>
      all
        // Of long tables each packet gets a part; together they get all of it.
        .filter((_, i) => all.length < 40 || i % 5 === p % 5)
        .map((bytes) => ({
          program,
          io: bytes,
          packet,
          title: `${program} of ${toHex(bytes)} on ${name}`,
        })),
    ),
);

/** What the kernel overwrites in what it gives back of packets without their link header. */
function comparable(program: string, answer: string): string {
  const [returned, packet = "", after = ""] = answer.split(" ");
  const seen = program.startsWith("cgroup") ? packet.slice(2 * ethernetHeaderBytes) : packet;
  return `${returned} ${seen} ${after}`;
}

const ethernetHeaderBytes = 14;

for (const engine of ["interpreter", "jit"] as const)
  test(`every helper of tc programs, and what programs see of their packet, is the kernel's in the ${engine}`, async () => {
    const object = buildProgram("skb-helpers");
    const ours = await OurObject.open(object, engine);
    expect(Object.keys(cases).toSorted()).toEqual(ours.programs.toSorted());
    const answers = kernelRuns(object, runs);
    expect(answers).toHaveLength(runs.length);
    const different = runs.flatMap((run, i) => {
      const kernel = comparable(run.program, answers[i]!);
      const here = comparable(run.program, ours.run(run));
      return here === kernel ? [] : [`${run.title}\n  kernel ${kernel}\n  here   ${here}`];
    });
    expect(different.slice(0, 5).join("\n"), `${different.length} of ${runs.length}`).toBe("");
  });
