import { putU32le, toHex, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { innerMapValue } from "../maps/inner-maps.ts";
import type { MapContent } from "../maps/map-access.ts";
import { formatTyped, parseTyped } from "../maps/typed.ts";
import { shown } from "../object/encode-value.ts";
import { holdsMaps } from "../object/map-rules.ts";
import { formatVariables, sectionOf } from "./data-section.ts";
import type { Inventory, MapItem } from "./inventory.ts";

/** An entry as the API tells it: typed by BTF, or `hex:` and bytes. Per-CPU maps have `values`. */
export interface EntryReply {
  readonly key?: unknown;
  readonly value?: unknown;
  readonly values?: unknown[];
  readonly inner_map?: string;
}

/** `raw`: all as `hex:` and bytes. */
export function formatEntry(
  inventory: Inventory,
  map: MapItem,
  { key, values }: MapContent,
  raw = false,
): EntryReply {
  const shown = values.map((value) => (raw ? hexOf(value) : formatMapValue(inventory, map, value)));
  const inner = innerName(inventory, map, values[0]!);
  const entry = {
    ...(map.handle.keySize === 0 ? {} : { key: formatKey(map, key, raw) }),
    ...(inner === undefined ? {} : { inner_map: inner }),
  };
  return isPerCpu(map) ? { ...entry, values: shown } : { ...entry, value: shown[0] };
}

export function formatKey(map: MapItem, key: Uint8Array, raw = false): unknown {
  return raw ? hexOf(key) : formatTyped(map.btf, map.keyType, key);
}

function formatMapValue(inventory: Inventory, map: MapItem, value: Uint8Array): unknown {
  if (map.handle.type === "prog_array")
    return inventory.parts.plan.tailCalled?.[u32le(value, 0) - 1]?.name ?? u32le(value, 0);
  if (map.dataSection !== undefined) {
    const variables = formatVariables(sectionOf(inventory, map), value);
    if (variables !== undefined) return variables;
  }
  return innerName(inventory, map, value) ?? formatTyped(map.btf, map.valueType, value);
}

/** The map that a map of maps holds here: its name, with its filter's where that is another. */
function innerName(inventory: Inventory, map: MapItem, value: Uint8Array): string | undefined {
  if (!holdsMaps(map.handle.type)) return undefined;
  const descriptor = u32le(value, 0);
  const found = inventory.maps.filter(({ handle }) => handle.descriptor === descriptor);
  const own = found.find(({ filter }) => filter === map.filter);
  const [other] = found;
  return own?.handle.name ?? (other && `${other.filter}/${other.handle.name}`);
}

function isPerCpu(map: MapItem): boolean {
  return map.handle.type.includes("percpu");
}

function hexOf(bytes: Uint8Array): string {
  return `hex:${toHex(bytes)}`;
}

/** Queues, stacks and bloom filters have keys of no bytes, a data section one key: none is written. */
export function parseKey(map: MapItem, written: unknown): Result<Uint8Array, UserError> {
  const { keySize, name } = map.handle;
  if (written === undefined || written === null) {
    if (keySize === 0 || map.dataSection !== undefined) return ok(new Uint8Array(keySize));
    return err(
      new UserError(
        "REQUEST_INVALID",
        `map ${name}, key`,
        "none is given",
        "write key and the key",
      ),
    );
  }
  if (keySize === 0)
    return err(
      new UserError(
        "MAP_NO_KEYS",
        `map ${name}, key`,
        `a map of type ${map.handle.type} has no keys`,
        "leave it out",
      ),
    );
  return at("key", map, parseTyped(map.btf, map.keyType, map.handle.keySize, written));
}

/**
 * A value as written. A prog_array's is the name of one of the programs that its workers have
 * loaded for tail calls: those that the object or the config puts into some slot. A map of maps' is
 * the name or number of a map.
 */
export function parseMapValue(
  inventory: Inventory,
  map: MapItem,
  written: unknown,
): Result<Uint8Array, UserError> {
  if (map.handle.type === "prog_array") return programNumber(inventory, map, written);
  if (holdsMaps(map.handle.type)) return innerValue(inventory, map, written);
  const value = parseTyped(map.btf, map.valueType, map.handle.valueSize, written);
  if (!value.ok && map.dataSection !== undefined) {
    const [name] = sectionOf(inventory, map).variables.keys();
    if (name !== undefined) return err(noVariables(map, name, written));
  }
  return at("value", map, value);
}

function noVariables({ handle }: MapItem, name: string, written: unknown): UserError {
  return new UserError(
    "VALUE_TYPE",
    `map ${handle.name}, value`,
    `${shown(written)} is no value of its variables`,
    `write {"${name}": …}, or hex: and ${handle.valueSize * 2} hex digits`,
  );
}

function innerValue(
  inventory: Inventory,
  map: MapItem,
  written: unknown,
): Result<Uint8Array, UserError> {
  const refuse = (what: string, fix: string): Result<never, UserError> =>
    err(new UserError("MAP_INNER", `map ${map.handle.name}, value`, what, fix));
  if (typeof written !== "string" && typeof written !== "number")
    return refuse("the value of a map of maps is a map", "give its name or number");
  const reference = String(written);
  const own = inventory.maps.find(
    ({ filter, handle }) => filter === map.filter && handle.name === reference,
  );
  const inner = own === undefined ? inventory.map(reference) : ok(own);
  if (!inner.ok) return inner;
  const { handle } = inner.value;
  if (!map.source.takes(handle))
    return refuse(
      `map ${handle.name} is not like those that it holds`,
      "give one of the type, sizes and flags that its object declares",
    );
  return ok(innerMapValue(handle));
}

function programNumber(
  inventory: Inventory,
  map: MapItem,
  written: unknown,
): Result<Uint8Array, UserError> {
  const all = inventory.parts.plan.tailCalled ?? [];
  const own = all.filter(({ name }) => name.startsWith(`${map.filter}:`));
  const named = own.find(({ name, program }) => name === written || program.name === written);
  const where = `map ${map.handle.name}, value`;
  if (named === undefined)
    return err(
      new UserError(
        "MAP_NO_PROGRAM",
        where,
        typeof written === "string"
          ? `program ${JSON.stringify(written).slice(0, 80)} is not loaded for tail calls of this filter`
          : "a prog_array's value is the name of a program",
        own.length === 0
          ? "name it in a slot of the config, and restart"
          : `name one of ${own.map(({ program }) => program.name).join(", ")}`,
      ),
    );
  const user = inventory.programs.find(
    ({ filter, plan }) =>
      filter.name === map.filter &&
      plan.program.type !== named.program.type &&
      plan.program.instructions.some(
        (one) =>
          one.kind === "load_map" &&
          plan.program.maps[one.map]!.descriptor === map.handle.descriptor,
      ),
  );
  if (user !== undefined)
    return err(
      new UserError(
        "MAP_PROGRAM_TYPE",
        where,
        `program ${named.program.name} is of type ${named.program.type}, and ${user.spec.name}, which calls through this map, of type ${user.plan.program.type}`,
        "let a prog_array hold programs of one type",
      ),
    );
  const value = new Uint8Array(4);
  putU32le(value, 0, all.indexOf(named) + 1);
  return ok(value);
}

/** Puts the map's name, and which part is wrong, before where the error is. */
function at(
  part: "key" | "value",
  map: MapItem,
  parsed: Result<Uint8Array, UserError>,
): Result<Uint8Array, UserError> {
  if (parsed.ok) return parsed;
  const { code, where, what, fix } = parsed.error;
  const inside = where.startsWith("value") ? where.slice("value".length) : ` ${where}`;
  return err(new UserError(code, `map ${map.handle.name}, ${part}${inside}`, what, fix));
}
