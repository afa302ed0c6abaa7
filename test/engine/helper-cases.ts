import { expect, test } from "vitest";
import { putU32le } from "../../src/common/bytes.ts";
import type { MapType, ProgramType } from "../../src/object/object-spec.ts";
import { F_RDONLY_PROG } from "../../src/runtime/wasm/layout.ts";
import { type EngineCase, runCases } from "./case-table.ts";
import { type EngineBench, frame, mapSpec } from "./engine-bench.ts";

/** r1 = map 0, r2 = its key 1 on the stack, r3 = a value of 8 bytes there. */
const keyAndValue = `
  *(u32 *)(r10 - 4) = 1
  *(u64 *)(r10 - 16) = 55
  r1 = map_by_fd(0) ll
  r2 = r10
  r2 += -4
  r3 = r10
  r3 += -16
`;
const minus = (errno: number): bigint => BigInt.asUintN(64, BigInt(-errno));
const EINVAL = minus(22);
const EFAULT = minus(14);

const mapCases: readonly EngineCase[] = [
  {
    name: "stores a value in a map and finds it again",
    maps: (bench) => [bench.map("hash")],
    program: `${keyAndValue}r4 = 0
      call 2
      r6 = r0
      ${keyAndValue}
      call 1
      r0 = *(u64 *)(r0 + 0)
      r0 += r6
      exit`,
    r0: 55n,
  },
  {
    name: "finds null under a key that is not there",
    maps: (bench) => [bench.map("hash")],
    program: `${keyAndValue}call 1\nexit`,
    r0: 0n,
  },
  {
    name: "gives -EEXIST for BPF_NOEXIST on an array, which always has its keys",
    maps: (bench) => [bench.map("array")],
    program: `${keyAndValue}r4 = 1\ncall 2\nexit`,
    r0: minus(17),
  },
  {
    name: "gives -EINVAL for flags that only fit 64 bits",
    maps: (bench) => [bench.map("hash")],
    program: `${keyAndValue}r4 = 0x100000000 ll\ncall 2\nexit`,
    r0: EINVAL,
  },
  {
    name: "deletes an entry, and gives -ENOENT the second time",
    maps: (bench) => [bench.map("hash")],
    program: `${keyAndValue}r4 = 0
      call 2
      ${keyAndValue}
      call 3
      r6 = r0
      ${keyAndValue}
      call 3
      r0 += r6
      exit`,
    r0: minus(2),
  },
  {
    name: "finds the ifindex in a device map, and lets no program change it",
    type: "xdp",
    maps: deviceMap,
    program: `${keyAndValue}call 1
      r6 = *(u32 *)(r0 + 0)
      *(u32 *)(r0 + 0) = 9
      exit`,
    fault: { code: "read_only", slot: 10, says: /map devmap/ },
  },
  ...[
    {
      what: "a map address that is none",
      program: "r1 = 4096\nr2 = r10\nr2 += -4\ncall 1\nexit",
      slot: 3,
      says: /map_lookup_elem, argument r1: not the address of a map/,
    },
    {
      what: "a map address with something added",
      program: `${keyAndValue}r1 += 8\ncall 1\nexit`,
      slot: 9,
      says: /argument r1/,
    },
    {
      what: "a key that reaches beyond the stack",
      program: `${keyAndValue}r2 += 1\ncall 1\nexit`,
      slot: 9,
      says: /argument r2: read of 4 bytes .* 1 bytes beyond the end of the stack/,
    },
    {
      what: "a value that is null",
      program: `${keyAndValue}r3 = 0\nr4 = 0\ncall 2\nexit`,
      slot: 10,
      says: /argument r3: read of 8 bytes through null/,
    },
    {
      what: "a context as a key",
      program: `r6 = r1\n${keyAndValue}r2 = r6\ncall 1\nexit`,
      type: "xdp" as const,
      slot: 10,
      says: /argument r2: the context is not memory/,
    },
  ].map(
    ({ what, program, slot, says, type = "raw" as ProgramType }): EngineCase => ({
      name: `refuses ${what} as a helper's argument`,
      type,
      maps: (bench) => [bench.map("hash")],
      program,
      fault: { code: "bad_argument", slot, says },
    }),
  ),
  {
    name: "refuses to update a map that is read-only to programs",
    maps: (bench) => [bench.map("array", { name: "rodata", flags: F_RDONLY_PROG })],
    program: `${keyAndValue}r4 = 0\ncall 2\nexit`,
    fault: { code: "bad_argument", slot: 9, says: /map rodata is read-only/ },
  },
  {
    name: "refuses to update a device map",
    type: "xdp",
    maps: deviceMap,
    program: `${keyAndValue}r4 = 0\ncall 2\nexit`,
    fault: { code: "bad_argument", slot: 9, says: /devmap, which this helper does not take/ },
  },
  {
    name: "refuses to redirect to a map that holds no devices",
    type: "xdp",
    maps: (bench) => [bench.map("hash")],
    program: "r1 = map_by_fd(0) ll\nr2 = 0\nr3 = 0\ncall 51\nexit",
    fault: { code: "bad_argument", slot: 4, says: /map hash is of type hash/ },
  },
  {
    name: "gives a program its own CPU's value of a per-CPU map",
    maps: (bench) => [bench.map("percpu_array")],
    program: `${keyAndValue}call 1\n*(u64 *)(r0 + 0) = 3\nr0 = 0\nexit`,
    r0: 0n,
  },
];

function deviceMap(bench: EngineBench) {
  const map = bench.map("devmap", { valueSize: 4 });
  const device = Uint8Array.of(7, 0, 0, 0);
  expect(bench.access(map).update(Uint8Array.of(1, 0, 0, 0), device)).toBe(0);
  return [map];
}

const systemCases: readonly EngineCase[] = [
  { name: "gives the batch's time", program: "call 5\nexit", r0: 0x7_ffff_fffen },
  { name: "gives a random number without a sign", program: "call 7\nexit", r0: 0xdead_beefn },
  { name: "gives the worker's number", program: "r0 = 9\ncall 8\nexit", r0: 0n },
];

const frameCases: readonly EngineCase[] = [
  {
    name: "checks pointers made before a head move against the new packet",
    type: "xdp",
    program: `r7 = *(u32 *)(r1 + 0)
      r0 = *(u8 *)(r7 + 0)
      r2 = 14
      call 44
      r0 = *(u8 *)(r7 + 14)
      r0 = *(u8 *)(r7 + 13)
      exit`,
    fault: { code: "bad_access", slot: 5, says: /no object/ },
  },
  {
    name: "reaches what a tail move has added, and nothing behind it",
    type: "xdp",
    data: 60,
    program: `r6 = r1
      r2 = 4
      call 65
      r7 = *(u32 *)(r6 + 0)
      *(u32 *)(r7 + 60) = 1
      *(u8 *)(r7 + 64) = 1
      exit`,
    fault: { code: "bad_access", slot: 5, says: /no object/ },
  },
  {
    name: "keeps metadata and packet apart",
    type: "xdp",
    program: `r6 = r1
      r2 = -4
      call 54
      r7 = *(u32 *)(r6 + 8)
      *(u32 *)(r7 + 0) = 1
      *(u64 *)(r7 + 0) = 1
      exit`,
    fault: { code: "bad_access", slot: 5, says: /4 bytes beyond the end of the metadata/ },
  },
  {
    name: "refuses a head move of something that is not the context",
    type: "xdp",
    program: "r1 += 4\nr2 = 0\ncall 44\nexit",
    fault: { code: "bad_argument", slot: 2, says: /xdp_adjust_head, argument r1: not the program/ },
  },
];

const loadBytes = (offset: string, size: number): string => `
  *(u64 *)(r10 - 8) = -1
  r2 = ${offset}
  r3 = r10
  r3 += -8
  r4 = ${size}
  call 26
  r6 = r0
  r0 = *(u64 *)(r10 - 8)
`;

const socketCases: readonly EngineCase[] = [
  {
    name: "copies bytes out of a socket filter's packet",
    type: "socket",
    program: `${loadBytes("60", 4)}exit`,
    r0: 0xffff_ffff_3f3e_3d3cn,
  },
  ...[
    { what: "behind the packet", offset: "61" },
    { what: "far behind the packet", offset: "0x7fffffff" },
    { what: "at a negative offset", offset: "-1" },
  ].flatMap(({ what, offset }): EngineCase[] => [
    {
      name: `zeroes the buffer for bytes ${what}`,
      type: "socket",
      program: `${loadBytes(offset, 4)}exit`,
      r0: 0xffff_ffff_0000_0000n,
    },
    {
      name: `gives -EFAULT for bytes ${what}`,
      type: "socket",
      program: `${loadBytes(offset, 4)}r0 = r6\nexit`,
      r0: EFAULT,
    },
  ]),
  {
    name: "refuses to copy into a buffer that is too small",
    type: "socket",
    program: `${loadBytes("0", 9)}exit`,
    fault: { code: "bad_argument", slot: 5, says: /skb_load_bytes, argument r3: write of 9 bytes/ },
  },
  {
    name: "refuses a size of zero where there must be one",
    type: "socket",
    program: `${loadBytes("0", 0)}exit`,
    fault: { code: "bad_argument", slot: 5, says: /argument r3: its size in r4 is 0/ },
  },
  {
    name: "refuses a negative size",
    type: "socket",
    program: `${loadBytes("0", -1)}exit`,
    fault: { code: "bad_argument", slot: 5, says: /argument r3: its size in r4 is out of range/ },
  },
];

export function helperCases(label: string, bench: EngineBench): void {
  runCases(label, bench, mapCases);
  runCases(label, bench, systemCases);
  runCases(label, bench, frameCases);
  runCases(label, bench, socketCases);

  for (const type of ["percpu_array", "percpu_hash"] as const)
    test(`${label}: gives the last CPU's program its own value of a ${type}, and all of it`, () => {
      const map = bench.map(type, { valueSize: 12 });
      const key = Uint8Array.of(1, 0, 0, 0);
      expect(bench.access(map).update(key, new Uint8Array(12))).toBe(0);
      const program = `${keyAndValue}call 1
        *(u32 *)(r0 + 8) = 9
        r0 = *(u8 *)(r0 + 12)
        exit`;
      const run = bench.run(bench.prepare(program, "raw", [map], 1), frame(1));
      expect(run.fault).toMatchObject({ code: "bad_access", slot: 10 });
      const [first, second] = bench.access(map).lookup(key)!;
      expect([first![8], second![8]]).toEqual([0, 9]);
    });

  test(`${label}: notes where a redirect goes, and forgets it before the next program`, () => {
    const redirect = bench.prepare("r1 = 42\nr2 = 0\ncall 23\nexit", "xdp");
    expect(bench.run(redirect, frame(64))).toMatchObject({
      r0: 4n,
      redirect: { ifindex: 42, flags: 0 },
    });
    const pass = bench.prepare("r0 = 2\nexit", "xdp");
    expect(bench.runAgain(pass).redirect).toEqual({ ifindex: 0, flags: 0 });
  });

  for (const type of ["devmap", "devmap_hash"] as const satisfies readonly MapType[])
    test(`${label}: takes a redirect's port from a ${type}, and forgets it where a later lookup fails`, () => {
      const map = bench.map(type, { valueSize: 4 });
      bench.access(map).update(Uint8Array.of(3, 0, 0, 0), Uint8Array.of(17, 0, 0, 0));
      const call = (key: number) => `r1 = map_by_fd(0) ll\nr2 = ${key}\nr3 = 2\ncall 51\n`;
      const found = bench.run(bench.prepare(`${call(3)}exit`, "xdp", [map]), frame(64));
      expect(found).toMatchObject({ r0: 4n, redirect: { ifindex: 17, flags: 2 } });
      const missed = bench.run(bench.prepare(`${call(3)}${call(2)}exit`, "xdp", [map]), frame(64));
      expect(missed).toMatchObject({ r0: 2n, redirect: { ifindex: 0, flags: 0 } });
    });

  for (const { what, after, expected } of [
    { what: "notes", after: "", expected: { ifindex: 0, flags: 24 } },
    {
      what: "forgets, by another call,",
      after: "r1 = 42\nr2 = 0\ncall 23\n",
      expected: { ifindex: 42, flags: 0 },
    },
  ])
    test(`${label}: ${what} that a redirect goes to all ports of a map`, () => {
      const map = bench.map("devmap", { valueSize: 4 });
      const call = "r1 = map_by_fd(0) ll\nr2 = 9\nr3 = 24\ncall 51\n";
      const ran = bench.run(bench.prepare(`${call}${after}exit`, "xdp", [map]), frame(64));
      expect(ran).toMatchObject({ r0: 4n, redirect: expected });
    });

  test(`${label}: an inner map that was made after the arena has grown is reached`, () => {
    const roomy = bench.another(64 << 20);
    const outer = roomy.map("array_of_maps", { valueSize: 4, inner: mapSpec("array") });
    const program = `*(u32 *)(r10 - 4) = 0
      r2 = r10
      r2 += -4
      r1 = map_by_fd(0) ll
      call 1
      if r0 == 0 goto out
      r2 = r10
      r2 += -4
      r1 = r0
      call 1
      r0 = 7
      out: exit`;
    const executable = roomy.prepare(program, "raw", [outer]);
    expect(roomy.run(executable, frame(1)).r0).toBe(0n);
    roomy.map("array", { maxEntries: 1, valueSize: 1 << 20 });
    const inner = roomy.map("array");
    const number = new Uint8Array(4);
    putU32le(number, 0, inner.descriptor);
    expect(roomy.access(outer).update(new Uint8Array(4), number)).toBe(0);
    expect(roomy.run(executable, frame(1))).toMatchObject({ r0: 7n, fault: undefined });
  });

  test(`${label}: says in the slot whether a program wrote to the frame or moved it`, () => {
    const wrote = (program: string, type: ProgramType = "xdp") =>
      bench.run(bench.prepare(program, type), frame(64)).wrote;
    expect(wrote("r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 0)\nexit")).toBe(false);
    expect(wrote("r2 = *(u32 *)(r1 + 0)\n*(u8 *)(r2 + 0) = 0\nexit")).toBe(true);
    expect(wrote("r2 = 4\ncall 44\nexit")).toBe(true);
    expect(wrote("r2 = -4\ncall 65\nexit")).toBe(true);
    expect(wrote("r2 = 4000\ncall 65\nexit")).toBe(false);
    expect(wrote("*(u64 *)(r10 - 8) = 1\nr0 = 0\nexit")).toBe(false);
    expect(wrote("*(u32 *)(r1 + 48) = 1\nr0 = 0\nexit", "socket")).toBe(false);
  });

  test(`${label}: traces what a program prints`, () => {
    const text = "port %d of %s\\n";
    const bytes = [...text.replace("\\n", "\n")].map((c) => c.charCodeAt(0));
    const store = [...bytes, 0].map((byte, i) => `*(u8 *)(r10 - ${64 - i}) = ${byte}`).join("\n");
    const program = `${store}
      *(u32 *)(r10 - 8) = 0x706475
      r1 = r10
      r1 += -64
      r2 = ${bytes.length + 1}
      r3 = 53
      r4 = r10
      r4 += -8
      call 6
      exit`;
    const { r0, fault } = bench.run(bench.prepare(program, "xdp"), frame(64));
    expect(fault).toBeUndefined();
    expect(bench.traced.splice(0)).toEqual(["port 53 of udp"]);
    expect(r0).toBe(15n);
  });

  for (const { what, setup, call, least } of [
    {
      what: "a checksum of a megabyte",
      setup: "r6 = map_val(map_by_fd(0)) + 0 ll",
      call: "r1 = 0\nr2 = 0\nr3 = r6\nr4 = 1048576\nr5 = 0\ncall 28",
      least: 76,
    },
    {
      what: "a trace line",
      setup: "*(u64 *)(r10 - 8) = 0x61",
      call: "r1 = r10\nr1 += -8\nr2 = 8\ncall 6",
      least: 9_000,
    },
  ])
    test(`${label}: takes what ${what} costs off the program's budget`, () => {
      const map = bench.map("array", { maxEntries: 1, valueSize: 1 << 20 });
      const counter = bench.map("array", { maxEntries: 1 });
      const program = `${setup}
        r7 = map_val(map_by_fd(1)) + 0 ll
      loop:
        ${call}
        r1 = 1
        lock *(u64 *)(r7 + 0) += r1
        goto loop`;
      const { fault } = bench.run(bench.prepare(program, "xdp", [map, counter]), frame(64));
      bench.traced.length = 0;
      expect(fault?.code).toBe("budget_exceeded");
      const [calls] = bench.access(counter).lookup(new Uint8Array(4))!;
      const count = new DataView(calls!.buffer, calls!.byteOffset).getUint32(0, true);
      expect(count).toBeGreaterThanOrEqual(least);
      expect(count).toBeLessThanOrEqual(10_000);
      bench.release(map);
    });

  test(`${label}: gives -EINVAL for a format without its closing zero`, () => {
    const program = "*(u64 *)(r10 - 8) = -1\nr1 = r10\nr1 += -8\nr2 = 8\ncall 6\nexit";
    expect(bench.run(bench.prepare(program, "xdp"), frame(64)).r0).toBe(EINVAL);
    expect(bench.traced.splice(0)).toEqual([]);
  });
}
