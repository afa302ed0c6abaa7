import { putU32le, u32le } from "../common/bytes.ts";
import { suggestion } from "../common/closest.ts";
import { err, ok, type Result } from "../common/result.ts";
import { eachInSteps, type Steps } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
import type { ProgramSlot } from "../filter/program-arrays.ts";
import { takesMap } from "../maps/inner-maps.ts";
import { unplacedMap } from "../maps/map-handle.ts";
import { parseTyped } from "../maps/typed.ts";
import { holdsEvents, holdsMaps } from "../object/map-rules.ts";
import { type MapSpec, type MapType, type ObjectSpec, refusalOf } from "../object/object-spec.ts";
import { ConfigProblem, type KeyPath, type Position } from "./config-problem.ts";
import { type FileEntry, readEntryFile } from "./entry-file.ts";
import { EntryTable } from "./entry-table.ts";
import { type ProblemList, refuseTyped } from "./problem-list.ts";
import { fileAt } from "./read-file.ts";
import type { ReadableFilter, ReadableMap } from "./readable-parts.ts";
import { quote } from "./scalars.ts";

/** Number as written → the upstream's name. */
type Ports = ReadonlyMap<string, string>;

/** What the config puts into a filter's maps. */
export interface MapContents {
  /** Entries for each map of the object, in its order; prog_arrays have none. */
  readonly entries: EntryTable[];
  /** The programs that the config puts into prog_arrays. */
  readonly slots: readonly WrittenSlot[];
}

/** A slot of a prog_array as written, and how to say what is wrong about it. */
export interface WrittenSlot extends ProgramSlot {
  readonly refuse: Refuse;
}

type Refuse = (what: string, fix: string | undefined, detail?: readonly string[]) => void;

/**
 * Reads what a filter's `maps` say: entries and entry files, each value as its map's type has it. A
 * file may have a million lines.
 */
export function* readMapContents(
  object: ObjectSpec,
  filter: ReadableFilter,
  path: KeyPath,
  folder: string,
  ports: Ports,
  problems: ProblemList,
): Steps<MapContents> {
  const entries = object.maps.map((map) => new EntryTable(map));
  const slots: WrittenSlot[] = [];
  const named = object.maps.filter((map) => map.dataSection === undefined);
  for (const [name, written] of filter.maps) {
    const at = [...path, "maps", name];
    const index = object.maps.findIndex(
      (map) => map.name === name && map.dataSection === undefined,
    );
    const map = object.maps[index];
    // Of what could not be made has been told.
    if (map === undefined && written.innerOf !== undefined) continue;
    const refusal = refusalOf(object, name);
    if (map === undefined && refusal !== undefined)
      problems.key("CONFIG_OBJECT", at, refusal.what, refusal.fix);
    else if (map === undefined)
      problems.key(
        "CONFIG_REFERENCE",
        at,
        `no map ${quote(name)} in ${object.file}`,
        suggestion(
          name,
          named.map((one) => one.name),
          "the object has none",
        ),
      );
    else {
      const read = yield* readMap(map, object, written, at, folder, ports, problems);
      if (map.type !== "prog_array") entries[index] = read.entries;
      else
        for (const [i, { key, value }] of [...read.entries].entries()) {
          const program = object.programs[u32le(value, 0)]!.name;
          slots.push({ map: index, index: u32le(key, 0), program, refuse: read.refusals[i]! });
        }
    }
  }
  return { entries, slots };
}

function* readMap(
  map: MapSpec,
  object: ObjectSpec,
  written: ReadableMap,
  path: KeyPath,
  folder: string,
  ports: Ports,
  problems: ProblemList,
): Steps<Collected> {
  const file = written.file === undefined ? undefined : fileAt(folder, written.file);
  const collected = new Collected(map, file);
  for (const [i, entry] of written.entries.entries()) {
    if (entry === undefined) continue;
    const at = [...path, "entries", i];
    const key = parseKey(map, object, entry.key);
    const value = parseValue(map, object, entry.value, ports);
    if (!key.ok)
      refuseTyped(key.error, "value", entry.key === undefined ? at : [...at, "key"], problems);
    if (!value.ok) refuseTyped(value.error, "value", [...at, "value"], problems);
    if (!key.ok || !value.ok) continue;
    const refuse: Refuse = (what, fix, detail) =>
      problems.value("CONFIG_ENTRY", at, what, fix, detail);
    collected.add(key.value, value.value, problems.place(at), refuse);
    yield;
  }
  if (file === undefined) return collected;
  const lines = readEntryFile(file);
  if (!lines.ok) {
    problems.value("CONFIG_ENTRY", [...path, "file"], lines.error.what, lines.error.fix);
    return collected;
  }
  const before = problems.found.length;
  yield* eachInSteps(lines.value, (line) => {
    if (line instanceof ConfigProblem) problems.found.push(line);
    else addLine(line, file, { map, object, ports, collected, problems });
    if (problems.found.length - before < maxFileProblems) return undefined;
    const what = `there are ${maxFileProblems} problems up to here: the rest is not read`;
    const at = { ...(line instanceof ConfigProblem ? line.position : line.at), column: 1 };
    problems.found.push(new ConfigProblem("CONFIG_ENTRY", file, at, what, "mend them first"));
    return true;
  });
  return collected;
}

/** No more of one file are shown, and it may be a file of millions of other lines. */
const maxFileProblems = 99;

/** Reads one line's key and value, and takes them if they fit. */
function addLine(
  { key: keyText, value: valueText, at }: FileEntry,
  file: string,
  { map, object, ports, collected, problems }: LineBench,
): void {
  const refuse: Refuse = (what, fix, detail) => {
    problems.found.push(new ConfigProblem("CONFIG_ENTRY", file, at, what, fix, detail));
  };
  const key = parseKey(map, object, keyText);
  const value = parseValue(map, object, valueText, ports);
  if (!key.ok) refuse(`key: ${key.error.what}`, key.error.fix);
  if (!value.ok) refuse(`value: ${value.error.what}`, value.error.fix);
  if (key.ok && value.ok) collected.add(key.value, value.value, at, refuse);
}

interface LineBench {
  readonly map: MapSpec;
  readonly object: ObjectSpec;
  readonly ports: Ports;
  readonly collected: Collected;
  readonly problems: ProblemList;
}

/** Entries of one map so far: as many as it takes, and no key with two values. */
class Collected {
  readonly entries: EntryTable;
  /** Of a prog_array's entries, how to say what else is wrong about each. */
  readonly refusals: Refuse[] = [];
  readonly #map: MapSpec;

  constructor(map: MapSpec, file: string | undefined) {
    this.#map = map;
    this.entries = new EntryTable(map, file);
  }

  /** Takes an entry that fits, else refuses it. The same key and value again: lists overlap. */
  add(key: Uint8Array, value: Uint8Array, place: string | Position, refuse: Refuse): void {
    const { type, name, maxEntries } = this.#map;
    const misplaced = misplacedKey(this.#map, key);
    if (misplaced !== undefined) {
      refuse(misplaced.what, misplaced.fix);
      return;
    }
    // What has no keys takes the same value as often as it is written.
    const earlier = this.entries.find(key);
    if (earlier !== undefined) {
      if (Buffer.compare(this.entries.value(earlier), value) !== 0)
        refuse(
          `the key has another value at ${this.entries.where(earlier)}`,
          "keep one of the two",
        );
      return;
    }
    if (this.entries.length === maxEntries && type !== "bloom_filter") {
      refuse(
        `map ${name} takes ${maxEntries} entries, and this is one more`,
        "remove entries, or build the object with a larger max_entries",
      );
      return;
    }
    this.entries.add(key, value, place);
    if (type === "prog_array") this.refusals.push(refuse);
  }
}

const indexed: readonly MapType[] = [
  "array",
  "percpu_array",
  "devmap",
  "prog_array",
  "array_of_maps",
  "cpumap",
  "xskmap",
];

/** Device maps, and what holds ports as they do. */
const portMaps: readonly MapType[] = ["devmap", "devmap_hash", "xskmap"];

/** A key of the right size that the map's type has no place for. */
function misplacedKey(map: MapSpec, key: Uint8Array): { what: string; fix: string } | undefined {
  const { name, type, maxEntries } = map;
  if (indexed.includes(type)) {
    const index = u32le(key, 0);
    if (index >= maxEntries)
      return {
        what: `index ${index} is beyond map ${name}, which has ${maxEntries} entries`,
        fix: `write an index from 0 to ${maxEntries - 1}`,
      };
  }
  if (type === "lpm_trie") {
    const length = u32le(key, 0);
    const bits = (map.keySize - 4) * 8;
    if (length > bits)
      return {
        what: `a prefix of ${length} bits is longer than the key of map ${name}, which has ${bits}`,
        fix: `write a prefix length from 0 to ${bits}`,
      };
  }
  return undefined;
}

function parseKey(
  map: MapSpec,
  object: ObjectSpec,
  written: unknown,
): Result<Uint8Array, UserError> {
  const refuse = (what: string, fix: string) =>
    err(new UserError("CONFIG_ENTRY_KEY", "value", what, fix));
  if (map.keySize === 0)
    return written === undefined || written === ""
      ? ok(new Uint8Array(0))
      : refuse(`map ${map.name} is a ${map.type}, which has no keys`, "remove the key");
  if (written === undefined) return refuse("the key is missing", "add key:");
  return parseTyped(object.btf, map.keyType, map.keySize, written);
}

/**
 * A prog_array's value is a program's name: its place among the object's programs; that of a map of
 * maps a map's: its place among the maps. A device map's may be a port's: the ifindex of the port
 * that stands for it.
 */
function parseValue(
  map: MapSpec,
  object: ObjectSpec,
  written: unknown,
  ports: Ports,
): Result<Uint8Array, UserError> {
  if (map.type === "prog_array") return programNumber(object, written);
  if (holdsMaps(map.type)) return mapNumber(map, object, written);
  if (holdsEvents(map.type))
    return err(
      new UserError(
        "CONFIG_ENTRY_TYPE",
        "value",
        `a map of type ${map.type} has no entries to be written`,
        "remove the entry",
      ),
    );
  if (portMaps.includes(map.type) && typeof written === "string") {
    const numbers = [...ports].filter(([, upstream]) => upstream === written);
    if (numbers.length > 1)
      return err(
        new UserError(
          "CONFIG_PORT_AMBIGUOUS",
          "value",
          `several ports stand for ${quote(written)}`,
          `write a number: ${numbers.map(([ifindex]) => ifindex).join(" or ")}`,
        ),
      );
    const [port] = numbers;
    if (port !== undefined) {
      const value = new Uint8Array(map.valueSize);
      putU32le(value, 0, Number(port[0]));
      return { ok: true, value };
    }
    if (!/^(0x|\d)/i.test(written))
      return err(
        new UserError(
          "CONFIG_NO_PORT",
          "value",
          `no port stands for ${quote(written)}`,
          suggestion(written, [...new Set(ports.values())], "add one under ports"),
        ),
      );
  }
  return parseTyped(object.btf, map.valueType, map.valueSize, written);
}

/** The place of the map of this name, which must be such as the map of maps holds. */
function mapNumber(
  outer: MapSpec,
  object: ObjectSpec,
  written: unknown,
): Result<Uint8Array, UserError> {
  const refuse = (what: string, fix: string | undefined) =>
    err(new UserError("CONFIG_NO_MAP", "value", what, fix));
  const refusal = refusalOf(object, written);
  if (refusal !== undefined) return refuse(refusal.what, refusal.fix);
  const takes = (map: MapSpec): boolean =>
    map.dataSection === undefined && takesMap(unplacedMap(outer), unplacedMap(map));
  const names = object.maps.filter(takes).map(({ name }) => name);
  const number = object.maps.findIndex(
    (map) => map.name === written && map.dataSection === undefined,
  );
  if (typeof written !== "string" || number < 0)
    return refuse(
      typeof written === "string"
        ? `no map ${quote(written)} in ${object.file}`
        : "the value of a map of maps is the name of a map",
      suggestion(String(written), names, "the object has none that fits"),
    );
  if (!takes(object.maps[number]!))
    return refuse(
      `map ${quote(written)} is not such a map as ${outer.name} is declared to hold`,
      names.length === 0 ? "declare both alike" : `write ${names.join(" or ")}`,
    );
  const value = new Uint8Array(4);
  putU32le(value, 0, number);
  return ok(value);
}

function programNumber(object: ObjectSpec, written: unknown): Result<Uint8Array, UserError> {
  const names = object.programs.map(({ name }) => name);
  const number = typeof written === "string" ? names.indexOf(written) : -1;
  if (number < 0)
    return err(
      new UserError(
        "CONFIG_NO_PROGRAM",
        "value",
        typeof written === "string"
          ? `no program ${quote(written)} in ${object.file}`
          : "a prog_array's value is the name of a program",
        suggestion(String(written), names, "the object has none"),
      ),
    );
  const value = new Uint8Array(4);
  putU32le(value, 0, number);
  return ok(value);
}
