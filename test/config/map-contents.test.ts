import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { atOnce } from "../../src/common/steps.ts";
import { readMapContents } from "../../src/config/map-contents.ts";
import { ProblemList } from "../../src/config/problem-list.ts";
import { readYaml } from "../../src/config/read-yaml.ts";
import { readableParts } from "../../src/config/readable-parts.ts";
import type { Btf } from "../../src/object/btf.ts";
import type { MapSpec, ObjectSpec } from "../../src/object/object-spec.ts";

const folder = mkdtempSync(join(tmpdir(), "weir-entries-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const u32 = { kind: "int", name: "__u32", size: 4, signed: false, bool: false } as const;
const btf: Btf = {
  types: [
    { kind: "void" },
    { ...u32, char: false, bits: 32 },
    {
      kind: "struct",
      name: "endpoint",
      size: 8,
      members: [
        { name: "address", type: 1, bitOffset: 0, bitSize: 0 },
        { name: "port", type: 1, bitOffset: 32, bitSize: 0 },
      ],
    },
  ],
};

function map(part: Partial<MapSpec>): MapSpec {
  return {
    name: "m",
    type: "hash",
    keySize: 4,
    valueSize: 4,
    maxEntries: 4,
    flags: 0,
    pinning: "none",
    keyType: 1,
    valueType: 1,
    readOnly: false,
    contents: [],
    dataSection: undefined,
    inner: undefined,
    slots: [],
    ...part,
  };
}

/** Entries (`key=value` in hex) and problems of map `m` under this YAML, with ports 2 and 3. */
function contents(
  spec: MapSpec,
  yaml: string,
): { entries: string[]; slots?: string[]; problems: string[] } {
  const text = `filters:\n  f:\n    maps:\n      m:\n        ${yaml.replaceAll("\n", "\n        ")}\nports: { 2: app, 3: pot, 4: two, 5: two }\n`;
  const source = readYaml(text, "t.yaml");
  if (!source.ok) throw new Error(String(source.error));
  const config = readableParts(source.value.value);
  const problems = new ProblemList(source.value);
  const object: ObjectSpec = {
    file: "f.o",
    license: "GPL",
    programs: ["parse_udp", "parse_tcp"].map((name) => ({
      name,
      section: "xdp",
      type: "xdp",
      bytecode: new Uint8Array(0),
      functions: [],
      lines: [],
    })),
    maps: [map({ name: ".rodata", dataSection: ".rodata" }), spec],
    refusedMaps: [{ name: "peers", code: "MAP", what: "it is a sockmap", fix: "use another" }],
    variables: [],
    btf,
  };
  const filter = config.filters.get("f")!;
  const { entries: byMap, slots } = atOnce(
    readMapContents(object, filter, ["filters", "f"], folder, config.ports, problems),
  );
  return {
    entries: Array.from(byMap[1]!, ({ key, value }) => `${toHex(key)}=${toHex(value)}`),
    ...(spec.type === "prog_array" && {
      slots: slots.map(({ map: of, index, program }) => `${of}[${index}]=${program}`),
    }),
    problems: problems.found.map((problem) => problem.message.replaceAll(`${folder}/`, "")),
  };
}

const entry = (key: string, value: string): string => `entries: [{ key: ${key}, value: ${value} }]`;

for (const { name, spec, yaml, entries } of [
  { name: "numbers", spec: {}, yaml: entry("1", "0x10"), entries: ["01000000=10000000"] },
  { name: "addresses", spec: {}, yaml: entry("192.0.2.1", "1"), entries: ["c0000201=01000000"] },
  {
    name: "blocks for structs, what is left out zero",
    spec: { keySize: 8, keyType: 2 },
    yaml: entry("{ port: 53 }", "1"),
    entries: ["0000000035000000=01000000"],
  },
  {
    name: "hex bytes where there is no type",
    spec: { keySize: 3, keyType: undefined },
    yaml: entry("hex:0a0b0c", "hex:01020304"),
    entries: ["0a0b0c=01020304"],
  },
  {
    name: "a port's name in a device map",
    spec: { type: "devmap_hash" },
    yaml: entry("7", "pot"),
    entries: ["07000000=03000000"],
  },
  {
    name: "a port's name in a device map whose value has room for a program",
    spec: { type: "devmap", valueSize: 8, valueType: undefined },
    yaml: entry("0", "app"),
    entries: ["00000000=0200000000000000"],
  },
  {
    name: "a number in a device map",
    spec: { type: "devmap" },
    yaml: entry("3", "9"),
    entries: ["03000000=09000000"],
  },
  {
    name: "the same entry twice, once",
    spec: {},
    yaml: "entries: [{ key: 1, value: 1 }, { key: 0x1, value: 1 }]",
    entries: ["01000000=01000000"],
  },
] as const satisfies readonly {
  name: string;
  spec: Partial<MapSpec>;
  yaml: string;
  entries: readonly string[];
}[])
  test(`map entries take ${name}`, () => {
    expect(contents(map(spec), yaml)).toEqual({ entries, problems: [] });
  });

for (const { name, spec, yaml, problems } of [
  {
    name: "the same key with two values",
    spec: {},
    yaml: "entries: [{ key: 1, value: 1 }, { key: 1, value: 2 }]",
    problems: [
      "t.yaml:5:41: filters.f.maps.m.entries[1]: the key has another value at t.yaml:5:19; keep one of the two",
    ],
  },
  {
    name: "an index beyond an array",
    spec: { type: "array" },
    yaml: entry("4", "1"),
    problems: [
      "t.yaml:5:19: filters.f.maps.m.entries[0]: index 4 is beyond map m, which has 4 entries; write an index from 0 to 3",
    ],
  },
  {
    name: "more entries than the map takes",
    spec: { maxEntries: 1 },
    yaml: "entries: [{ key: 1, value: 1 }, { key: 2, value: 1 }]",
    problems: [
      "t.yaml:5:41: filters.f.maps.m.entries[1]: map m takes 1 entries, and this is one more; remove entries, or build the object with a larger max_entries",
    ],
  },
  {
    name: "a port that does not exist",
    spec: { type: "devmap" },
    yaml: entry("1", "ap"),
    problems: [
      't.yaml:5:36: filters.f.maps.m.entries[0].value: no port stands for "ap"; did you mean app?',
    ],
  },
  {
    name: "a name that two ports have",
    spec: { type: "devmap" },
    yaml: entry("1", "two"),
    problems: [
      't.yaml:5:36: filters.f.maps.m.entries[0].value: several ports stand for "two"; write a number: 4 or 5',
    ],
  },
  {
    name: "a member's value that does not fit, at the member",
    spec: { keySize: 8, keyType: 2 },
    yaml: "entries:\n  - key:\n      port: 5000000000\n    value: 1",
    problems: [
      "t.yaml:7:21: filters.f.maps.m.entries[0].key.port: 5000000000 does not fit __u32; write a whole number from 0 to 4294967295",
    ],
  },
] as const satisfies readonly {
  name: string;
  spec: Partial<MapSpec>;
  yaml: string;
  problems: readonly string[];
}[])
  test(`map entries refuse ${name}`, () => {
    expect(contents(map(spec), yaml).problems).toEqual(problems);
  });

test("a data section is no map to put entries into", () => {
  const { problems } = contents(map({ name: "other" }), "entries: []");
  expect(problems).toEqual(['t.yaml:4:7: filters.f.maps.m: no map "m" in f.o; there is other']);
});

test("a value that names a map which cannot be says why", () => {
  const spec = map({ type: "hash_of_maps", inner: map({}), keyType: undefined });
  expect(contents(spec, entry("1", "peers")).problems).toEqual([
    expect.stringMatching(/\.value: map "peers" cannot be: it is a sockmap; use another$/),
  ]);
});

test("an entry file adds to the entries, and its lines are told by file and line", () => {
  writeFileSync(
    join(folder, "good.csv"),
    "# comment\n\n1,10\n 2 , 0x14 # inline\r\n192.0.2.1,30\n",
  );
  expect(contents(map({}), "file: good.csv").entries).toEqual([
    "01000000=0a000000",
    "02000000=14000000",
    "c0000201=1e000000",
  ]);
  writeFileSync(
    join(folder, "structs.csv"),
    '{ address: 192.0.2.1, port: 53 },1\n[1, 2],1\n"{",1\n{ a,1\n',
  );
  expect(contents(map({ keySize: 8, keyType: 2 }), "file: structs.csv")).toEqual({
    entries: ["c000020135000000=01000000"],
    problems: [
      expect.stringMatching(/^structs\.csv:2:1: key: /),
      expect.stringMatching(/^structs\.csv:3:1: key: /),
      'structs.csv:4:1: "{ a,1" is not a key and a value; write key,value',
    ],
  });
  writeFileSync(
    join(folder, "bad.csv"),
    `1\n1,2,3\n,\n5,x\n9,9\n1,1\n${"1".repeat(5000)},1\n2,1\n`,
  );
  expect(
    contents(map({ maxEntries: 2 }), "entries: [{ key: 9, value: 1 }]\nfile: bad.csv"),
  ).toEqual({
    entries: ["09000000=01000000", "01000000=01000000"],
    problems: [
      "bad.csv:1:1: expected a key and a value, found 1 field; write key,value",
      "bad.csv:2:1: expected a key and a value, found 3 fields; write key,value",
      expect.stringMatching(/^bad\.csv:3:1: key: /),
      expect.stringMatching(/^bad\.csv:3:1: value: /),
      expect.stringMatching(/^bad\.csv:4:1: value: /),
      "bad.csv:5:1: the key has another value at t.yaml:5:19; keep one of the two",
      "bad.csv:7:4097: the line is longer than 4096 characters; write one key,value a line",
      "bad.csv:8:1: map m takes 2 entries, and this is one more; remove entries, or build the object with a larger max_entries",
    ],
  });
});

test("an entry file that is not text, or not there, is told at the key that names it", () => {
  writeFileSync(join(folder, "binary.csv"), Uint8Array.of(0xff, 0xfe, 0x31));
  expect(contents(map({}), "file: binary.csv").problems).toEqual([
    "t.yaml:5:15: filters.f.maps.m.file: binary.csv: is not text in UTF-8; convert it",
  ]);
  expect(contents(map({}), "file: absent.csv").problems).toEqual([
    "t.yaml:5:15: filters.f.maps.m.file: absent.csv: there is no such file; check the path",
  ]);
});

test("a hundred thousand lines are read", () => {
  const lines = Array.from(
    { length: 100_000 },
    (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255},1`,
  );
  writeFileSync(join(folder, "large.csv"), lines.join("\n"));
  const { entries, problems } = contents(map({ maxEntries: 100_000 }), "file: large.csv");
  expect(problems).toEqual([]);
  expect(entries).toHaveLength(100_000);
  expect(entries.at(-1)).toBe("0a01869f=01000000");
});

const programMap = { type: "prog_array", keyType: undefined, valueType: undefined } as const;

test("a prog_array's entries name programs, in the config and in a file, and are no bytes", () => {
  writeFileSync(join(folder, "programs.csv"), "2,parse_udp\n");
  const yaml = `entries: [{ key: 0, value: parse_tcp }, { key: 3, value: parse_udp }]\nfile: programs.csv`;
  expect(contents(map(programMap), yaml)).toEqual({
    entries: [],
    slots: ["1[0]=parse_tcp", "1[3]=parse_udp", "1[2]=parse_udp"],
    problems: [],
  });
});

test("a prog_array's entries are refused with place and suggestion", () => {
  writeFileSync(join(folder, "wrong.csv"), "0,parse_up\n");
  const yaml = `entries:
  - { key: 1, value: parse_udq }
  - { key: 1, value: 7 }
  - { key: 4, value: parse_udp }
  - { key: 1, value: parse_udp }
  - { key: 1, value: parse_tcp }
file: wrong.csv`;
  expect(contents(map(programMap), yaml).problems).toMatchInlineSnapshot(`
    [
      "t.yaml:6:30: filters.f.maps.m.entries[0].value: no program "parse_udq" in f.o; did you mean parse_udp?",
      "t.yaml:7:30: filters.f.maps.m.entries[1].value: a prog_array's value is the name of a program; there are parse_udp, parse_tcp",
      "t.yaml:8:13: filters.f.maps.m.entries[2]: index 4 is beyond map m, which has 4 entries; write an index from 0 to 3",
      "t.yaml:10:13: filters.f.maps.m.entries[4]: the key has another value at t.yaml:9:13; keep one of the two",
      "wrong.csv:1:1: value: no program "parse_up" in f.o; did you mean parse_udp?",
    ]
  `);
});
