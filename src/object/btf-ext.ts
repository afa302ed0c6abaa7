import { u16le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { sortByOffset } from "./records.ts";
import type { StringTable } from "./string-table.ts";

/** One line of source that an instruction came from. Offsets in bytes within the section. */
export interface LineRecord {
  readonly offset: number;
  readonly file: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

/** The BTF type (of kind function) of the function that begins at `offset`. */
export interface FunctionRecord {
  readonly offset: number;
  readonly type: number;
}

/** An instruction that the kernel would adjust to its own struct layouts. struct bpf_core_relo. */
export interface CoreRecord {
  readonly offset: number;
  readonly type: number;
  /** The path to the field by member numbers, "0:1:2". */
  readonly access: string;
  /** enum bpf_core_relo_kind. */
  readonly kind: number;
}

/** `.BTF.ext` by the names of the sections that it speaks of; records by offset. */
export interface BtfExt {
  readonly functions: ReadonlyMap<string, readonly FunctionRecord[]>;
  readonly lines: ReadonlyMap<string, readonly LineRecord[]>;
  readonly coreRelocations: ReadonlyMap<string, readonly CoreRecord[]>;
}

/** Decodes a `.BTF.ext` section. Kernel documentation, bpf/btf.rst, section 4. */
export function decodeBtfExt(
  bytes: Uint8Array,
  strings: StringTable,
  file: string,
): Result<BtfExt, UserError> {
  if (bytes.length < 24) return bad(file, `${bytes.length} bytes, shorter than its header`);
  if (u16le(bytes, 0) !== 0xeb9f || bytes[2] !== 1)
    return bad(
      file,
      `magic 0x${u16le(bytes, 0).toString(16)}, version ${bytes[2]}; expected 0xeb9f, 1`,
    );
  const headerBytes = u32le(bytes, 4);
  if (headerBytes < 24 || headerBytes > bytes.length)
    return bad(file, `a header of ${headerBytes} bytes in ${bytes.length}`);

  const part = (at: number, what: string): Result<Part, UserError> => {
    const start = headerBytes + u32le(bytes, at);
    const end = start + u32le(bytes, at + 4);
    return end > bytes.length
      ? bad(file, `its ${what} would end at byte ${end} of ${bytes.length}`)
      : ok({ bytes: bytes.subarray(start, end), what, file, strings });
  };

  const functions = decodePart(part(8, "function information"), 8, (at, of) => ({
    offset: u32le(of, at),
    type: u32le(of, at + 4),
  }));
  if (!functions.ok) return functions;
  const lines = decodePart(part(16, "line information"), 16, (at, of) => {
    const source = strings.read(u32le(of, at + 4));
    const text = strings.read(u32le(of, at + 8));
    if (source === undefined || text === undefined) return undefined;
    const position = u32le(of, at + 12);
    return {
      offset: u32le(of, at),
      // clang writes "./" before what was given without a folder.
      file: source.replace(/^(\.\/)+/, ""),
      text,
      line: position >>> 10,
      column: position & 0x3ff,
    };
  });
  if (!lines.ok) return lines;
  // Objects older than CO-RE have a shorter header.
  const core = headerBytes >= 32 ? part(24, "CO-RE relocations") : undefined;
  const coreRelocations = decodePart(core, 16, (at, of) => {
    const access = strings.read(u32le(of, at + 8));
    if (access === undefined) return undefined;
    return { offset: u32le(of, at), type: u32le(of, at + 4), access, kind: u32le(of, at + 12) };
  });
  if (!coreRelocations.ok) return coreRelocations;
  return ok({
    functions: functions.value,
    lines: lines.value,
    coreRelocations: coreRelocations.value,
  });
}

interface Part {
  readonly bytes: Uint8Array;
  readonly what: string;
  readonly file: string;
  readonly strings: StringTable;
}

/** The size of a record, then for each section its name, a count, and that many records. */
function decodePart<Row extends { readonly offset: number }>(
  part: Result<Part, UserError> | undefined,
  leastRecordBytes: number,
  decodeRecord: (at: number, of: Uint8Array) => Row | undefined,
): Result<Map<string, readonly Row[]>, UserError> {
  const bySection = new Map<string, readonly Row[]>();
  if (part === undefined) return ok(bySection);
  if (!part.ok) return part;
  const { bytes, what, file, strings } = part.value;
  if (bytes.length === 0) return ok(bySection);
  const recordBytes = bytes.length < 4 ? 0 : u32le(bytes, 0);
  if (recordBytes < leastRecordBytes || recordBytes % 4 !== 0)
    return bad(
      file,
      `${what}: records of ${recordBytes} bytes, expected ${leastRecordBytes} or more`,
    );
  for (let at = 4; at < bytes.length; ) {
    const cut = at + 8 > bytes.length;
    const count = cut ? 0 : u32le(bytes, at + 4);
    const end = at + 8 + count * recordBytes;
    if (cut || end > bytes.length) return bad(file, `${what}: it is cut off at byte ${at}`);
    const name = strings.read(u32le(bytes, at));
    if (name === undefined)
      return bad(
        file,
        `${what}: a section's name, string ${u32le(bytes, at)}, is outside the table`,
      );
    const rows = [...(bySection.get(name) ?? [])];
    for (let record = at + 8; record < end; record += recordBytes) {
      const row = decodeRecord(record, bytes);
      if (row === undefined)
        return bad(file, `${what}: a string of the record at byte ${record} is outside the table`);
      rows.push(row);
    }
    bySection.set(name, sortByOffset(rows));
    at = end;
  }
  return ok(bySection);
}

function bad(file: string, what: string) {
  return err(
    new UserError("OBJECT_BAD_BTF", `${file}, section ".BTF.ext"`, what, "build the object again"),
  );
}
