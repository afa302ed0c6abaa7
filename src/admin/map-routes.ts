import { z } from "zod";
import { errno } from "../common/errno.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { storageBytes } from "../maps/create-map.ts";
import { nameOfType } from "../object/btf-types.ts";
import { shown } from "../object/encode-value.ts";
import { isCollection, parseCollection } from "../object/written-text.ts";
import { UPDATE_ANY, UPDATE_EXIST, UPDATE_NOEXIST } from "../runtime/wasm/layout.ts";
import type { Control } from "./control.ts";
import { parseVariables, sectionOf } from "./data-section.ts";
import type { Inventory, MapItem } from "./inventory.ts";
import { type EntryReply, formatEntry, formatKey, parseKey, parseMapValue } from "./map-values.ts";
import { mapRefusal } from "./problem.ts";
import { doneReply, entryReply, keyReply, mapReply } from "./replies.ts";
import { type AnyRoute, replying, streaming } from "./route.ts";

const none = z.strictObject({});
const mapName = z.strictObject({
  map: z.string().describe("A map's number, name, or filter/name."),
});
const raw = z.strictObject({
  raw: z.enum(["true", "false"]).optional().describe("true: keys and values as hex: and bytes."),
});
const written = z
  .unknown()
  .refine((value) => value !== undefined && value !== null, { error: "is missing" })
  .describe(
    "A number, text (an address, a CIDR, hex: and bytes), a list, or an object of members.",
  );
const key = z.strictObject({ key: written });
const keyIfAny = z.unknown().describe("Of maps that have keys.").optional();

const updateFlags = { any: UPDATE_ANY, noexist: UPDATE_NOEXIST, exist: UPDATE_EXIST } as const;

/** A reload takes milliseconds for what small maps hold; clients wait 10 seconds for an answer. */
const maxMovingMs = 5_000;

/** Entries a batch of a dump: between batches the main thread does other things. */
const entriesAtOnce = 256;

/** Maps and their entries. Operations are those of bpf(2), on the maps that workers use as they run. */
export const mapRoutes: readonly AnyRoute[] = [
  replying({
    method: "GET",
    path: "/v1/maps",
    id: "listMaps",
    summary: "All maps of all filters",
    parameters: none,
    query: none,
    body: undefined,
    reply: z.array(mapReply),
    handle: ({ control }) => {
      const inventory = control.inventory();
      return ok(inventory.maps.map((map) => describeMap(control, map)));
    },
  }),
  replying({
    method: "GET",
    path: "/v1/maps/{map}",
    id: "getMap",
    summary: "One map",
    parameters: mapName,
    query: none,
    body: undefined,
    reply: mapReply,
    handle: ({ control, path }) => {
      const map = control.inventory().map(path.map);
      return map.ok ? ok(describeMap(control, map.value)) : map;
    },
  }),
  streaming({
    method: "GET",
    path: "/v1/maps/{map}/entries",
    id: "streamEntries",
    summary: "A map's entries, a line each, while packets flow",
    parameters: mapName,
    query: raw,
    row: entryReply,
    handle: ({ control, path, query }) => {
      const inventory = control.inventory();
      const map = inventory.map(path.map);
      return map.ok ? ok(entries(control, map.value, query.raw === "true")) : map;
    },
  }),
  replying({
    method: "POST",
    path: "/v1/maps/{map}/lookup",
    id: "lookupEntry",
    summary: "The entry of a key; of a queue or stack, without one, what would be popped",
    parameters: mapName,
    query: raw,
    body: z.strictObject({ key: keyIfAny }),
    reply: entryReply,
    handle: ({ control, path, query, body }) => {
      const inventory = control.inventory();
      const map = inventory.map(path.map);
      if (!map.ok) return map;
      const bytes = parseKey(map.value, body.key);
      if (!bytes.ok) return bytes;
      const values = map.value.source.lookup(bytes.value);
      if (values === undefined) return err(noEntry(map.value, missing(map.value)));
      return ok(
        formatEntry(inventory, map.value, { key: bytes.value, values }, query.raw === "true"),
      );
    },
  }),
  replying({
    method: "POST",
    path: "/v1/maps/{map}/next",
    id: "nextKey",
    summary: "The key after a key; the first without one, or where it is gone",
    parameters: mapName,
    query: raw,
    body: z.strictObject({ key: z.unknown().optional() }),
    reply: keyReply,
    handle: ({ control, path, query, body }) => {
      const map = control.inventory().map(path.map);
      if (!map.ok) return map;
      const from = body.key === undefined ? ok(undefined) : parseKey(map.value, body.key);
      if (!from.ok) return from;
      const next = map.value.source.nextKey(from.value);
      if (next === undefined) return err(noEntry(map.value, "there is no key after it"));
      return ok({ key: formatKey(map.value, next, query.raw === "true") });
    },
  }),
  replying({
    method: "POST",
    path: "/v1/maps/{map}/update",
    id: "updateEntry",
    summary:
      "Sets the value of a key; a per-CPU map's for all workers. Without a key: pushes to what has none, sets variables of a data section",
    parameters: mapName,
    query: none,
    body: z.strictObject({
      key: keyIfAny,
      value: written,
      flags: z
        .enum(["any", "noexist", "exist"])
        .default("any")
        .describe("noexist: only if there is none; exist: only if there is one."),
    }),
    reply: doneReply,
    handle: async ({ control, path, body }) => {
      const settled = await mapsSettled(control);
      if (!settled.ok) return settled;
      const inventory = control.inventory();
      const map = inventory.map(path.map);
      if (!map.ok) return map;
      const keyBytes = parseKey(map.value, body.key);
      if (!keyBytes.ok) return keyBytes;
      const variables =
        map.value.dataSection === undefined ? ok(undefined) : recordOf(map.value, body.value);
      if (!variables.ok) return variables;
      if (variables.value !== undefined) return setVariables(inventory, map.value, variables.value);
      const value = parseMapValue(inventory, map.value, body.value);
      if (!value.ok) return value;
      const { source } = map.value;
      return done(map.value, source.update(keyBytes.value, value.value, updateFlags[body.flags]));
    },
  }),
  replying({
    method: "POST",
    path: "/v1/maps/{map}/pop",
    id: "popEntry",
    summary: "Takes the next value out of a queue or stack",
    parameters: mapName,
    query: raw,
    body: undefined,
    reply: entryReply,
    handle: ({ control, path, query }) => {
      const inventory = control.inventory();
      const map = inventory.map(path.map);
      return map.ok ? pop(inventory, map.value, query.raw === "true") : map;
    },
  }),
  replying({
    method: "POST",
    path: "/v1/maps/{map}/delete",
    id: "deleteEntry",
    summary: "Deletes the entry of a key",
    parameters: mapName,
    query: none,
    body: key,
    reply: doneReply,
    handle: async ({ control, path, body }) => {
      const settled = await mapsSettled(control);
      if (!settled.ok) return settled;
      const map = control.inventory().map(path.map);
      if (!map.ok) return map;
      const bytes = parseKey(map.value, body.key);
      return bytes.ok ? done(map.value, map.value.source.remove(bytes.value)) : bytes;
    },
  }),
  ...(["pin", "unpin"] as const).map((action) =>
    replying({
      method: "POST",
      path: `/v1/maps/{map}/${action}`,
      id: `${action}Map`,
      summary:
        action === "pin"
          ? "Saves a map in stateDir, now and from now on, and puts its contents back at each start"
          : "Ends what pin began, and removes the map's file",
      parameters: mapName,
      query: none,
      body: undefined,
      reply: mapReply,
      handle: ({ control, path }) => setPinned(control, path.map, action === "pin"),
    }),
  ),
];

/**
 * Waits while a reload moves what maps hold: what is written meanwhile would stay in a map that goes.
 * After it nothing may be awaited before the inventory is asked and the map written.
 */
async function mapsSettled(control: Control): Promise<Result<undefined, UserError>> {
  const moving = control.mapsMoving();
  if (moving === undefined) return ok(undefined);
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(true), maxMovingMs);
  const isLate = await Promise.race([moving.then(() => false), late.promise]);
  clearTimeout(timer);
  if (!isLate) return ok(undefined);
  return err(
    new UserError(
      "MAP_MOVING",
      "maps",
      "a reload moves what they hold, and takes long; nothing was changed",
      "try again when it is over",
    ),
  );
}

function pop(inventory: Inventory, map: MapItem, isRaw: boolean): Result<EntryReply, UserError> {
  const { source, handle } = map;
  if (handle.type !== "queue" && handle.type !== "stack")
    return err(
      new UserError(
        "MAP_REFUSED",
        `map ${handle.name}`,
        `nothing is popped from a map of type ${handle.type}`,
        "name a queue or a stack",
      ),
    );
  if (!source.isWritable) return err(mapRefusal(`map ${handle.name}`, errno.EPERM));
  const value = source.pop();
  if (value === undefined) return err(noEntry(map, missing(map)));
  return ok(formatEntry(inventory, map, { key: new Uint8Array(0), values: [value] }, isRaw));
}

/** An object, or the text of one, as a command line gives it; undefined for anything else. */
function recordOf(
  { handle }: MapItem,
  value: unknown,
): Result<Readonly<Record<string, unknown>> | undefined, UserError> {
  const isWritten = typeof value === "string" && isCollection(value, "{");
  const read = isWritten ? parseCollection(value) : ok(value);
  if (!read.ok)
    return err(
      new UserError(
        "VALUE_TYPE",
        `map ${handle.name}, value`,
        `${shown(value)} ${read.error}`,
        "write its variables as in YAML or JSON: { NAME: … }",
      ),
    );
  const record = read.value;
  return ok(
    typeof record === "object" && record !== null && !Array.isArray(record)
      ? (record as Readonly<Record<string, unknown>>)
      : undefined,
  );
}

/** Each where it lies: what programs do to other variables meanwhile stays. */
function setVariables(
  inventory: Inventory,
  map: MapItem,
  written: Readonly<Record<string, unknown>>,
): Result<{ done: true }, UserError> {
  const parts = parseVariables(sectionOf(inventory, map), map, written);
  if (!parts.ok) return parts;
  for (const { offset, bytes } of parts.value) {
    const result = map.source.updateWithin(offset, bytes);
    if (result !== 0) return done(map, result);
  }
  return ok({ done: true });
}

async function setPinned(
  control: Control,
  reference: string,
  pinned: boolean,
): Promise<Result<z.output<typeof mapReply>, UserError>> {
  const inventory = control.inventory();
  const map = inventory.map(reference);
  if (!map.ok) return map;
  const { pin, source, handle } = map.value;
  if (!pin.ok) return pin;
  const { file } = pin.value;
  if (!pinned) {
    const refuse = (what: string, fix: string): Result<never, UserError> =>
      err(new UserError("PIN_REFUSED", `map ${handle.name}`, what, fix));
    if (!control.pins.keeps(file)) return refuse("is not pinned", "see weir map show");
    // Filters that share it have one file for it.
    const declaring = inventory.maps.find(
      (one) => one.pin.ok && one.pin.value.isDeclared && one.pin.value.file === file,
    );
    if (declaring !== undefined)
      return refuse(
        `is pinned by the config, in filter ${declaring.filter}`,
        "remove pin: true there, and reload",
      );
  }
  const kept = { map: source, file };
  const failure = await (pinned ? control.pins.pin(kept) : control.pins.unpin(kept));
  if (failure !== undefined) return err(failure);
  control.onChange(pinned ? "map pinned" : "map unpinned", {
    map: `${map.value.filter}/${handle.name}`,
    file,
  });
  return ok(describeMap(control, map.value));
}

function done(map: MapItem, result: number): Result<{ done: true }, UserError> {
  return result === 0 ? ok({ done: true }) : err(mapRefusal(`map ${map.handle.name}`, -result));
}

function missing({ handle }: MapItem): string | undefined {
  if (handle.keySize > 0) return undefined;
  return handle.type === "queue" || handle.type === "stack"
    ? "it is empty"
    : `a map of type ${handle.type} shows nothing of what it holds`;
}

function noEntry(map: MapItem, what = "there is no entry of this key"): UserError {
  return new UserError("MAP_NO_ENTRY", `map ${map.handle.name}`, what);
}

function describeMap(control: Control, map: MapItem): z.output<typeof mapReply> {
  const { handle, btf, keyType, valueType, pin } = map;
  const typeName = (type: number | undefined): string | undefined =>
    btf === undefined || type === undefined ? undefined : nameOfType(btf, type);
  const key = typeName(keyType);
  const value = typeName(valueType);
  return {
    id: map.id,
    type: handle.type,
    name: handle.name,
    filter: map.filter,
    flags: handle.flags,
    bytes_key: handle.keySize,
    bytes_value: handle.valueSize,
    max_entries: handle.maxEntries,
    entries: map.source.count,
    bytes_memlock: storageBytes(handle, control.inventory().parts.plan.workers.length),
    frozen: handle.frozen === true,
    ...(key === undefined ? {} : { key }),
    ...(value === undefined ? {} : { value }),
    ...(pin.ok && control.pins.keeps(pin.value.file) ? { pinned: pin.value.file } : {}),
  };
}

async function* entries(
  control: Control,
  map: MapItem,
  isRaw: boolean,
): AsyncGenerator<EntryReply[]> {
  const inventory = control.inventory();
  if (!inventory.has(map)) throw gone(map);
  let batch: EntryReply[] = [];
  for (const entry of map.source.entries())
    if (batch.push(formatEntry(inventory, map, entry, isRaw)) === entriesAtOnce) {
      yield batch;
      batch = [];
      // Its memory may have become another map's.
      if (!control.inventory().has(map)) throw gone(map);
    }
  yield batch;
}

function gone(map: MapItem): UserError {
  return new UserError(
    "MAP_GONE",
    `map ${map.handle.name}`,
    "a reload took it away while it was read",
    "read the map that is there now",
  );
}
