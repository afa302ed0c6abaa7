import { setTimeout as delay } from "node:timers/promises";
import type { z } from "zod";
import type { profileReply, programReply, reloadReply } from "../admin/replies.ts";
import { type XlatedRow, xlatedRows } from "../admin/xlated.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { decodeSpec } from "../engine/link.ts";
import { programTag } from "../engine/program-tag.ts";
import type { Instruction } from "../isa/instruction.ts";
import type { ObjectSpec, ProgramSpec } from "../object/object-spec.ts";
import { type ControlOptions, reportError, segment, withControl } from "./control-client.ts";
import { referenceOf } from "./entry-words.ts";
import { namedOf } from "./live-program.ts";
import { isObjectWord, objectInPlaceOfName } from "./object-word.ts";
import { programGraph } from "./program-graph.ts";
import { printListing } from "./program-listing.ts";
import { readObject } from "./read-object.ts";
import {
  type ExitCode,
  errorObject,
  exitCodes,
  jsonText,
  type Terminal,
  table,
} from "./terminal.ts";

type Program = z.output<typeof programReply>;
type Profile = z.output<typeof profileReply>;
type Reload = z.output<typeof reloadReply>;

export interface ProgOptions extends ControlOptions {
  /** An object file instead of the running proxy. */
  readonly object?: string;
}

/** `weir prog list` and `prog show`: all programs, or those that are named. */
export async function progShow(
  action: "list" | "show",
  words: readonly string[],
  options: ProgOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const command = `prog ${action}`;
  const reference = words.length === 0 ? ok(undefined) : referenceOf(words);
  if (!reference.ok) return reportError(command, reference.error, terminal);
  const print = (programs: readonly Partial<Program>[]): Result<undefined, UserError> => {
    const [only, ...others] = programs;
    if (options.json === true)
      terminal.out(jsonText(words.length > 0 && others.length === 0 ? only : programs, options));
    else for (const program of programs) terminal.out(programText(program));
    return ok(undefined);
  };
  if (options.object !== undefined) {
    const found = objectPrograms(options.object, reference.value);
    if (!found.ok) return reportError(command, found.error, terminal);
    const { programs } = found.value;
    const broken = programs.flatMap(({ instructions }) =>
      instructions.ok ? [] : [instructions.error],
    );
    const listed = options.json === true ? programs : programs.filter((one) => one.instructions.ok);
    print(listed.map((program) => objectProgram(program, options.object!)));
    for (const error of broken) reportError(command, error, terminal);
    return broken.length === 0 ? exitCodes.done : exitCodes.failed;
  }
  const misplaced = objectInPlaceOfName(command, words);
  if (misplaced !== undefined) return reportError(command, misplaced, terminal);
  return withControl(command, options, terminal, async (client) => {
    const programs = await namedOf<Program>(client, "/v1/programs", words);
    return programs.ok ? print(programs.value) : programs;
  });
}

function programText(program: Partial<Program>): string {
  const { id, type, name, tag, engine, filter, section, run_cnt, bytes_xlated, map_ids } = program;
  const more = [
    filter === undefined ? `section ${section}` : `filter ${filter}`,
    engine === undefined ? undefined : `engine ${engine}`,
    run_cnt === undefined ? undefined : `run_cnt ${run_cnt}`,
    `xlated ${bytes_xlated}B`,
    map_ids === undefined || map_ids.length === 0 ? undefined : `map_ids ${map_ids.join(",")}`,
  ];
  return `${id}: ${type}  name ${name}  tag ${tag}\n\t${more.filter(Boolean).join("  ")}\n`;
}

interface ObjectProgram {
  readonly id: number;
  readonly spec: ProgramSpec;
  /** Or why there are none, which the other programs do not suffer from. */
  readonly instructions: Result<readonly Instruction[], UserError>;
}

/** A program of an object file, as it is listed; with `error` in place of what a broken one does not have. */
function objectProgram({ id, spec, instructions }: ObjectProgram, object: string) {
  const { type = "unknown", name, section, bytecode } = spec;
  if (!instructions.ok)
    return { id, type, name, section, object, error: errorObject(instructions.error) };
  const tag = programTag(instructions.value);
  return { id, type, name, tag, section, bytes_xlated: bytecode.length, object };
}

/** An object's programs, numbered from 1; one of them by number or name. */
function objectPrograms(
  file: string,
  reference: string | undefined,
): Result<{ object: ObjectSpec; programs: readonly ObjectProgram[] }, UserError> {
  const object = readObject(file);
  if (!object.ok) return object;
  const programs: ObjectProgram[] = [];
  for (const [i, spec] of object.value.programs.entries()) {
    const id = i + 1;
    if (reference !== undefined && reference !== String(id) && reference !== spec.name) continue;
    programs.push({ id, spec, instructions: decodeSpec(spec, `${file}, program ${spec.name}`) });
  }
  if (reference !== undefined && programs.length === 0)
    return err(
      new UserError(
        "PROGRAM_UNKNOWN",
        file,
        `has no program "${reference}"`,
        `it has ${object.value.programs.map(({ name }) => name).join(", ")}`,
      ),
    );
  return ok({ object: object.value, programs });
}

const listings = ["opcodes", "linum", "visual"] as const;

/**
 * `weir prog dump xlated PROGRAM [opcodes|linum|visual]`, words in any of bpftool's orders. An object may
 * stand before them, in place of `--object`.
 */
export async function progDumpXlated(
  given: readonly string[],
  { object, ...others }: ProgOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const [first] = given;
  if (object !== undefined || first === undefined || !isObjectWord(first))
    return dumpXlated(given, { ...others, ...(object !== undefined && { object }) }, terminal);
  return dumpXlated(given.slice(1), { ...others, object: first }, terminal);
}

async function dumpXlated(
  words: readonly string[],
  options: ProgOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const command = "prog dump xlated";
  // A program comes first, unless the object's only one is meant.
  const named = words.slice(0, options.object === undefined ? 1 : 0);
  const others = words.slice(named.length);
  const asked = listings.filter((form) => others.includes(form));
  const rest = [...named, ...others.filter((word) => !listings.some((form) => form === word))];
  const onlyProgram = options.object !== undefined && rest.length === 0;
  const reference = onlyProgram ? ok(undefined) : referenceOf(rest);
  if (!reference.ok) return reportError(command, reference.error, terminal);
  const print = async (rows: AsyncIterable<XlatedRow> | Iterable<XlatedRow>): Promise<void> => {
    if (asked.includes("visual")) terminal.out(programGraph(await collected(rows)));
    else await printListing(rows, asked, options, terminal);
  };
  if (options.object !== undefined) {
    const found = objectPrograms(options.object, reference.value);
    if (!found.ok) return reportError(command, found.error, terminal);
    const [program, another] = found.value.programs;
    if (program === undefined || another !== undefined)
      return reportError(
        command,
        new UserError(
          "USAGE_PROGRAM",
          options.object,
          `has ${found.value.programs.length} programs`,
          `name one: ${found.value.programs.map(({ spec }) => spec.name).join(", ")}`,
        ),
        terminal,
      );
    const { instructions, spec } = program;
    if (!instructions.ok) return reportError(command, instructions.error, terminal);
    await print(xlatedRows(instructions.value, spec, (map) => map + 1));
    return exitCodes.done;
  }
  return withControl(command, options, terminal, async (client) => {
    const rows = await client.stream(`/v1/programs/${segment(reference.value!)}/xlated`);
    if (!rows.ok) return rows;
    await print(rows.value as AsyncIterable<XlatedRow>);
    return ok(undefined);
  });
}

async function collected<Row>(rows: AsyncIterable<Row> | Iterable<Row>): Promise<Row[]> {
  const all: Row[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

/** `weir prog profile PROGRAM`: how long its runs take over a time. */
export async function progProfile(
  words: readonly string[],
  options: ControlOptions & { readonly duration: string },
  terminal: Terminal,
): Promise<ExitCode> {
  const command = "prog profile";
  const reference = referenceOf(words);
  if (!reference.ok) return reportError(command, reference.error, terminal);
  const seconds = Number(options.duration);
  if (!(seconds > 0 && seconds <= 86_400))
    return reportError(
      command,
      new UserError("USAGE_DURATION", `--duration ${options.duration}`, "expected seconds above 0"),
      terminal,
    );
  return withControl(command, options, terminal, async (client) => {
    const path = `/v1/programs/${segment(reference.value)}/profile`;
    const before = await client.get(path);
    if (!before.ok) return before;
    await delay(seconds * 1000);
    const after = await client.get(path);
    if (!after.ok) return after;
    const profile = profileBetween(before.value as Profile, after.value as Profile);
    terminal.out(
      options.json === true ? jsonText(profile, options) : profileText(reference.value, profile),
    );
    return ok(undefined);
  });
}

/** What happened between two readings. */
export function profileBetween(before: Profile, after: Profile) {
  const seconds = (after.at_ms - before.at_ms) / 1000;
  const runs = after.run_cnt - before.run_cnt;
  const timed = after.timed - before.timed;
  const meanNs = timed === 0 ? undefined : ((after.seconds - before.seconds) / timed) * 1e9;
  return {
    seconds,
    run_cnt: runs,
    runs_per_second: runs / seconds,
    timed,
    mean_ns: meanNs,
    buckets: after.buckets.map(({ to, runs: count }, i) => ({
      ...(to === undefined ? {} : { to_ns: Math.round(to * 1e9) }),
      runs: count - before.buckets[i]!.runs,
    })),
  };
}

function profileText(name: string, profile: ReturnType<typeof profileBetween>): string {
  const { seconds, run_cnt, runs_per_second, timed, mean_ns, buckets } = profile;
  let text = `${name}: ${run_cnt} runs in ${seconds.toFixed(1)} s (${runs_per_second.toFixed(0)} a second)\n`;
  if (mean_ns === undefined) return `${text}none of them was timed: about one in 128 is\n`;
  text += `${timed} timed: ${Math.round(mean_ns)} ns each\n`;
  const most = Math.max(...buckets.map(({ runs }) => runs));
  const rows = buckets
    .filter(({ runs }) => runs > 0)
    .map(({ to_ns, runs }) => [
      to_ns === undefined ? "above" : `to ${to_ns} ns`,
      String(runs),
      "*".repeat(Math.ceil((runs / most) * 40)),
    ]);
  return `${text}${table(rows)}\n`;
}

/** What changed, and what could have kept its contents and did not. */
export function reloadText(
  { listeners, maps, promoted, swapped, warnings, duration_ms }: Reload,
  done = "reloaded",
): string {
  const lines = [`${done} in ${Math.round(duration_ms)} ms`];
  const add = (what: string, names: readonly string[]): void => {
    if (names.length > 0) lines.push(`${what}: ${names.join(", ")}`);
  };
  add("listeners opened", listeners.opened);
  add("listeners closed", listeners.closed);
  add("maps that grew", maps.grown);
  add("maps that began anew", maps.fresh);
  add("filters that stay promoted, though the config says shadow: true", promoted);
  add("filters that run another object than the config names", swapped);
  for (const warning of warnings) lines.push(`warning: ${warning}`);
  return `${lines.join("\n")}\n`;
}

/** `weir reload`. */
export async function reload(options: ControlOptions, terminal: Terminal): Promise<ExitCode> {
  return withControl("reload", options, terminal, async (client) => {
    const done = await client.send("POST", "/v1/reload");
    if (!done.ok) return done;
    if (options.json === true) terminal.out(jsonText(done.value, options));
    else terminal.out(reloadText(done.value as Reload));
    return ok(undefined);
  });
}

/** `weir log-level [LEVEL]`: shows or sets it. */
export async function logLevel(
  level: string | undefined,
  options: ControlOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  return withControl("log-level", options, terminal, async (client) => {
    const done =
      level === undefined
        ? await client.get("/v1/log-level")
        : await client.send("PUT", "/v1/log-level", { level });
    if (!done.ok) return done;
    const now = done.value as { level: string };
    terminal.out(options.json === true ? jsonText(now, options) : `${now.level}\n`);
    return ok(undefined);
  });
}
