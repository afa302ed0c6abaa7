import { parseHex } from "../../src/common/bytes.ts";
import type { ExpositionFormat, MetricFamily } from "../../src/metrics/exposition.ts";
import { renderFamilies } from "../../src/metrics/exposition.ts";
import type { LabelSpec, MapMetricSpec } from "../../src/metrics/map-metric-spec.ts";
import type { MetricMap } from "../../src/metrics/map-source.ts";
import type { MapType } from "../../src/object/object-spec.ts";

export function bytes(hex: string): Uint8Array {
  const parsed = parseHex(hex);
  if (parsed === undefined) throw new RangeError(`${hex} is not hex`);
  return parsed;
}

/** A number in eBPF's byte order. */
export function le(value: number | bigint, size: number): Uint8Array {
  const out = new Uint8Array(size);
  let rest = BigInt.asUintN(size * 8, BigInt(value));
  for (let i = 0; i < size; i++, rest >>= 8n) out[i] = Number(rest & 0xffn);
  return out;
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export interface FakeMap {
  readonly name?: string;
  readonly type?: MapType;
  readonly keySize?: number;
  readonly valueSize?: number;
  readonly maxEntries?: number;
  readonly btf?: MetricMap["btf"];
  readonly valueType?: number;
  /** Read anew by each walk. */
  entries: readonly (readonly [Uint8Array, ...Uint8Array[]])[];
}

/** A map whose entries a test can change between scrapes. */
export function fakeMap(map: FakeMap): MetricMap {
  return {
    name: map.name ?? "hits",
    btf: map.btf,
    valueType: map.valueType,
    source: {
      handle: {
        name: map.name ?? "hits",
        type: map.type ?? "hash",
        keySize: map.keySize ?? 4,
        valueSize: map.valueSize ?? 8,
        maxEntries: map.maxEntries ?? 1_000,
        flags: 0,
        cpus: map.entries[0] === undefined ? 1 : map.entries[0].length - 1,
        descriptor: 0,
        readOnly: false,
        frozen: false,
      },
      get count() {
        return map.entries.length;
      },
      *entries() {
        for (const [key, ...values] of map.entries) yield { key, values };
      },
    },
  };
}

export const uintLabel: LabelSpec = {
  name: "rule",
  size: 4,
  padding: 0,
  decoders: [{ name: "uint" }],
};

export function metricSpec(more: Partial<MapMetricSpec> = {}): MapMetricSpec {
  return { name: "hits_total", help: "Hits", map: "hits", labels: [uintLabel], ...more };
}

/** The sample lines of one family. */
export function samples(family: MetricFamily, format: ExpositionFormat = "text"): string[] {
  const text = renderFamilies([family], format, (name, error) => {
    throw new Error(`${name} skipped: ${error.message}`);
  });
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}
