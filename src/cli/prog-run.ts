import { createReadStream } from "node:fs";
import { parseHex, u32le } from "../common/bytes.ts";
import { errno } from "../common/errno.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineKind, Executable } from "../engine/engine.ts";
import { jitTooLarge } from "../engine/jit/jit.ts";
import type { ProgramSlot } from "../filter/program-arrays.ts";
import { Workbench } from "../filter/workbench.ts";
import { assemble } from "../isa/assembler.ts";
import { encodeProgram } from "../isa/codec.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { type ProgramType, programTypes, refusalOf } from "../object/object-spec.ts";
import { readCapture } from "../pcap/read-capture.ts";
import { looseProgram, type Subject } from "./loose-program.ts";
import { parseMapOption } from "./map-option.ts";
import { objectSubject } from "./object-subject.ts";
import { progRunBatch } from "./prog-run-batch.ts";
import { jsonLine, printEvents, printMaps, type Timing, textLine } from "./prog-run-output.ts";
import { readText, systemReason } from "./read-text.ts";
import { type ExitCode, errorObject, errorText, exitCodes, type Terminal } from "./terminal.ts";

export interface ProgRunOptions {
  readonly program?: string;
  readonly insns?: string;
  readonly asm?: string;
  readonly batch?: string;
  readonly type?: ProgramType;
  /** Absent: the JIT, or the interpreter where that refuses. */
  readonly engine?: EngineKind;
  readonly data: readonly string[];
  readonly pcap: readonly string[];
  readonly repeat: string;
  readonly map: readonly string[];
  readonly global: readonly string[];
  readonly json?: boolean;
}

/** `weir prog run`: programs on packets, offline. */
export async function progRun(
  object: string | undefined,
  options: ProgRunOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const usage = wrongUsage(object, options);
  if (usage !== undefined) {
    terminal.error(`weir prog run: ${usage}\n`);
    return exitCodes.usage;
  }
  const refused = (error: UserError): ExitCode => {
    terminal.error(`weir prog run: ${errorText(error)}`);
    if (options.json === true) terminal.out(`${JSON.stringify({ error: errorObject(error) })}\n`);
    return error.code.startsWith("USAGE_") ? exitCodes.usage : exitCodes.failed;
  };
  const workbench = await Workbench.create({ trace: (line) => terminal.error(`${line}\n`) });
  if (!workbench.ok) return refused(workbench.error);
  if (options.batch !== undefined) return progRunBatch(options.batch, workbench.value, terminal);

  const subject = await subjectOf(object, options, terminal);
  if (!subject.ok) return refused(subject.error);
  const maps = workbench.value.createMaps(subject.value.maps);
  if (!maps.ok) return refused(maps.error);
  const chosen: ProgramSlot[] = [];
  for (const text of options.map) {
    const set = setEntry(text, maps.value, subject.value, workbench.value);
    if (!set.ok) return refused(set.error);
    if (set.value !== undefined) chosen.push(set.value);
  }
  const packets = await packetsOf(options);
  if (!packets.ok) return refused(packets.error);
  const prepare = (engine: EngineKind): ReturnType<typeof prepareFor> =>
    prepareFor(
      packets.value,
      subject.value,
      maps.value,
      chosen,
      { ...options, engine },
      workbench.value,
    );
  let executables = prepare(options.engine ?? "jit");
  if (!executables.ok && options.engine === undefined && executables.error.code === jitTooLarge) {
    const { where, what } = executables.error;
    terminal.error(`weir prog run: runs on the interpreter: ${where}: ${what}\n`);
    executables = prepare("interpreter");
  }
  if (!executables.ok) return refused(executables.error);
  const ran = runAll(
    workbench.value,
    executables.value,
    maps.value,
    packets.value,
    options,
    terminal,
  );
  if (!ran.ok) return refused(ran.error);
  printMaps(workbench.value, maps.value, ran.value, options.json === true, terminal);
  return exitCodes.done;
}

/** A program ready to run, and those that its tail calls lead to. */
function wrongUsage(object: string | undefined, options: ProgRunOptions): string | undefined {
  const sources = [object, options.insns, options.asm, options.batch].filter(
    (source) => source !== undefined,
  );
  if (sources.length !== 1)
    return "give one of: an object, --insns HEX, --asm FILE, --batch FILE (weir prog run --help)";
  if (options.batch !== undefined) return undefined;
  if (object === undefined && (options.program !== undefined || options.global.length > 0))
    return "--program and --global are for objects";
  if (object === undefined && options.type === undefined)
    return `--insns and --asm need --type: one of ${programTypes.join(", ")}`;
  if (options.data.length === 0 && options.pcap.length === 0 && options.type !== "raw")
    return "needs a packet: --data HEX (its bytes from the Ethernet header on), or --pcap FILE";
  if (!/^[1-9][0-9]{0,8}$/.test(options.repeat))
    return `--repeat ${options.repeat}: expected a whole number from 1 to 999999999`;
  return undefined;
}

/** LINKTYPE_ETHERNET. */
const ethernet = 1;

/** What --data gives, then what --pcap files hold; where there is neither, one empty packet. */
export async function packetsOf({
  data,
  pcap,
}: Pick<ProgRunOptions, "data" | "pcap">): Promise<Result<readonly Uint8Array[], UserError>> {
  const packets: Uint8Array[] = [];
  for (const [i, hex] of data.entries()) {
    const bytes = parseHex(hex);
    if (bytes === undefined) return err(notHex(`--data ${i + 1}`, hex));
    packets.push(bytes);
  }
  for (const file of pcap)
    try {
      for await (const packet of readCapture(createReadStream(file), file)) {
        if (packet.linkType !== ethernet)
          return err(
            new UserError(
              "CAPTURE_LINK_TYPE",
              `${file}, packet ${packet.index}`,
              `is of link type ${packet.linkType}`,
              "programs run on Ethernet frames: link type 1",
            ),
          );
        packets.push(packet.data);
      }
    } catch (error) {
      if (error instanceof UserError) return err(error);
      return err(new UserError("FILE_UNREADABLE", file, systemReason(error)));
    }
  if (packets.length === 0 && pcap.length === 0) packets.push(new Uint8Array(0));
  return ok(packets);
}

async function subjectOf(
  object: string | undefined,
  options: ProgRunOptions,
  terminal: Terminal,
): Promise<Result<Subject, UserError>> {
  if (object !== undefined) return objectSubject(object, options.program, options.global);
  if (options.insns !== undefined) {
    const bytecode = parseHex(options.insns);
    if (bytecode === undefined) return err(notHex("--insns", options.insns));
    return ok(looseProgram("insns", bytecode));
  }
  const file = options.asm as string;
  const text = await readText(file, terminal);
  if (!text.ok) return text;
  const instructions = assemble(text.value, { file });
  if (instructions.ok) return ok(looseProgram("asm", encodeProgram(instructions.value)));
  const lines = instructions.error.map((error) => error.message);
  return err(new UserError("ASSEMBLY", file, `does not assemble:\n  ${lines.join("\n  ")}`));
}

/** Sets an entry of a map; one of a prog_array is left for when its programs are there. */
function setEntry(
  text: string,
  maps: readonly MapHandle[],
  { maps: specs, object }: Subject,
  workbench: Workbench,
): Result<ProgramSlot | undefined, UserError> {
  const where = `--map ${text}`;
  const option = parseMapOption(text, specs, object);
  if (!option.ok) {
    // A map that the object has, and that there cannot be here, is not unknown.
    const refused = object && refusalOf(object, text.slice(0, text.indexOf("=")));
    if (refused === undefined) return option;
    return err(new UserError(refused.code, where, refused.what, refused.fix));
  }
  const entry = option.value;
  const { map, key } = entry;
  const { type, name, cpus } = maps[map]!;
  if (entry.kind === "name") {
    if (type === "prog_array") return ok({ map, index: u32le(key, 0), program: entry.name });
    return err(
      new UserError(
        "USAGE_MAP",
        where,
        `map "${name}" holds maps, and prog run puts none into it`,
        "weir prog trace --map does, and a config",
      ),
    );
  }
  const values = Array.from({ length: cpus }, () => entry.value);
  const result = workbench.access(maps[map]!).update(key, values, 0);
  if (result !== 0)
    return err(new UserError("MAP_UPDATE", where, `the map refuses it: ${refusal(-result)}`));
  return ok(undefined);
}

/** The executable for each packet: a `raw` program is proven for one length of data at a time. */
function prepareFor(
  packets: readonly Uint8Array[],
  { program, object }: Subject,
  maps: readonly MapHandle[],
  chosen: readonly ProgramSlot[],
  { type: asked, engine }: ProgRunOptions,
  workbench: Workbench,
): Result<(packet: number) => Executable, UserError> {
  const type = asked ?? program.type;
  const byLength = new Map<number | undefined, Executable>();
  const lengthOf = (packet: Uint8Array | undefined): number | undefined =>
    type === "raw" ? packet?.length : undefined;
  // A capture may hold no packet; whether the program is accepted is told all the same.
  for (const packet of packets.length === 0 ? [undefined] : packets) {
    const dataBytes = lengthOf(packet);
    if (byLength.has(dataBytes)) continue;
    const executable = workbench.prepare(program, maps, type, engine, { object, dataBytes });
    if (!executable.ok) return executable;
    byLength.set(dataBytes, executable.value);
  }
  const [first] = byLength.values();
  if (object !== undefined && first !== undefined) {
    const filled = workbench.fillProgramArrays(object, first, maps, chosen, asked);
    if (!filled.ok) return filled;
  }
  return ok((packet) => byLength.get(lengthOf(packets[packet])) as Executable);
}

function runAll(
  workbench: Workbench,
  executables: (packet: number) => Executable,
  maps: readonly MapHandle[],
  packets: readonly Uint8Array[],
  options: ProgRunOptions,
  terminal: Terminal,
): Result<Timing, UserError> {
  const repeat = Number(options.repeat);
  let nanoseconds = 0;
  for (const [i, packet] of packets.entries()) {
    const from = process.hrtime.bigint();
    const outcome = workbench.run(executables(i), packet, repeat);
    nanoseconds += Number(process.hrtime.bigint() - from);
    if (!outcome.ok) return outcome;
    terminal.out(
      options.json === true
        ? `${jsonLine(i, packet, outcome.value)}\n`
        : `${textLine(i, packet, outcome.value)}\n`,
    );
    printEvents(workbench.readEvents(maps), options.json === true, terminal);
  }
  return ok({ runs: packets.length * repeat, nanoseconds });
}

function notHex(where: string, text: string): UserError {
  const shown = text.length > 24 ? `${text.slice(0, 24)}…` : text;
  return new UserError(
    "USAGE_HEX",
    where,
    `"${shown}" is not hex`,
    "give an even number of hex digits; white space and colons are ignored",
  );
}

/** Why a map does not take an entry, in words. */
function refusal(error: number): string {
  if (error === errno.E2BIG) return "the key is beyond max_entries, or the map is full";
  if (error === errno.EINVAL) return "its type does not allow such an entry";
  return `error ${error} (errno(3))`;
}
