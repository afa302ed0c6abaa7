import { expect, test } from "vitest";
import type { MapMetric } from "../../src/metrics/map-binding.ts";
import { mapMetric } from "../../src/metrics/map-metric.ts";
import type { MapMetricSpec } from "../../src/metrics/map-metric-spec.ts";
import type { BtfType } from "../../src/object/btf.ts";
import { type FakeMap, fakeMap, join, le, metricSpec, samples, uintLabel } from "./fixtures.ts";

function metricOf(spec: MapMetricSpec, map: FakeMap, cap?: number): MapMetric {
  const metric = mapMetric("counter", spec, [fakeMap(map)], "weir.yaml:1:1", cap);
  if (!metric.ok) throw metric.error;
  return metric.value;
}

test("a map is read as one series a key", () => {
  const { family } = metricOf(metricSpec(), {
    entries: [
      [le(1, 4), le(10, 8)],
      [le(7, 4), le(20, 8)],
    ],
  });
  expect(samples(family)).toEqual(['hits_total{rule="1"} 10', 'hits_total{rule="7"} 20']);
});

test("a scrape shows what the map holds then", () => {
  const map: FakeMap = { entries: [[le(1, 4), le(10, 8)]] };
  const { family } = metricOf(metricSpec(), map);
  expect(samples(family)).toEqual(['hits_total{rule="1"} 10']);
  map.entries = [
    [le(2, 4), le(5, 8)],
    [le(1, 4), le(11, 8)],
  ];
  expect(samples(family).sort()).toEqual(['hits_total{rule="1"} 11', 'hits_total{rule="2"} 5']);
  map.entries = [[le(2, 4), le(6, 8)]];
  expect(samples(family)).toEqual(['hits_total{rule="2"} 6']);
  map.entries = [];
  expect(samples(family)).toEqual([]);
});

test("keys in any order between scrapes keep their values", () => {
  const key = (i: number): Uint8Array => le(i, 4);
  const map: FakeMap = { entries: [] };
  const { family } = metricOf(metricSpec(), map);
  for (const order of [
    [1, 2, 3, 4],
    [4, 1, 3, 2],
    [1, 3, 9, 4],
    [9, 4],
    [2, 9, 4, 1, 3],
  ]) {
    map.entries = order.map((i) => [key(i), le(i * 100, 8)]);
    expect(samples(family).sort()).toEqual(
      order.map((i) => `hits_total{rule="${i}"} ${i * 100}`).sort(),
    );
  }
});

test("an entry that comes twice in one walk counts once", () => {
  const entry = [le(1, 4), le(10, 8)] as const;
  const { family } = metricOf(metricSpec(), { entries: [entry, entry] });
  expect(samples(family)).toEqual(['hits_total{rule="1"} 10']);
  expect(samples(family)).toEqual(['hits_total{rule="1"} 10']);
});

test("values of all CPUs are summed", () => {
  const { family } = metricOf(metricSpec(), {
    type: "percpu_hash",
    entries: [[le(1, 4), le(10, 8), le(20, 8), le(12, 8)]],
  });
  expect(samples(family)).toEqual(['hits_total{rule="1"} 42']);
});

test("a last label cpu tells the CPUs of a per-CPU map apart", () => {
  const cpu = { name: "cpu", size: 2, padding: 0, decoders: [{ name: "uint" }] } as const;
  const map: FakeMap = { type: "percpu_array", entries: [[le(1, 4), le(10, 8), le(20, 8)]] };
  const { family } = metricOf(metricSpec({ labels: [uintLabel, cpu] }), map);
  const expected = ['hits_total{rule="1",cpu="0"} 10', 'hits_total{rule="1",cpu="1"} 20'];
  expect(samples(family)).toEqual(expected);
  expect(samples(family)).toEqual(expected);
});

test("a last label cpu alone reads a per-CPU array of one entry", () => {
  const cpu = { name: "cpu", size: 2, padding: 0, decoders: [{ name: "uint" }] } as const;
  const map: FakeMap = {
    type: "percpu_array",
    maxEntries: 1,
    entries: [[le(0, 4), le(3, 8), le(4, 8)]],
  };
  const { family } = metricOf(metricSpec({ labels: [cpu] }), map);
  expect(samples(family)).toEqual(['hits_total{cpu="0"} 3', 'hits_total{cpu="1"} 4']);
});

test("keys that decode alike are summed into one series", () => {
  const labels = [
    {
      ...uintLabel,
      decoders: [
        { name: "uint" },
        { name: "static_map", static_map: { "6": "tcp" }, allow_unknown: false, unknown: "other" },
      ],
    },
  ] as const;
  const { family } = metricOf(metricSpec({ labels }), {
    entries: [
      [le(6, 4), le(1, 8)],
      [le(50, 4), le(10, 8)],
      [le(51, 4), le(100, 8)],
    ],
  });
  const expected = ['hits_total{rule="tcp"} 1', 'hits_total{rule="other"} 110'];
  expect(samples(family)).toEqual(expected);
  expect(samples(family)).toEqual(expected);
});

test("keys that a regexp leaves out are not exported", () => {
  const labels = [
    { ...uintLabel, decoders: [{ name: "uint" }, { name: "regexp", regexps: ["^1"] }] },
  ] as const;
  const { family, dropped } = metricOf(metricSpec({ labels }), {
    entries: [
      [le(1, 4), le(1, 8)],
      [le(2, 4), le(2, 8)],
    ],
  });
  expect(samples(family)).toEqual(['hits_total{rule="1"} 1']);
  expect(dropped).toBe(0);
});

test("a map of one entry needs no labels", () => {
  const { family } = metricOf(metricSpec({ labels: [] }), {
    type: "array",
    maxEntries: 1,
    entries: [[le(0, 4), le(9, 8)]],
  });
  expect(samples(family)).toEqual(["hits_total 9"]);
});

for (const { size, value, expected } of [
  { size: 1, value: 255n, expected: "255" },
  { size: 2, value: 65_535n, expected: "65535" },
  { size: 4, value: 0xffff_ffffn, expected: "4294967295" },
  { size: 8, value: 2n ** 53n - 1n, expected: "9007199254740991" },
  { size: 8, value: 2n ** 64n - 1n, expected: "18446744073709552000" },
])
  test(`a value of ${size} bytes reads ${value} as unsigned`, () => {
    const { family } = metricOf(metricSpec({ labels: [] }), {
      maxEntries: 1,
      valueSize: size,
      entries: [[le(0, 4), le(value, size)]],
    });
    expect(samples(family)).toEqual([`hits_total ${expected}`]);
  });

test("the sum of many CPUs is exact and rounded once", () => {
  const { family } = metricOf(metricSpec({ labels: [] }), {
    maxEntries: 1,
    entries: [[le(0, 4), le(2n ** 52n, 8), le(2n ** 52n - 1n, 8), le(2n ** 63n, 8)]],
  });
  expect(samples(family)).toEqual([`hits_total ${Number(2n ** 63n + 2n ** 53n - 1n)}`]);
});

test("series above the cap are left out and counted, and those known before stay in", () => {
  const map: FakeMap = {
    entries: [1, 2, 3].map((i) => [le(i, 4), le(i, 8)] as const),
  };
  const metric = metricOf(metricSpec(), map, 2);
  expect(samples(metric.family)).toEqual(['hits_total{rule="1"} 1', 'hits_total{rule="2"} 2']);
  expect(metric.dropped).toBe(1);
  map.entries = [3, 2, 1].map((i) => [le(i, 4), le(i, 8)] as const);
  expect(samples(metric.family).sort()).toEqual([
    'hits_total{rule="1"} 1',
    'hits_total{rule="2"} 2',
  ]);
  expect(metric.dropped).toBe(2);
  map.entries = [3, 1].map((i) => [le(i, 4), le(i, 8)] as const);
  samples(metric.family);
  expect(samples(metric.family)).toEqual(['hits_total{rule="1"} 1', 'hits_total{rule="3"} 3']);
});

test("a key that was left out joins its series once another key has brought that in", () => {
  const collapse = { "5": "x", "6": "x" };
  const labels = [
    {
      ...uintLabel,
      decoders: [
        { name: "uint" },
        { name: "static_map", static_map: collapse, allow_unknown: true },
      ],
    },
  ] as const;
  const entry = (i: number): readonly [Uint8Array, Uint8Array] => [le(i, 4), le(i, 8)];
  const map: FakeMap = { entries: [entry(1), entry(5)] };
  const metric = metricOf(metricSpec({ labels }), map, 1);
  expect(samples(metric.family)).toEqual(['hits_total{rule="1"} 1']);
  expect(metric.dropped).toBe(1);
  map.entries = [entry(6), entry(5)];
  samples(metric.family);
  expect(metric.dropped).toBe(3);
  expect(samples(metric.family)).toEqual(['hits_total{rule="x"} 11']);
  expect(samples(metric.family)).toEqual(['hits_total{rule="x"} 11']);
  expect(metric.dropped).toBe(3);
});

// struct stats { u32 packets; union { u64 bytes; s32 delta; }; struct { u16 list[3]; } queue; u8 flag:3; };
const types: readonly BtfType[] = [
  { kind: "void" },
  { kind: "int", name: "u32", size: 4, signed: false, bool: false, char: false, bits: 32 },
  { kind: "int", name: "u64", size: 8, signed: false, bool: false, char: false, bits: 64 },
  { kind: "int", name: "s32", size: 4, signed: true, bool: false, char: false, bits: 32 },
  { kind: "int", name: "u16", size: 2, signed: false, bool: false, char: false, bits: 16 },
  {
    kind: "union",
    name: "",
    size: 8,
    members: [
      { name: "bytes", type: 2, bitOffset: 0, bitSize: 0 },
      { name: "delta", type: 3, bitOffset: 0, bitSize: 0 },
    ],
  },
  { kind: "array", type: 4, index: 1, length: 3 },
  {
    kind: "struct",
    name: "queue",
    size: 6,
    members: [{ name: "list", type: 6, bitOffset: 0, bitSize: 0 }],
  },
  {
    kind: "struct",
    name: "stats",
    size: 24,
    members: [
      { name: "packets", type: 1, bitOffset: 0, bitSize: 0 },
      { name: "", type: 5, bitOffset: 64, bitSize: 0 },
      { name: "queue", type: 7, bitOffset: 128, bitSize: 0 },
      { name: "flag", type: 4, bitOffset: 176, bitSize: 3 },
    ],
  },
  { kind: "typedef", name: "stats_t", type: 8 },
];
const stats = join(le(11, 4), le(0, 4), le(-5, 8), le(1, 2), le(2, 2), le(3, 2), le(0, 2));
const typed: FakeMap = {
  valueSize: 24,
  btf: { types },
  valueType: 9,
  entries: [[le(1, 4), stats, stats]],
};

for (const { field, value } of [
  { field: "packets", value: 22 },
  { field: "delta", value: -10 },
  { field: "queue.list[2]", value: 6 },
  { field: "bytes", value: Number(2n * (2n ** 64n - 5n)) },
])
  test(`field ${field} is found by BTF and summed`, () => {
    const { family } = metricOf(metricSpec({ field }), typed);
    expect(samples(family)).toEqual([`hits_total{rule="1"} ${value}`]);
  });

test("a signed number is negative where BTF says so", () => {
  const { family } = metricOf(metricSpec(), {
    valueSize: 4,
    btf: { types },
    valueType: 3,
    entries: [[le(1, 4), le(-7, 4)]],
  });
  expect(samples(family)).toEqual(['hits_total{rule="1"} -7']);
});

for (const { name, spec, map, code, message } of [
  {
    name: "a map that is not there",
    spec: metricSpec({ map: "other" }),
    map: typed,
    code: "METRIC_NO_MAP",
    message: 'weir.yaml:3:5: metric hits_total: there is no map "other"; set map to one of hits',
  },
  {
    name: "labels shorter than the key",
    spec: metricSpec(),
    map: { keySize: 8, entries: [] },
    code: "METRIC_KEY_SIZE",
    message:
      "weir.yaml:3:5: metric hits_total: its labels cover 4 bytes, and a key of map hits has 8; " +
      "add labels, or padding to one, for the other 4",
  },
  {
    name: "labels longer than the key",
    spec: metricSpec({ labels: [{ ...uintLabel, padding: 4 }] }),
    map: { entries: [] },
    code: "METRIC_KEY_SIZE",
    message:
      "weir.yaml:3:5: metric hits_total: its labels cover 8 bytes, and a key of map hits has 4; " +
      "lower a size or padding",
  },
  {
    name: "no labels for a map of many entries",
    spec: metricSpec({ labels: [] }),
    map: { entries: [] },
    code: "METRIC_KEY_SIZE",
    message:
      "weir.yaml:3:5: metric hits_total: its labels cover 0 bytes, and a key of map hits has 4; " +
      "add labels, or padding to one, for the other 4",
  },
  {
    name: "a map without numbers",
    spec: metricSpec(),
    map: { type: "devmap", entries: [] },
    code: "METRIC_MAP_TYPE",
    message:
      "weir.yaml:3:5: metric hits_total: map hits is of type devmap, which holds no numbers; choose " +
      "a map of type array, percpu_array, hash, percpu_hash, lru_hash, lru_percpu_hash, lpm_trie",
  },
  {
    name: "a struct value without field",
    spec: metricSpec(),
    map: typed,
    code: "METRIC_VALUE",
    message:
      "weir.yaml:3:5: metric hits_total: map hits: its value is a struct, not a number; set field " +
      "to a member: packets, bytes, delta, queue, flag",
  },
  {
    name: "a field that is not there",
    spec: metricSpec({ field: "queue.length" }),
    map: typed,
    code: "METRIC_VALUE",
    message:
      "weir.yaml:3:5: metric hits_total: map hits: queue has no length; set field to a member: queue.list",
  },
  {
    name: "an array element beyond the end",
    spec: metricSpec({ field: "queue.list[3]" }),
    map: typed,
    code: "METRIC_VALUE",
    message:
      "weir.yaml:3:5: metric hits_total: map hits: queue.list has no [3]; name an element, " +
      "queue.list[0] to queue.list[2]",
  },
  {
    name: "a bit field",
    spec: metricSpec({ field: "flag" }),
    map: typed,
    code: "METRIC_VALUE",
    message:
      "weir.yaml:3:5: metric hits_total: map hits: flag is a bit field; count in a whole integer",
  },
  {
    name: "a field without BTF",
    spec: metricSpec({ field: "packets" }),
    map: { valueSize: 24, entries: [] },
    code: "METRIC_VALUE",
    message:
      'weir.yaml:3:5: metric hits_total: map hits: field "packets" cannot be found: the map has no ' +
      'BTF value type; build the object with -g and declare the map in SEC(".maps") with __type(value, …)',
  },
  {
    name: "a value that is too long for a number",
    spec: metricSpec(),
    map: { valueSize: 24, entries: [] },
    code: "METRIC_VALUE",
    message:
      "weir.yaml:3:5: metric hits_total: map hits: its value has 24 bytes, and a number has 1, 2, 4 " +
      "or 8; choose a map of numbers, or build the object with -g and name a member with field",
  },
] satisfies readonly {
  name: string;
  spec: MapMetricSpec;
  map: FakeMap;
  code: string;
  message: string;
}[])
  test(`a metric over ${name} is refused with a remedy`, () => {
    const metric = mapMetric("counter", spec, [fakeMap(map)], "weir.yaml:3:5");
    expect(metric).toMatchObject({ ok: false, error: { code, message } });
  });

test("a variable of a data section is a field of its map", () => {
  const section: readonly BtfType[] = [
    ...types,
    { kind: "variable", name: "seen", type: 2, linkage: "global" },
    {
      kind: "section",
      name: ".bss",
      size: 16,
      variables: [{ type: types.length, offset: 8, size: 8 }],
    },
  ];
  const { family } = metricOf(metricSpec({ labels: [], map: ".bss", field: "seen" }), {
    name: ".bss",
    type: "array",
    maxEntries: 1,
    valueSize: 16,
    btf: { types: section },
    valueType: section.length - 1,
    entries: [[le(0, 4), join(le(1, 8), le(77, 8))]],
  });
  expect(samples(family)).toEqual(["hits_total 77"]);
});
