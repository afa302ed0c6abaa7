import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { parseHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineKind } from "../engine/engine.ts";
import type { Workbench } from "../filter/workbench.ts";
import {
  type MapSpec,
  type MapType,
  mapTypes,
  type ProgramType,
  programTypes,
} from "../object/object-spec.ts";
import { looseProgram } from "./loose-program.ts";
import { returnedOf } from "./prog-run-output.ts";
import { systemReason } from "./read-text.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

/** One line of a batch, checked. */
interface BatchItem {
  readonly bytecode: Uint8Array;
  readonly type: ProgramType;
  readonly engine: EngineKind;
  readonly data: Uint8Array;
  readonly maps: readonly MapSpec[];
}

/** Longest line read: a program of a million instructions in hex, and room for its data. */
const maxLineChars = 32 * 1024 * 1024;

/**
 * `weir prog run --batch`: a program a line in, a result a line out, in order. A program that is
 * refused is a result like any other; only input that cannot be read at all is a failure.
 */
export async function progRunBatch(
  file: string,
  workbench: Workbench,
  terminal: Terminal,
): Promise<ExitCode> {
  const input = file === "-" ? Readable.from(terminal.input()) : createReadStream(file, "utf8");
  const failed = new Promise<unknown>((resolve) => input.once("error", resolve));
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  const done = (async () => {
    for await (const line of lines) {
      if (line.trim() === "") continue;
      terminal.out(`${JSON.stringify(runLine(line, workbench))}\n`);
    }
  })();
  // Whichever comes first: readline neither ends nor throws for every way to fail.
  const failure = await Promise.race([failed, done.catch(systemFailure)]);
  if (failure === undefined) return exitCodes.done;
  terminal.error(`weir prog run: ${file}: ${systemReason(failure)}\n`);
  return exitCodes.failed;
}

/** A read that the system refused. Anything else is a bug, and is thrown on. */
function systemFailure(error: NodeJS.ErrnoException): NodeJS.ErrnoException {
  if (error.syscall === undefined) throw error;
  return error;
}

function runLine(line: string, workbench: Workbench): object {
  const parsed = parseLine(line);
  if (!parsed.ok) return { id: null, error: shown(parsed.error) };
  const { id } = parsed.value;
  const item = batchItem(parsed.value);
  if (!item.ok) return { id, error: shown(item.error) };
  const maps = workbench.createMaps(item.value.maps);
  if (!maps.ok) return { id, error: shown(maps.error) };
  try {
    const { program } = looseProgram("batch", item.value.bytecode);
    const { type, engine, data } = item.value;
    const executable = workbench.prepare(program, maps.value, type, engine, {
      dataBytes: data.length,
    });
    if (!executable.ok) return { id, error: shown(executable.error) };
    const outcome = workbench.run(executable.value, data);
    if (!outcome.ok) return { id, error: shown(outcome.error) };
    const { fault } = outcome.value;
    if (fault === undefined) return { id, ret: returnedOf(outcome.value) };
    const message = `instruction ${fault.slot}: ${fault.message}`;
    return { id, error: { code: fault.code.toUpperCase(), message } };
  } finally {
    workbench.releaseMaps(maps.value);
  }
}

function shown(error: UserError): { code: string; message: string } {
  return { code: error.code, message: error.message };
}

function parseLine(line: string): Result<Record<string, unknown>, UserError> {
  if (line.length > maxLineChars)
    return err(new UserError("BATCH_LINE", "line", `longer than ${maxLineChars} characters`));
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return ok(value as Record<string, unknown>);
  } catch {
    // Said below: what is not JSON and what is not an object are mended the same way.
  }
  const start = line.length > 40 ? `${line.slice(0, 40)}…` : line;
  return err(
    new UserError(
      "BATCH_LINE",
      start,
      "is not a JSON object",
      'expected {"id","insns","type","data"}',
    ),
  );
}

const itemKeys = ["id", "insns", "type", "data", "engine", "maps"];

function batchItem(line: Record<string, unknown>): Result<BatchItem, UserError> {
  const wrong = (key: string, what: string): Result<never, UserError> =>
    err(new UserError("BATCH_ITEM", key, what));
  const unknown = Object.keys(line).find((key) => !itemKeys.includes(key));
  if (unknown !== undefined) return wrong(unknown, `unknown key; known: ${itemKeys.join(", ")}`);
  const { insns, type = "raw", data = "", engine = "interpreter", maps = [] } = line;
  const bytecode = typeof insns === "string" ? parseHex(insns) : undefined;
  if (bytecode === undefined) return wrong("insns", "expected hex, 16 digits an instruction");
  const bytes = typeof data === "string" ? parseHex(data) : undefined;
  if (bytes === undefined) return wrong("data", "expected hex");
  if (!isProgramType(type))
    return wrong("type", `${JSON.stringify(type)}: expected ${programTypes.join(", ")}`);
  if (engine !== "interpreter" && engine !== "jit")
    return wrong("engine", `${JSON.stringify(engine)}: expected interpreter or jit`);
  if (!Array.isArray(maps)) return wrong("maps", "expected a list");
  const specs: MapSpec[] = [];
  for (const [i, map] of maps.entries()) {
    const spec = mapSpec(map, i);
    if (spec === undefined)
      return wrong(
        `maps[${i}]`,
        `expected {"type","key_size","value_size","max_entries"}, type one of ${Object.keys(mapTypes).join(", ")}`,
      );
    specs.push(spec);
  }
  return ok({ bytecode, type, engine, data: bytes, maps: specs });
}

function isProgramType(type: unknown): type is ProgramType {
  return (programTypes as readonly unknown[]).includes(type);
}

function mapSpec(item: unknown, index: number): MapSpec | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  const {
    type,
    key_size,
    value_size,
    max_entries,
    map_flags = 0,
  } = item as Record<string, unknown>;
  if (typeof type !== "string" || !Object.hasOwn(mapTypes, type)) return undefined;
  if (![key_size, value_size, max_entries, map_flags].every(isU32)) return undefined;
  return {
    name: `map${index}`,
    type: type as MapType,
    keySize: key_size as number,
    valueSize: value_size as number,
    maxEntries: max_entries as number,
    flags: map_flags as number,
    pinning: "none",
    keyType: undefined,
    valueType: undefined,
    readOnly: false,
    contents: [],
    dataSection: undefined,
    inner: undefined,
    slots: [],
  };
}

function isU32(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32;
}
