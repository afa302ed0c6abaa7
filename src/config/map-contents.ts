import { isAbsolute, join } from "node:path";
import { putU32le, toHex, u32le } from "../common/bytes.ts";
import { err, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { parseTyped } from "../maps/typed.ts";
import type { MapSpec, ObjectSpec } from "../object/object-spec.ts";
import { suggestion } from "./closest.ts";
import type { EntryBytes } from "./config.ts";
import { ConfigProblem, type KeyPath } from "./config-problem.ts";
import { readEntryFile } from "./entry-file.ts";
import { type ProblemList, refuseTyped } from "./problem-list.ts";
import type { ReadableFilter, ReadableMap } from "./readable-parts.ts";
import { quote } from "./scalars.ts";

/** Number as written → the upstream's name. */
type Ports = ReadonlyMap<string, string>;

/** Entries for each map of `object`, in the order of `object.maps`. */
export function readMapContents(
  object: ObjectSpec,
  filter: ReadableFilter,
  path: KeyPath,
  folder: string,
  ports: Ports,
  problems: ProblemList,
): EntryBytes[][] {
  const contents: EntryBytes[][] = object.maps.map(() => []);
  const named = object.maps.filter((map) => map.dataSection === undefined);
  for (const [name, written] of filter.maps) {
    const at = [...path, "maps", name];
    const index = object.maps.findIndex(
      (map) => map.name === name && map.dataSection === undefined,
    );
    const map = object.maps[index];
    if (map === undefined)
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
    else contents[index] = readMap(map, object, written, at, folder, ports, problems);
  }
  return contents;
}

function readMap(
  map: MapSpec,
  object: ObjectSpec,
  written: ReadableMap,
  path: KeyPath,
  folder: string,
  ports: Ports,
  problems: ProblemList,
): EntryBytes[] {
  const collected = new Collected(map);
  for (const [i, entry] of written.entries.entries()) {
    if (entry === undefined) continue;
    const at = [...path, "entries", i];
    const key = parseKey(map, object, entry.key);
    const value = parseValue(map, object, entry.value, ports);
    if (!key.ok) refuseTyped(key.error, "value", [...at, "key"], problems);
    if (!value.ok) refuseTyped(value.error, "value", [...at, "value"], problems);
    if (!key.ok || !value.ok) continue;
    const wrong = collected.add(key.value, value.value, problems.place(at));
    if (wrong !== undefined) problems.value("CONFIG_ENTRY", at, wrong.what, wrong.fix);
  }
  if (written.file !== undefined) {
    const at = [...path, "file"];
    const file = isAbsolute(written.file) ? written.file : join(folder, written.file);
    const read = readEntryFile(file);
    if (!read.ok) problems.value("CONFIG_ENTRY", at, read.error.what, read.error.fix);
    else {
      for (const problem of read.value.problems) problems.found.push(problem);
      for (const entry of read.value.entries) {
        const refuse = ({ what, fix }: { what: string; fix: string | undefined }): void => {
          problems.found.push(new ConfigProblem("CONFIG_ENTRY", file, entry.at, what, fix));
        };
        const key = parseKey(map, object, entry.key);
        const value = parseValue(map, object, entry.value, ports);
        if (!key.ok) refuse({ ...key.error, what: `key: ${key.error.what}` });
        if (!value.ok) refuse({ ...value.error, what: `value: ${value.error.what}` });
        if (!key.ok || !value.ok) continue;
        const where = `${file}:${entry.at.line}:${entry.at.column}`;
        const wrong = collected.add(key.value, value.value, where);
        if (wrong !== undefined) refuse(wrong);
      }
    }
  }
  return collected.entries;
}

/** Entries of one map so far: as many as it takes, and no key with two values. */
class Collected {
  readonly entries: EntryBytes[] = [];
  readonly #map: MapSpec;
  readonly #byKey = new Map<string, EntryBytes>();

  constructor(map: MapSpec) {
    this.#map = map;
  }

  /** Undefined where the entry fits. The same key and value again is no contradiction: lists overlap. */
  add(
    key: Uint8Array,
    value: Uint8Array,
    where: string,
  ): { what: string; fix: string } | undefined {
    const misplaced = misplacedKey(this.#map, key);
    if (misplaced !== undefined) return misplaced;
    const text = toHex(key);
    const earlier = this.#byKey.get(text);
    if (earlier !== undefined)
      return toHex(earlier.value) === toHex(value)
        ? undefined
        : {
            what: `the key has another value at ${earlier.where}`,
            fix: "keep one of the two",
          };
    if (this.entries.length === this.#map.maxEntries)
      return {
        what: `map ${this.#map.name} takes ${this.#map.maxEntries} entries, and this is one more`,
        fix: "remove entries, or build the object with a larger max_entries",
      };
    const entry = { key, value, where };
    this.#byKey.set(text, entry);
    this.entries.push(entry);
    return undefined;
  }
}

/** A key of the right size that the map's type has no place for. */
function misplacedKey(map: MapSpec, key: Uint8Array): { what: string; fix: string } | undefined {
  const { name, type, maxEntries } = map;
  if (type === "array" || type === "percpu_array" || type === "devmap") {
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
  return parseTyped(object.btf, map.keyType, map.keySize, written);
}

/** A device map's value may be a port's name: the ifindex of the port that stands for it. */
function parseValue(
  map: MapSpec,
  object: ObjectSpec,
  written: unknown,
  ports: Ports,
): Result<Uint8Array, UserError> {
  if ((map.type === "devmap" || map.type === "devmap_hash") && typeof written === "string") {
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
