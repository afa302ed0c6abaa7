import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { unplacedMap } from "../../src/maps/map-handle.ts";
import { autoMetrics } from "../../src/metrics/auto-metrics.ts";
import { mapMetric, mapMetrics } from "../../src/metrics/map-metric.ts";
import { mapMetricsSchema } from "../../src/metrics/map-metric-schema.ts";
import type { MapMetricSpec, MapMetricsSpec } from "../../src/metrics/map-metric-spec.ts";
import type { MetricMap } from "../../src/metrics/map-source.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec } from "../../src/object/object-spec.ts";
import { compile } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { bytes, join, le, samples } from "./fixtures.ts";

const withClang = needing("clang");
const source = fileURLToPath(new URL("./auto-metrics.c", import.meta.url));

function loaded(file: string, content: Uint8Array): ObjectSpec {
  const object = loadObject(content, file);
  if (!object.ok) throw object.error;
  return object.value;
}

const shipped = (name: string): ObjectSpec =>
  loaded(name, readFileSync(new URL(`../../filters/${name}`, import.meta.url)));

function made(object: ObjectSpec): MapMetricsSpec {
  const metrics = autoMetrics(object);
  if (!metrics.ok) throw new Error(metrics.error.what);
  return metrics.value;
}

/** The object's maps, each with the entries given for it. */
function mapsOf(
  object: ObjectSpec,
  entries: Readonly<Record<string, readonly (readonly [Uint8Array, ...Uint8Array[]])[]>> = {},
): MetricMap[] {
  return object.maps.map((map) => {
    const own = entries[map.name] ?? [];
    return {
      name: map.name,
      btf: object.btf,
      valueType: map.valueType,
      source: {
        handle: unplacedMap(map),
        count: own.length,
        *entries() {
          for (const [key, ...values] of own) yield { key, values };
        },
      },
    };
  });
}

/** A metric's labels in short: `name:size+padding decoder,decoder`. */
function labelsOf({ labels }: MapMetricSpec): string[] {
  return labels.map(
    ({ name, size, padding, decoders }) =>
      `${name}:${size}${padding === 0 ? "" : `+${padding}`} ${decoders.map((one) => one.name).join()}`,
  );
}

describe("metrics: auto", () => {
  withClang("makes a metric of each whole number in a map's values", () => {
    const { counters, gauges, histograms } = made(loaded("auto.o", compile(source)));
    expect(counters.map(({ name, map, field }) => [name, map, field])).toEqual([
      ["by_index_total", "by_index", undefined],
      ["by_reason_packets_total", "by_reason_total", "packets"],
      ["by_reason_balance_total", "by_reason_total", "balance"],
      ["by_reason_depth_low_total", "by_reason_total", "depth.low"],
      ["by_reason_depth_worst_total", "by_reason_total", "depth.worst"],
      ["queues_total", "queues", undefined],
    ]);
    expect(gauges.map(({ name, map, field }) => [name, map, field])).toEqual([
      ["single", "single", undefined],
      ["by_reason", "by_reason", undefined],
      ["flows", "flows", undefined],
      ["rules", "rules", undefined],
      ["bits", "bits", undefined],
      ["weight", ".data", "weight"],
      ["seen", ".bss", "seen"],
    ]);
    expect(histograms).toEqual([]);
    expect(counters[1]?.help).toBe("packets in map by_reason_total, by reason");
    expect(gauges[0]?.help).toBe("Value in map single");
    expect(gauges.at(-1)?.help).toBe("Global variable seen");
  });

  withClang("makes labels of the members of a key", () => {
    const { counters, gauges } = made(loaded("auto.o", compile(source)));
    const all = new Map([...counters, ...gauges].map((metric) => [metric.name, labelsOf(metric)]));
    expect(all.get("single")).toEqual([]);
    expect(all.get("by_index_total")).toEqual(["key:4 uint"]);
    expect(all.get("by_reason")).toEqual(["reason:4 uint,static_map"]);
    expect(all.get("flows")).toEqual([
      "source:4 inet_ip",
      "destination_address:16 inet_ip",
      "port:2 uint_be",
      "hardware:6 hex",
      "name:8 string",
      "delta:2+2 int",
      "reason:4+3 uint,static_map",
      "urgent:1 uint",
    ]);
    expect(all.get("rules")).toEqual(["prefixlen:4 uint", "address:4 inet_ip"]);
    expect(all.get("bits")).toEqual(["key:4 hex"]);
  });

  withClang("gives a member called cpu a name that does not mean the worker's number", () => {
    const queues = made(loaded("auto.o", compile(source))).counters.at(-1)!;
    expect(labelsOf(queues)).toEqual(["queue:2 uint", "key_cpu:2 uint"]);
  });

  withClang("makes only what the block could have said, and what its maps can give", () => {
    const object = loaded("auto.o", compile(source));
    const metrics = made(object);
    expect(mapMetricsSchema.safeParse(metrics)).toMatchObject({ success: true });
    expect(mapMetrics(metrics, mapsOf(object), () => "")).toMatchObject({ ok: true });
  });

  withClang("shows entries with their labels as text", () => {
    const object = loaded("auto.o", compile(source));
    const key = join(
      bytes("c0000201"),
      bytes("20010db8000000000000000000000001"),
      bytes("0035"),
      bytes("020000000001"),
      bytes("6e616d6500000000"),
      le(-2, 2),
      le(0, 2),
      le(7, 4),
      le(0, 3),
      le(1, 1),
    );
    const maps = mapsOf(object, { flows: [[key, le(9, 1)]], by_reason: [[le(0, 4), le(-3n, 8)]] });
    const shown = ["flows", "by_reason"].flatMap((name) => {
      const spec = made(object).gauges.find((metric) => metric.name === name)!;
      const metric = mapMetric("gauge", spec, maps, "here");
      if (!metric.ok) throw metric.error;
      return samples(metric.value.family);
    });
    expect(shown).toEqual([
      'flows{source="192.0.2.1",destination_address="2001:db8::1",port="53",hardware="020000000001",name="name",delta="-2",reason="too_long",urgent="1"} 9',
      'by_reason{reason="too_short"} -3',
    ]);
  });

  test("takes the names that size-limit.c gives its enums", () => {
    const object = shipped("size-limit.o");
    const metrics = made(object);
    const packets = join(le(17, 4), le(1, 4));
    const maps = mapsOf(object, { size_limited_packets_total: [[packets, le(2, 8), le(3, 8)]] });
    const metric = mapMetric("counter", metrics.counters[0]!, maps, "here");
    if (!metric.ok) throw metric.error;
    expect(samples(metric.value.family)).toEqual([
      'size_limited_packets_total{protocol="udp",reason="too_long"} 5',
    ]);
  });

  test("is refused for an object without BTF", () => {
    expect(autoMetrics({ ...shipped("size-limit.o"), btf: undefined })).toMatchObject({
      ok: false,
      error: { what: "the object has no BTF, which tells what its maps hold" },
    });
  });

  test("is refused where no map holds numbers under a typed key", () => {
    const object = shipped("size-limit.o");
    const maps = object.maps.filter(({ readOnly }) => readOnly);
    expect(autoMetrics({ ...object, maps })).toMatchObject({
      ok: false,
      error: { what: "none of its maps holds whole numbers under keys of a known type" },
    });
  });

  test("is refused for more numbers than anyone looks at", () => {
    const object = shipped("size-limit.o");
    const [first] = object.maps;
    const maps = Array.from({ length: 200 }, (_, i) => ({ ...first!, name: `limits_${i}` }));
    expect(autoMetrics({ ...object, maps })).toMatchObject({
      ok: false,
      error: { what: "its maps hold more than 256 numbers" },
    });
  });

  test("ends on structs that double at each level", () => {
    const u32 = { kind: "int", name: "u32", size: 4, signed: false, bool: false } as const;
    const types: NonNullable<ObjectSpec["btf"]>["types"][number][] = [
      { kind: "void" },
      { ...u32, char: false, bits: 32 },
    ];
    for (let level = 0; level < 40; level++)
      types.push({
        kind: "struct",
        name: `level${level}`,
        size: 4 * 2 ** level,
        members: ["left", "right"].map((name, i) => ({
          name,
          type: types.length - 1,
          bitOffset: i * 32 * 2 ** level,
          bitSize: 0,
        })),
      });
    const map = { ...shipped("size-limit.o").maps[0]!, keyType: 1, valueType: types.length - 1 };
    const asValue = { ...map, type: "array", keySize: 4, maxEntries: 1 } as const;
    expect(autoMetrics({ btf: { types }, maps: [asValue] })).toMatchObject({ ok: false });
    const keySize = 4 * 2 ** 39;
    const asKey = { ...map, keyType: types.length - 1, valueType: 1, keySize };
    expect(autoMetrics({ btf: { types }, maps: [asKey] })).toMatchObject({ ok: false });
  });
});
