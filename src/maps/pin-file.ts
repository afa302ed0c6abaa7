import { createHash } from "node:crypto";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { MapType } from "../object/object-spec.ts";
import type { MapAccess, MapContent } from "./map-access.ts";
import type { MapHandle } from "./map-handle.ts";

/**
 * A map's contents as a file keeps them: a line that names the format, a line of JSON that says what
 * the map is like, the entries (key, then all CPUs' values), and the SHA-256 of all before it.
 */
const formatLine = "weir-map 1\n";
const digestBytes = 32;

/** Types whose contents mean the same after a restart. */
const keptTypes: readonly MapType[] = [
  "array",
  "percpu_array",
  "hash",
  "percpu_hash",
  "lru_hash",
  "lru_percpu_hash",
  "lpm_trie",
  "queue",
  "stack",
  "devmap",
  "devmap_hash",
];

export function canBeKept(type: MapType): boolean {
  return keptTypes.includes(type);
}

/** What has to be the same for saved entries to be taken over; more room is fine. */
interface Schema {
  readonly type: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly flags: number;
}

interface Header extends Schema {
  readonly name: string;
  readonly cpus: number;
  readonly entries: number;
}

/** The file for what a map holds now. Throws a UserError where the map cannot be read. */
export function encodePinFile(map: MapAccess): Buffer {
  const { name, type, keySize, valueSize, flags, cpus } = map.handle;
  const parts: Uint8Array[] = [];
  let entries = 0;
  for (const { key, values } of map.entries()) {
    parts.push(key, ...values);
    entries++;
  }
  const header: Header = { name, type, keySize, valueSize, flags, cpus, entries };
  const text = Buffer.from(`${formatLine}${JSON.stringify(header)}\n`);
  const body = Buffer.concat([text, ...parts]);
  return Buffer.concat([body, createHash("sha256").update(body).digest()]);
}

/** The entries of a file for a map like `handle`, in the order they were saved. */
export function decodePinFile(
  bytes: Uint8Array,
  handle: MapHandle,
  file: string,
): Result<MapContent[], UserError> {
  const corrupt = (what: string) =>
    err(new UserError("PIN_CORRUPT", file, what, "restore it from a copy, or remove it"));
  const body = bytes.subarray(0, Math.max(0, bytes.length - digestBytes));
  const digest = createHash("sha256").update(body).digest();
  if (Buffer.compare(digest, bytes.subarray(body.length)) !== 0)
    return corrupt("it is damaged: its checksum is not that of its contents");
  const header = readHeader(body);
  if (header === undefined) return corrupt("it holds no map of this version of the format");
  const wrong = schemaProblem(header.value, handle);
  if (wrong !== undefined)
    return err(
      new UserError(
        "PIN_MISMATCH",
        file,
        `holds map ${header.value.name} with ${wrong}`,
        "go back to the object that wrote it, or remove the file",
      ),
    );
  const { cpus, entries } = header.value;
  const { keySize, valueSize } = handle;
  const size = keySize + cpus * valueSize;
  if (body.length - header.end !== entries * size) return corrupt("its length is wrong");
  const contents: MapContent[] = [];
  for (let at = header.end; at < body.length; at += size) {
    const values: Uint8Array[] = [];
    // A worker that was not there when it was saved has counted nothing yet.
    for (let cpu = 0; cpu < handle.cpus; cpu++) {
      const start = at + keySize + cpu * valueSize;
      values.push(
        cpu < cpus ? body.slice(start, start + valueSize) : new Uint8Array(handle.valueSize),
      );
    }
    contents.push({ key: body.slice(at, at + keySize), values });
  }
  return ok(contents);
}

function readHeader(body: Uint8Array): { value: Header; end: number } | undefined {
  const start = formatLine.length;
  const end = body.indexOf(10, start) + 1;
  if (end === 0 || Buffer.from(body.subarray(0, start)).toString() !== formatLine) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(body.subarray(start, end)).toString());
    return isHeader(value) ? { value, end } : undefined;
  } catch {
    return undefined;
  }
}

function isHeader(value: unknown): value is Header {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  const counts = ["keySize", "valueSize", "flags", "cpus", "entries"];
  return (
    typeof fields.name === "string" &&
    typeof fields.type === "string" &&
    counts.every((key) => Number.isSafeInteger(fields[key]) && (fields[key] as number) >= 0)
  );
}

/** What of a saved map does not fit, in words. */
function schemaProblem(saved: Header, handle: MapHandle): string | undefined {
  for (const key of ["type", "keySize", "valueSize", "flags"] as const)
    if (saved[key] !== handle[key])
      return `${words[key]} ${saved[key]}, and the object's has ${handle[key]}`;
  if (saved.cpus > handle.cpus)
    return `values of ${saved.cpus} workers, and there are ${handle.cpus}`;
  if (saved.entries > handle.maxEntries)
    return `${saved.entries} entries, and the object's has room for ${handle.maxEntries}`;
  return undefined;
}

const words = {
  type: "type",
  keySize: "key size",
  valueSize: "value size",
  flags: "map_flags",
} as const;
