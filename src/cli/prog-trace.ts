import type { z } from "zod";
import type { programReply } from "../admin/replies.ts";
import { u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { ProgramSlot } from "../filter/program-arrays.ts";
import { TraceBench, type TracedChain, type TracedFilter } from "../filter/trace-bench.ts";
import type { NestedMap } from "../filter/trace-maps.ts";
import type { MapContent } from "../maps/map-access.ts";
import type { MapSpec, ObjectSpec } from "../object/object-spec.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import { liveSubject } from "./explain-subject.ts";
import { splitItem } from "./live-filter.ts";
import { namedOf } from "./live-program.ts";
import { parseMapOption } from "./map-option.ts";
import { objectSubject } from "./object-subject.ts";
import { objectOf } from "./prog-dump-wasm.ts";
import { packetsOf } from "./prog-run.ts";
import { type ExitCode, exitCodes, jsonText, type Terminal } from "./terminal.ts";
import { runJson, runText, verdictText } from "./trace-text.ts";

export interface ProgTraceOptions extends ControlOptions {
  readonly program?: string;
  readonly data: readonly string[];
  readonly pcap: readonly string[];
  readonly map: readonly string[];
  readonly global: readonly string[];
  readonly brief?: boolean;
}

/** LOOPBACK_IFINDEX: what BPF_PROG_TEST_RUN shows a program. */
const testRunIfindex = 1;

/** `weir prog trace`: a program of an object, or of a running proxy, on packets, instruction by instruction. */
export async function progTrace(
  words: readonly string[],
  options: ProgTraceOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const command = "prog trace";
  if (options.data.length === 0 && options.pcap.length === 0)
    return reportError(
      command,
      new UserError(
        "USAGE_PACKET",
        words.join(" "),
        "needs a packet",
        "give --data HEX or --pcap FILE",
      ),
      terminal,
    );
  const packets = await packetsOf(options);
  if (!packets.ok) return reportError(command, packets.error, terminal);
  const object = objectOf(words);
  if (object === undefined) return traceLive(words, packets.value, options, terminal);
  const subject = objectSubject(object, options.program, options.global);
  if (!subject.ok) return reportError(command, subject.error, terminal);
  const { program, maps } = subject.value;
  const entries = readEntries(options.map, maps, subject.value.object);
  if (!entries.ok) return reportError(command, entries.error, terminal);
  const filter: TracedFilter = {
    name: program.name,
    object: subject.value.object!,
    program: program.name,
    ...entries.value,
  };
  const bench = await TraceBench.create([filter], { trace: (line) => terminal.error(`${line}\n`) });
  if (!bench.ok) return reportError(command, bench.error, terminal);
  const done = traceAll(bench.value, packets.value, testRunIfindex, options, terminal);
  return done.ok ? exitCodes.done : reportError(command, done.error, terminal);
}

/** On a copy of what the program's maps hold now. */
function traceLive(
  words: readonly string[],
  packets: readonly Uint8Array[],
  options: ProgTraceOptions,
  terminal: Terminal,
): Promise<ExitCode> | ExitCode {
  const command = "prog trace";
  if (options.program !== undefined || options.map.length > 0 || options.global.length > 0)
    return reportError(
      command,
      new UserError(
        "USAGE_LIVE",
        words.join(" "),
        "--program, --map and --global are for object files",
        "name the program, and write to its maps with weir map update",
      ),
      terminal,
    );
  return withControl(command, options, terminal, async (client) => {
    const named = await namedOf<z.output<typeof programReply>>(client, "/v1/programs", words);
    if (!named.ok) return named;
    const [program, ...others] = named.value;
    if (others.length > 0)
      return err(
        new UserError(
          "USAGE_PROGRAM",
          words.join(" "),
          `${named.value.length} programs are meant`,
          `name one by its number: ${named.value.map(({ id }) => id).join(", ")}`,
        ),
      );
    const { filter, name } = program!;
    const subject = await liveSubject(client, {
      filter: `${splitItem(filter)[0]}:${name}`,
      direction: "ingress",
    });
    if (!subject.ok) return subject;
    const { filters, cpus, network, ifindex } = subject.value;
    const trace = (line: string): void => terminal.error(`${line}\n`);
    const bench = await TraceBench.create(filters, { cpus, network, trace });
    return bench.ok ? traceAll(bench.value, packets, ifindex, options, terminal) : bench;
  });
}

function traceAll(
  bench: TraceBench,
  packets: readonly Uint8Array[],
  ifindex: number,
  options: ProgTraceOptions,
  terminal: Terminal,
): Result<undefined, UserError> {
  for (const [i, packet] of packets.entries()) {
    const traced = bench.judge(packet, ifindex, "ingress");
    if (!traced.ok) return traced;
    if (packets.length > 1 && options.json !== true) terminal.out(`packet ${i}\n`);
    printTrace(traced.value, { packet: i }, options, terminal);
  }
  return ok(undefined);
}

/** Prints what a chain did with a packet; `fields` stand before it in JSON. */
export function printTrace(
  { runs, verdict }: TracedChain,
  fields: Readonly<Record<string, unknown>>,
  options: { readonly brief?: boolean; readonly json?: boolean; readonly pretty?: boolean },
  terminal: Terminal,
): void {
  const isBrief = options.brief === true;
  if (options.json === true) {
    const all = { ...fields, verdict, runs: runs.map((run) => runJson(run, isBrief)) };
    terminal.out(jsonText(all, options));
    return;
  }
  for (const run of runs) terminal.out(`${runText(run, isBrief)}\n`);
  const last = runs.at(-1);
  if (verdict !== undefined)
    terminal.out(
      `verdict: ${verdictText(verdict)}${last === undefined ? "" : `, by filter ${last.filter}`}\n`,
    );
}

/** What the `--map` options set: entries, programs in slots, and maps in maps. */
function readEntries(
  texts: readonly string[],
  maps: readonly MapSpec[],
  object: ObjectSpec | undefined,
): Result<Pick<TracedFilter, "contents" | "slots" | "nested">, UserError> {
  const contents: MapContent[][] = maps.map(() => []);
  const slots: ProgramSlot[] = [];
  const nested: NestedMap[] = [];
  for (const text of texts) {
    const option = parseMapOption(text, maps, object);
    if (!option.ok) return option;
    const entry = option.value;
    const { map, key } = entry;
    if (entry.kind === "entry") {
      contents[map]!.push({ key, values: [entry.value] });
      continue;
    }
    const { name } = entry;
    if (maps[map]!.type === "prog_array") {
      slots.push({ map, index: u32le(key, 0), program: name });
      continue;
    }
    const inner = maps.findIndex((one) => one.name === name);
    if (inner < 0)
      return err(
        new UserError(
          "USAGE_MAP",
          `--map ${text}`,
          `map "${maps[map]!.name}" holds maps, and there is none of the name "${name}"`,
          `the object has ${maps.map((one) => one.name).join(", ")}`,
        ),
      );
    nested.push({ map, key, inner });
  }
  return ok({ contents, slots, nested });
}
