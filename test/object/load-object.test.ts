import { describe, expect } from "vitest";
import { readElf } from "../../src/object/elf.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { MapSpec, ObjectSpec, ProgramSpec } from "../../src/object/object-spec.ts";
import { needing } from "../support/needing.ts";
import { compile } from "./clang.ts";

const test = needing("clang");

function load(source: string, ...flags: string[]): ObjectSpec {
  const loaded = loadObject(compile(source, ...flags), source.replace(/\.c$/, ".o"));
  if (!loaded.ok) throw loaded.error;
  return loaded.value;
}

function programNamed(object: ObjectSpec, name: string): ProgramSpec {
  const found = object.programs.find((program) => program.name === name);
  if (found === undefined) throw new Error(`no program ${name}`);
  return found;
}

function mapNamed(object: ObjectSpec, name: string): MapSpec {
  const found = object.maps.find((map) => map.name === name);
  if (found === undefined) throw new Error(`no map ${name}`);
  return found;
}

interface Slot {
  readonly slot: number;
  readonly source: number;
  readonly immediate: number;
  readonly next: number;
}

/** The instructions of one opcode: source register, immediate, and the immediate of a second slot. */
function slotsOf({ bytecode }: ProgramSpec, opcode: number): Slot[] {
  const view = new DataView(bytecode.buffer, bytecode.byteOffset, bytecode.length);
  const found: Slot[] = [];
  for (let at = 0; at < bytecode.length; at += bytecode[at] === 0x18 ? 16 : 8)
    if (bytecode[at] === opcode)
      found.push({
        slot: at / 8,
        source: bytecode[at + 1]! >>> 4,
        immediate: view.getInt32(at + 4, true),
        next: opcode === 0x18 ? view.getInt32(at + 12, true) : 0,
      });
  return found;
}

const loads = (program: ProgramSpec) => slotsOf(program, 0x18);
const calls = (program: ProgramSpec) => slotsOf(program, 0x85).filter(({ source }) => source === 1);

describe("functions", () => {
  test("each program holds the functions it uses, once each, in the order libbpf appends them", () => {
    const object = load("functions.c");
    expect(
      object.programs.map(({ name, section, type, functions }) => [
        section,
        name,
        type,
        functions.map((placed) => placed.name),
      ]),
    ).toEqual([
      ["xdp", "first", "xdp", ["first", "count"]],
      ["xdp", "second", "xdp", ["second", "shared", "count_twice", "count"]],
      ["xdp.frags", "loops", "xdp", ["loops", "each", "count"]],
      ["tc", "classify", "tc", ["classify", "shared", "count_twice", "count"]],
    ]);
  });

  test("calls lead to where their function lies in the program", () => {
    for (const program of load("functions.c").programs) {
      const starts = program.functions.map(({ slot }) => slot);
      expect(calls(program).length).toBeGreaterThan(0);
      for (const { slot, immediate } of calls(program))
        expect(starts, `${program.name}, call at ${slot}`).toContain(slot + 1 + immediate);
    }
  });

  test("a callback's address is the distance to its function, as lddw source 4", () => {
    const program = programNamed(load("functions.c"), "loops");
    const [callback] = loads(program).filter(({ source }) => source === 4);
    const each = program.functions.find(({ name }) => name === "each")!;
    expect(callback!.slot + 1 + callback!.immediate).toBe(each.slot);
  });

  test("functions carry their BTF type where the object has BTF", () => {
    const object = load("functions.c");
    for (const { functions } of object.programs)
      for (const { name, type } of functions)
        expect(object.btf!.types[type ?? 0]).toMatchObject({ kind: "function", name });
    const [bare] = load("legacy-maps.c", "-g0").programs;
    expect(bare!.functions).toEqual([{ name: "both", slot: 0 }]);
  });

  test("lines are sorted by slot, and each function's begin where it was placed", () => {
    const program = programNamed(load("functions.c"), "second");
    const slots = program.lines.map(({ slot }) => slot);
    expect(slots).toEqual(slots.toSorted((a, b) => a - b));
    expect(new Set(slots).size).toBe(slots.length);
    for (const { name, slot } of program.functions) {
      const line = program.lines.find((candidate) => candidate.slot === slot);
      expect(line?.text.trim(), name).not.toBe("");
      expect(line?.file).toMatch(/functions\.c$/);
    }
  });

  test("an object without sections of its own has the functions of .text as programs", () => {
    const object = load("text-only.c");
    expect(object.programs.map(({ name, type }) => [name, type])).toEqual([["alone", undefined]]);
  });

  test("assembly without symbol types and sizes is cut at its global labels", () => {
    const object = load("labels.c");
    expect(object.programs.map(({ name, bytecode }) => [name, bytecode.length / 8])).toEqual([
      ["one", 2],
      ["two", 3],
    ]);
  });
});

describe("sections", () => {
  test("name the program's type as libbpf, iproute2 and older loaders read them", () => {
    const types = load("sections.c").programs.map(({ section, type }) => [section, type]);
    expect(Object.fromEntries(types)).toEqual({
      xdp: "xdp",
      "xdp/name": "xdp",
      "xdp.frags": "xdp",
      xdp_old: "xdp",
      "?xdp": "xdp",
      socket: "socket",
      socket1: "socket",
      tc: "tc",
      "tc/ingress": "tc",
      "tcx/ingress": "tcx",
      "tcx/egress": "tcx",
      classifier: "tc",
      "classifier/name": "tc",
      "from-container": "tc",
      action: "action",
      "cgroup_skb/ingress": "cgroup_skb",
      "cgroup_skb/egress": "cgroup_skb",
      "cgroup/skb": "cgroup_skb",
      "kprobe/tcp_connect": undefined,
      prog: undefined,
    });
  });
});

describe("maps", () => {
  test("of BTF have the attributes that their declarations give", () => {
    const object = load("maps.c", "-DPINNED");
    const attributes = object.maps.map(
      ({ name, type, keySize, valueSize, maxEntries, flags, pinning, readOnly }) =>
        `${name} ${type} ${keySize} ${valueSize} ${maxEntries} ${flags} ${pinning} ${readOnly}`,
    );
    expect(attributes.toSorted()).toEqual([
      "blue array 4 8 1 0 none false",
      "colours array_of_maps 4 4 3 0 none false",
      "constants array 4 4 2 128 none true",
      "green array 4 8 1 0 none false",
      "jumps prog_array 4 4 8 0 none false",
      "sized lru_hash 6 12 64 0 none false",
      "typed hash 4 8 128 0 by_name false",
    ]);
  });

  test("of BTF know the types of their keys and values", () => {
    const object = load("maps.c");
    const { keyType, valueType } = mapNamed(object, "typed");
    expect(object.btf!.types[keyType!]).toMatchObject({ kind: "struct", name: "key", size: 4 });
    expect(object.btf!.types[valueType!]).toMatchObject({ kind: "typedef", name: "counter" });
    expect(mapNamed(object, "sized")).toMatchObject({ keyType: undefined, valueType: undefined });
  });

  test("of maps and of programs have their template and what their slots name", () => {
    const object = load("maps.c");
    const colours = mapNamed(object, "colours");
    expect(colours.inner).toMatchObject({ type: "array", keySize: 4, valueSize: 8, maxEntries: 1 });
    expect(colours.slots).toEqual([
      { index: 0, name: "blue" },
      { index: 2, name: "green" },
    ]);
    expect(mapNamed(object, "jumps").slots).toEqual([{ index: 3, name: "leaf" }]);
  });

  for (const [label, flags] of [
    ["with BTF", []],
    ["without BTF", ["-g0"]],
  ] as const)
    test(`of a "maps" section are read by their symbols, ${label}`, () => {
      const object = load("legacy-maps.c", ...flags);
      expect(object.maps).toMatchObject([
        { name: "first", type: "hash", keySize: 4, valueSize: 16, maxEntries: 10, flags: 1 },
        { name: "second", type: "percpu_array", keySize: 4, valueSize: 8, maxEntries: 20 },
      ]);
      expect(
        loads(programNamed(object, "both")).map(({ source, immediate }) => [source, immediate]),
      ).toEqual([
        [1, 0],
        [1, 1],
      ]);
    });

  test('of a "maps" section take their types from BPF_ANNOTATE_KV_PAIR', () => {
    const object = load("legacy-maps.c");
    const { keyType, valueType } = mapNamed(object, "first");
    expect(object.btf!.types[keyType!]).toMatchObject({ name: "__u32" });
    expect(object.btf!.types[valueType!]).toMatchObject({ name: "pair", size: 16 });
    expect(mapNamed(object, "second").keyType).toBeUndefined();
  });

  test("of iproute2 have pinning, inner maps and the programs of their tail-call sections", () => {
    const object = load("iproute2-maps.c");
    expect(mapNamed(object, "jumps")).toMatchObject({
      pinning: "by_name",
      slots: [{ index: 2, name: "continues" }],
    });
    expect(mapNamed(object, "outer")).toMatchObject({
      inner: { name: "inner", type: "array", valueSize: 8 },
      slots: [{ index: 1, name: "inner" }],
    });
    expect(programNamed(object, "continues").type).toBe("tc");
  });

  test("are named by their index in the object wherever code loads them", () => {
    const object = load("maps.c");
    const used = loads(programNamed(object, "root")).map(({ source, immediate, next }) => {
      expect([source, next]).toEqual([1, 0]);
      return object.maps[immediate]!.name;
    });
    expect(used).toEqual(["typed", "sized", "constants", "colours", "green", "jumps"]);
  });
});

describe("data sections", () => {
  test("are arrays of one value, read-only for .rodata, without contents for .bss", () => {
    const object = load("globals.c");
    expect(
      object.maps.map(({ name, type, maxEntries, readOnly, dataSection, contents }) => ({
        name,
        type,
        maxEntries,
        readOnly,
        dataSection,
        contents: contents.length,
      })),
    ).toEqual(
      [".rodata", ".data", ".data.apart", ".bss"].map((name) => ({
        name,
        type: "array",
        maxEntries: 1,
        readOnly: name === ".rodata",
        dataSection: name,
        contents: name === ".bss" ? 0 : 1,
      })),
    );
  });

  test("hold string literals of their own section", () => {
    const object = load("strings.c");
    const map = object.maps.findIndex(({ name }) => name === ".rodata.str1.1");
    const text = loads(programNamed(object, "prints")).find(({ immediate }) => immediate === map);
    expect(text!.source).toBe(2);
    const { value } = object.maps[map]!.contents[0]!;
    expect(new TextDecoder().decode(value.subarray(text!.next))).toMatch(/^literal text\0/);
  });

  test("keep pointers in them as the compiler left them, as libbpf does", () => {
    const object = load("strings.c");
    const table = object.variables.find(({ name }) => name === "names")!;
    expect(object.maps[table.map]!.contents[0]!.value.subarray(0, 8)).toEqual(new Uint8Array(8));
  });

  test("are loaded by map index and offset of the variable", () => {
    const object = load("globals.c");
    const references = loads(programNamed(object, "reads_all")).map(
      ({ source, immediate, next }) => {
        expect(source).toBe(2);
        return `${object.maps[immediate]!.name}+${next}`;
      },
    );
    for (const name of ["answer", "seen", "hidden", "separate", "reads_all.calls"]) {
      const { map, offset } = object.variables.find((variable) => variable.name === name)!;
      expect(references, name).toContain(`${object.maps[map]!.name}+${offset}`);
    }
  });

  test("list their variables with offset, size and BTF type", () => {
    const object = load("globals.c");
    const listed = object.variables.map(
      ({ name, map, offset, size }) => `${object.maps[map]!.name}+${offset} ${name} ${size}`,
    );
    expect(listed).toEqual([
      ".rodata+0 answer 4",
      ".rodata+4 home 16",
      ".rodata+20 gateway 4",
      ".rodata+24 name 8",
      ".rodata+32 enabled 1",
      ".rodata+36 on_match 4",
      ".rodata+40 limits 12",
      ".rodata+52 reads_all.____fmt 9",
      ".data+0 total 8",
      ".data+8 offsets 8",
      ".data+16 hidden 4",
      ".data.apart+0 separate 4",
      ".bss+0 reads_all.calls 4",
      ".bss+8 seen 8",
      ".bss+16 recent 16",
    ]);
    expect(object.variables.every(({ type }) => type !== undefined)).toBe(true);
  });

  test("list the same variables from symbols where there is no BTF", () => {
    const named = (object: ObjectSpec) =>
      object.variables
        .map(({ name, map, offset, size }) => `${object.maps[map]!.name}+${offset} ${name} ${size}`)
        .toSorted();
    const bare = load("globals.c", "-g0");
    expect(bare.btf).toBeUndefined();
    expect(named(bare)).toEqual(named(load("globals.c")));
  });
});

describe("relocations", () => {
  test("of all four types are in the objects that these tests load", () => {
    const seen = new Set<number>();
    for (const source of ["functions.c", "maps.c", "globals.c", "strings.c"]) {
      const elf = readElf(compile(source), source);
      if (!elf.ok) throw elf.error;
      for (const list of elf.value.relocations.values())
        for (const { type } of list) seen.add(type);
    }
    expect([...seen]).toEqual(expect.arrayContaining([1, 2, 3, 10]));
  });

  test("leave weak symbols that nobody defines at address 0", () => {
    const program = programNamed(load("externs.c", "-DWEAK"), "program");
    expect(
      loads(program).map(({ source, immediate, next }) => [source, immediate, next]),
    ).toContainEqual([0, 0, 0]);
  });

  test("of a function that no program uses are never looked at", () => {
    expect(load("unused.c").programs[0]!.functions.map(({ name }) => name)).toEqual(["program"]);
  });
});
