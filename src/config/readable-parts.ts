import type { z } from "zod";
import { mapMetricsSchema } from "../metrics/map-metric-schema.ts";
import type { MapMetricsSpec } from "../metrics/map-metric-spec.ts";
import { entrySchema, filterSchema, mapSchema } from "./filter-schema.ts";
import { chainItem, listenerSchema } from "./listener-schema.ts";
import { routeSchema } from "./route-schema.ts";
import { configSchema, upstreamSchema } from "./schema.ts";

type Readable<Schema extends z.ZodObject> = Partial<z.output<Schema>>;

/** Undefined where the schema has already refused the item. */
type ReadableList<Item> = readonly (Item | undefined)[];

export interface ReadableListener
  extends Omit<Readable<typeof listenerSchema>, "ingress" | "egress"> {
  readonly ingress: ReadableList<string>;
  readonly egress: ReadableList<string>;
}
export type ReadableUpstream = Readable<typeof upstreamSchema>;

export interface ReadableRoute extends Readable<typeof routeSchema> {
  /** It names a port, readable or not. */
  readonly namesPort: boolean;
}

export type ReadableEntry = z.output<typeof entrySchema>;

export interface ReadableMap {
  readonly entries: ReadableList<ReadableEntry>;
  readonly file: string | undefined;
  readonly innerOf: string | undefined;
  readonly maxEntries: number | undefined;
  readonly pin: boolean;
}

export type MetricKind = "counters" | "gauges" | "histograms";

export type ReadableMetrics = {
  readonly [Kind in MetricKind]: ReadableList<MapMetricsSpec[Kind][number]>;
} & {
  /** Made from the object's BTF: the lists are empty. */
  readonly auto: boolean;
};

/** What a filter can be made of; it names one of them. */
const filterSources = ["object", "expression", "bytecode"] as const;
type FilterSource = (typeof filterSources)[number];

export interface ReadableFilter extends Omit<Readable<typeof filterSchema>, "maps" | "metrics"> {
  /** Which sources of its program are written, readable or not; undefined if it is no block. */
  readonly sources: readonly FilterSource[] | undefined;
  readonly metrics: ReadableMetrics;
  readonly maps: ReadonlyMap<string, ReadableMap>;
}

/**
 * What of a config can be read on its own, key by key. Checks that go across keys run on this, so
 * that a misspelt key in one corner hides no unknown name in another.
 */
export interface ReadableConfig {
  readonly top: Readable<typeof configSchema>;
  readonly upstreams: ReadonlyMap<string, ReadableUpstream>;
  /** Number as written → the upstream's name. */
  readonly ports: ReadonlyMap<string, string>;
  readonly filters: ReadonlyMap<string, ReadableFilter>;
  readonly listeners: readonly ReadableListener[];
  readonly routes: readonly ReadableRoute[];
}

export function readableParts(value: unknown): ReadableConfig {
  const ports = [...members(memberOf(value, "ports"))];
  return {
    top: parts(configSchema, value),
    upstreams: named(memberOf(value, "upstreams"), (one) => parts(upstreamSchema, one)),
    ports: new Map(ports.filter((pair): pair is [string, string] => typeof pair[1] === "string")),
    filters: named(memberOf(value, "filters"), (one) => ({
      ...parts(filterSchema, one),
      sources: isBlock(one)
        ? filterSources.filter((key) => memberOf(one, key) !== undefined)
        : undefined,
      maps: named(memberOf(one, "maps"), readableMap),
      metrics: readableMetrics(memberOf(one, "metrics")),
    })),
    listeners: elements(memberOf(value, "listeners")).map((one) => ({
      ...parts(listenerSchema, one),
      ingress: readableList(memberOf(one, "ingress"), chainItem),
      egress: readableList(memberOf(one, "egress"), chainItem),
    })),
    routes: elements(memberOf(value, "routes")).map((one) => ({
      ...parts(routeSchema, one),
      namesPort: memberOf(one, "port") !== undefined,
    })),
  };
}

function readableMap(value: unknown): ReadableMap {
  const { file, innerOf, maxEntries, pin } = parts(mapSchema, value);
  return {
    entries: readableList(memberOf(value, "entries"), entrySchema),
    file,
    innerOf,
    maxEntries,
    pin: pin ?? false,
  };
}

function readableMetrics(value: unknown): ReadableMetrics {
  // One at a time: a metric that is wrong hides no other.
  const read = (kind: MetricKind) =>
    elements(memberOf(value, kind)).map(
      (one) => mapMetricsSchema.safeParse({ [kind]: [one] }).data,
    );
  return {
    auto: value === "auto",
    counters: read("counters").map((block) => block?.counters[0]),
    gauges: read("gauges").map((block) => block?.gauges[0]),
    histograms: read("histograms").map((block) => block?.histograms[0]),
  };
}

function readableList<Item extends z.ZodType>(
  value: unknown,
  item: Item,
): ReadableList<z.output<Item>> {
  return elements(value).map((one) => item.safeParse(one).data);
}

/** The keys of a block whose values are right by themselves, with defaults for those left out. */
function parts<Schema extends z.ZodObject>(schema: Schema, value: unknown): Readable<Schema> {
  const right: Record<string, unknown> = {};
  for (const [key, of] of Object.entries(schema.shape)) {
    const parsed = (of as z.ZodType).safeParse(memberOf(value, key));
    if (parsed.success && parsed.data !== undefined) right[key] = parsed.data;
  }
  return right as Readable<Schema>;
}

function named<T>(value: unknown, read: (one: unknown) => T): ReadonlyMap<string, T> {
  return new Map([...members(value)].map(([name, one]) => [name, read(one)]));
}

function isBlock(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function members(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.entries(value)
    : [];
}

function elements(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}
