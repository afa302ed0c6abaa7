import type { z } from "zod";
import type { entryReply, mapReply } from "../admin/replies.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { refusalOf } from "../object/object-spec.ts";
import { type ControlOptions, reportError, segment, withControl } from "./control-client.ts";
import { type EntryParts, parseEntryWords, referenceOf, splitReference } from "./entry-words.ts";
import { namedOf } from "./live-program.ts";
import { objectInPlaceOfName } from "./object-word.ts";
import type { ProgOptions } from "./prog-control.ts";
import { readObject } from "./read-object.ts";
import {
  type ExitCode,
  errorObject,
  exitCodes,
  jsonText,
  printJsonRows,
  type Terminal,
} from "./terminal.ts";

type Map = z.output<typeof mapReply>;
type Entry = z.output<typeof entryReply>;

/** `weir map list` and `map show`: all maps, or those that are named. */
export async function mapShow(
  action: "list" | "show",
  words: readonly string[],
  options: ProgOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const command = `map ${action}`;
  const reference = words.length === 0 ? ok(undefined) : referenceOf(words);
  if (!reference.ok) return reportError(command, reference.error, terminal);
  const print = (maps: readonly Partial<Map>[]): Result<undefined, UserError> => {
    const [only, ...others] = maps;
    if (options.json === true)
      terminal.out(jsonText(words.length > 0 && others.length === 0 ? only : maps, options));
    else for (const map of maps) terminal.out(mapText(map));
    return ok(undefined);
  };
  if (options.object !== undefined) {
    const found = objectMaps(options.object, reference.value);
    if (!found.ok) return reportError(command, found.error, terminal);
    const { maps, refused } = found.value;
    const rows = refused.map(({ name, error }) => ({ name, error: errorObject(error) }));
    print(options.json === true ? [...maps, ...rows] : maps);
    for (const { error } of refused) reportError(command, error, terminal);
    return refused.length === 0 ? exitCodes.done : exitCodes.failed;
  }
  const misplaced = objectInPlaceOfName(command, words);
  if (misplaced !== undefined) return reportError(command, misplaced, terminal);
  return withControl(command, options, terminal, async (client) => {
    const maps = await namedOf<Map>(client, "/v1/maps", words);
    return maps.ok ? print(maps.value) : maps;
  });
}

/** An object's maps, numbered from 1, and those that cannot be; one of them by number or name. */
function objectMaps(
  file: string,
  reference: string | undefined,
): Result<
  { maps: Partial<Map>[]; refused: { readonly name: string; readonly error: UserError }[] },
  UserError
> {
  const object = readObject(file);
  if (!object.ok) return object;
  const { refusedMaps = [] } = object.value;
  const maps = object.value.maps
    .map(({ name, type, flags, keySize, valueSize, maxEntries }, i) => ({
      id: i + 1,
      type,
      name,
      flags,
      bytes_key: keySize,
      bytes_value: valueSize,
      max_entries: maxEntries,
    }))
    .filter(({ id, name }) => [undefined, String(id), name].includes(reference));
  const refused = refusedMaps
    .filter(({ name }) => [undefined, name].includes(reference))
    .map(({ name }) => {
      const { code, what, fix } = refusalOf(object.value, name)!;
      return { name, error: new UserError(code, file, what, fix) };
    });
  if (reference === undefined || maps.length + refused.length > 0) return ok({ maps, refused });
  const names = [...object.value.maps, ...refusedMaps].map(({ name }) => name);
  return err(
    new UserError(
      "MAP_UNKNOWN",
      file,
      `has no map "${reference}"`,
      `it has ${names.join(", ") || "none"}`,
    ),
  );
}

function mapText(map: Partial<Map>): string {
  const { id, type, name, filter, flags = 0, entries, frozen, bytes_memlock } = map;
  const second = [
    `key ${map.bytes_key}B  value ${map.bytes_value}B  max_entries ${map.max_entries}`,
    entries === undefined ? undefined : `entries ${entries}`,
    bytes_memlock === undefined ? undefined : `memlock ${bytes_memlock}B`,
    frozen === true ? "frozen" : undefined,
    map.pinned === undefined ? undefined : `pinned ${map.pinned}`,
  ];
  const owner = filter === undefined ? "" : `  filter ${filter}`;
  return `${id}: ${type}  name ${name}  flags 0x${flags.toString(16)}${owner}\n\t${second.filter(Boolean).join("  ")}\n`;
}

/** `weir map dump MAP`: all entries, as they are read. */
export async function mapDump(
  words: readonly string[],
  options: ControlOptions & { readonly raw?: boolean },
  terminal: Terminal,
): Promise<ExitCode> {
  const reference = referenceOf(words);
  if (!reference.ok) return reportError("map dump", reference.error, terminal);
  return withControl("map dump", options, terminal, async (client) => {
    const query = options.raw === true ? "?raw=true" : "";
    const rows = await client.stream(`/v1/maps/${segment(reference.value)}/entries${query}`);
    if (!rows.ok) return rows;
    const entries = rows.value as AsyncIterable<Entry>;
    if (options.json === true) {
      await printJsonRows(entries, options, terminal);
      return ok(undefined);
    }
    let count = 0;
    for await (const row of entries) {
      terminal.out(entryText(row));
      count++;
    }
    terminal.out(`Found ${count} element${count === 1 ? "" : "s"}\n`);
    return ok(undefined);
  });
}

/** As bpftool prints it. Queues and stacks have values alone. */
function entryText({ key, value, values }: Entry): string {
  const keyText = key === undefined ? "" : `key: ${shown(key)}`;
  if (values === undefined)
    return `${keyText}${key === undefined ? "" : "  "}value: ${shown(value)}\n`;
  return `${keyText}\n${values.map((one, cpu) => `value (CPU ${String(cpu).padStart(2, "0")}): ${shown(one)}\n`).join("")}`;
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** bpftool's operations on one entry: what is written after the map, and what the API calls it. */
const operations = {
  lookup: { operation: "lookup", parts: { key: "optional", value: false } },
  getnext: { operation: "next", parts: { key: "optional", value: false } },
  update: { operation: "update", parts: { key: "optional", value: true } },
  delete: { operation: "delete", parts: { key: "needed", value: false } },
  peek: { operation: "lookup", parts: { key: "none", value: false } },
  push: { operation: "update", parts: { key: "none", value: true } },
  pop: { operation: "pop", parts: { key: "none", value: false } },
  enqueue: { operation: "update", parts: { key: "none", value: true } },
  dequeue: { operation: "pop", parts: { key: "none", value: false } },
} as const satisfies Record<string, { operation: string; parts: EntryParts }>;

/** An operation on one entry, as bpftool calls it. */
export type EntryAction = keyof typeof operations;

/** `weir map lookup|getnext|update|delete MAP key … [value …]`, and those of queues and stacks. */
export async function mapEntry(
  action: EntryAction,
  words: readonly string[],
  options: ControlOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const command = `map ${action}`;
  const named = splitReference(words);
  if (!named.ok) return reportError(command, named.error, terminal);
  const { operation, parts } = operations[action];
  const parsed = parseEntryWords(named.value.rest, parts);
  if (!parsed.ok) return reportError(command, parsed.error, terminal);
  const { key, value, flags } = parsed.value;
  return withControl(command, options, terminal, async (client) => {
    const path = `/v1/maps/${segment(named.value.reference)}/${operation}`;
    const done = await client.send(
      "POST",
      path,
      operation === "pop" ? undefined : { key, value, flags },
    );
    if (!done.ok) return done;
    if (options.json === true) terminal.out(jsonText(done.value, options));
    else if (action === "getnext")
      terminal.out(
        `${key === undefined ? "key: none" : `key: ${shown(key)}`}\nnext key: ${shown((done.value as Entry).key)}\n`,
      );
    else if (operation === "lookup" || operation === "pop")
      terminal.out(entryText(done.value as Entry));
    return ok(undefined);
  });
}

/** `weir map pin MAP`: kept across restarts from now on. `weir map unpin MAP` ends it. */
export async function mapPin(
  action: "pin" | "unpin",
  words: readonly string[],
  options: ControlOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const command = `map ${action}`;
  const named = splitReference(words);
  if (!named.ok) return reportError(command, named.error, terminal);
  const { reference, rest } = named.value;
  if (rest.length > 0)
    return reportError(
      command,
      new UserError(
        "USAGE_PIN_FILE",
        rest.join(" "),
        "a map's file has the map's name, in the proxy's stateDir",
        `write weir ${command} ${words.slice(0, words.length - rest.length).join(" ")}`,
      ),
      terminal,
    );
  return withControl(command, options, terminal, async (client) => {
    const done = await client.send("POST", `/v1/maps/${segment(reference)}/${action}`);
    if (!done.ok) return done;
    const map = done.value as Map;
    if (options.json === true) terminal.out(jsonText(map, options));
    else
      terminal.out(
        map.pinned === undefined
          ? `${map.filter}/${map.name}: no longer kept\n`
          : `${map.filter}/${map.name}: kept across restarts in ${map.pinned}\n`,
      );
    return ok(undefined);
  });
}
