import type { z } from "zod";
import type { ControlClient } from "../admin/client.ts";
import { decodeObject } from "../admin/object-json.ts";
import type { entryReply, filterReply } from "../admin/replies.ts";
import { parseHex, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { ProgramSlot } from "../filter/program-arrays.ts";
import type { TracedFilter } from "../filter/trace-bench.ts";
import type { ForeignMap, NestedMap } from "../filter/trace-maps.ts";
import type { MapContent } from "../maps/map-access.ts";
import { holdsMaps } from "../object/map-rules.ts";
import type { ObjectSpec } from "../object/object-spec.ts";
import { segment } from "./control-client.ts";

/** What a chain names: a filter, and a program of it where it is not the filter's first. */
export function splitItem(item: string): [filter: string, program: string | undefined] {
  const colon = item.indexOf(":");
  return colon < 0 ? [item, undefined] : [item.slice(0, colon), item.slice(colon + 1)];
}

/** A filter of a running proxy, as a trace takes it. */
export type LiveFilter = Pick<TracedFilter, "object" | "contents" | "slots" | "nested">;

/** A filter's object, and what its maps hold now. */
export async function loadLive(
  client: ControlClient,
  name: string,
  { map_ids }: z.output<typeof filterReply>,
): Promise<Result<LiveFilter, UserError>> {
  const object = await liveObject(client, name);
  if (!object.ok) return object;
  const { maps } = object.value;
  const contents: MapContent[][] = [];
  const slots: ProgramSlot[] = [];
  const nested: NestedMap[] = [];
  const foreign = new Map<string, ForeignMap>();
  for (const [index, map] of maps.entries()) {
    const isPrograms = map.type === "prog_array";
    const read = await rowsOf(client, String(map_ids[index]), !isPrograms);
    if (!read.ok) return read;
    const entries: MapContent[] = [];
    for await (const row of read.value) {
      if (isPrograms) {
        const [, program] = splitItem(String(row.value));
        const key = typeof row.key === "number" ? row.key : u32le(hexBytes(row.key), 0);
        if (program !== undefined) slots.push({ map: index, index: key, program });
      } else if (!holdsMaps(map.type)) entries.push(contentOf(row));
      else if (row.inner_map !== undefined) {
        const own = maps.findIndex((one) => one.name === row.inner_map);
        const inner = own < 0 ? await foreignMap(client, row.inner_map, foreign) : ok(own);
        if (!inner.ok) return inner;
        nested.push({ map: index, key: hexBytes(row.key), inner: inner.value });
      }
    }
    contents.push(entries);
  }
  return ok({ object: asLoaded(object.value, contents), contents, slots, nested });
}

async function liveObject(
  client: ControlClient,
  filter: string,
): Promise<Result<ObjectSpec, UserError>> {
  const json = await client.get(`/v1/filters/${segment(filter)}/object`);
  return json.ok ? decodeObject(json.value, `filter ${filter}`) : json;
}

async function rowsOf(
  client: ControlClient,
  map: string,
  isRaw: boolean,
): Promise<Result<AsyncIterable<z.output<typeof entryReply>>, UserError>> {
  const rows = await client.stream(`/v1/maps/${segment(map)}/entries${isRaw ? "?raw=true" : ""}`);
  return rows.ok ? ok(rows.value as AsyncIterable<z.output<typeof entryReply>>) : rows;
}

/** The map `filter/name` of another filter, which a map of maps holds; the same one each time. */
async function foreignMap(
  client: ControlClient,
  reference: string,
  known: Map<string, ForeignMap>,
): Promise<Result<ForeignMap, UserError>> {
  const before = known.get(reference);
  if (before !== undefined) return ok(before);
  const [filter, name] = reference.split("/", 2);
  const object = await liveObject(client, filter!);
  if (!object.ok) return object;
  const spec = object.value.maps.find((map) => map.name === name);
  if (spec === undefined)
    return err(new UserError("MAP_UNKNOWN", `map ${reference}`, "has gone while it was read"));
  const rows = await rowsOf(client, reference, true);
  if (!rows.ok) return rows;
  const contents: MapContent[] = [];
  for await (const row of rows.value) contents.push(contentOf(row));
  const map = { spec, contents };
  known.set(reference, map);
  return ok(map);
}

/**
 * The object's own tail calls and inner maps left out: the maps say which there are now. What programs cannot change
 * is put back, since the verifier believes it.
 */
function asLoaded(object: ObjectSpec, contents: readonly (readonly MapContent[])[]): ObjectSpec {
  const maps = object.maps.map((map, i) => {
    if (map.type === "prog_array" || holdsMaps(map.type)) return { ...map, slots: [] };
    if (map.dataSection === undefined || !map.readOnly) return map;
    return {
      ...map,
      contents: contents[i]!.map(({ key, values }) => ({ key, value: values[0]! })),
    };
  });
  return { ...object, maps };
}

function contentOf({ key, value, values }: z.output<typeof entryReply>): MapContent {
  // Queues and stacks have no keys.
  return {
    key: key === undefined ? new Uint8Array(0) : hexBytes(key),
    values: (values ?? [value]).map(hexBytes),
  };
}

function hexBytes(written: unknown): Uint8Array {
  const bytes = parseHex(String(written).replace(/^hex:/, ""));
  if (bytes === undefined) throw new Error("an entry that was asked for in hex is in another form");
  return bytes;
}
