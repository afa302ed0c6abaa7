import { createReadStream } from "node:fs";
import { compileExpression } from "../cbpf/compile-expression.ts";
import type { ClassicProgram } from "../cbpf/instruction.ts";
import { runClassic } from "../cbpf/interpreter.ts";
import { linkTypeByNumber } from "../cbpf/link-type.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { CapturedPacket } from "../pcap/captured-packet.ts";
import { readCapture } from "../pcap/read-capture.ts";
import { pointAt } from "./point-at.ts";
import { processStreams } from "./process-streams.ts";
import { readText, systemReason } from "./read-text.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface FilterMatchOptions {
  /** A file of expressions, one a line, instead of the first argument. */
  readonly exprs?: string;
  readonly json?: boolean;
}

/** One expression on one capture. */
interface Matching {
  readonly expression: string;
  /** Compiled for a link type and byte order when the first packet of those comes. */
  readonly programs: Map<number, Result<ClassicProgram, UserError>>;
  readonly match: number[];
  error: UserError | undefined;
}

/**
 * `weir filter match`: which packets of capture files an expression matches. Each file is read
 * once, whatever the number of expressions.
 */
export async function filterMatch(
  args: readonly string[],
  options: FilterMatchOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const input = await inputOf(args, options, terminal);
  if (!input.ok) {
    terminal.error(`weir filter match: ${input.error.message}\n`);
    return input.error.code === "USAGE" ? exitCodes.usage : exitCodes.failed;
  }
  const { expressions, files } = input.value;
  let code: ExitCode = exitCodes.done;
  for (const file of files) {
    const results = expressions.map(
      (expression): Matching => ({ expression, programs: new Map(), match: [], error: undefined }),
    );
    const { packets, damage } = await matchFile(file, results);
    for (const { expression, match, error } of results) {
      const problem = error ?? damage;
      if (problem !== undefined) code = exitCodes.failed;
      if (options.json === true)
        terminal.out(
          `${JSON.stringify(
            problem === undefined
              ? { expr: expression, file, match }
              : { expr: expression, file, error: problem.message },
          )}\n`,
        );
      else if (error === undefined)
        terminal.out(`${file}: ${match.length} of ${packets} packets match${listed(match)}\n`);
      else terminal.error(`${file}: ${error.message}\n${pointAt(expression, error)}`);
    }
    if (damage !== undefined && options.json !== true) terminal.error(`${damage.message}\n`);
  }
  return code;
}

async function inputOf(
  args: readonly string[],
  { exprs }: FilterMatchOptions,
  terminal: Terminal,
): Promise<Result<{ expressions: readonly string[]; files: readonly string[] }, UserError>> {
  const files = exprs === undefined ? args.slice(1) : args;
  if (files.length === 0)
    return err(
      new UserError("USAGE", "arguments", "no capture file", "give an expression, then files"),
    );
  if ([...files, exprs].filter((one) => one === "-").length > 1)
    return err(
      new UserError("USAGE", "arguments", "standard input can be read once", "name it - only once"),
    );
  if (exprs === undefined) return ok({ expressions: [args[0] as string], files });
  const text = await readText(exprs, terminal);
  if (!text.ok) return text;
  const expressions = text.value.split("\n").filter((line) => line.trim() !== "");
  return ok({ expressions, files });
}

/** Runs all expressions over a file. `damage`: the file could not be read to its end. */
async function matchFile(
  file: string,
  results: readonly Matching[],
): Promise<{ packets: number; damage: UserError | undefined }> {
  let packets = 0;
  try {
    const bytes = file === "-" ? processStreams().input : createReadStream(file);
    if (bytes === undefined) {
      const what = "standard input is a terminal, and no capture comes from there";
      return { packets, damage: new UserError("CAPTURE_UNREADABLE", file, what) };
    }
    for await (const packet of readCapture(bytes, file === "-" ? "standard input" : file)) {
      packets++;
      for (const result of results) matchPacket(packet, result);
    }
  } catch (error) {
    if (error instanceof UserError) return { packets, damage: error };
    if (!(error instanceof Error) || !("code" in error)) throw error;
    return { packets, damage: new UserError("CAPTURE_UNREADABLE", file, systemReason(error)) };
  }
  return { packets, damage: undefined };
}

function matchPacket(packet: CapturedPacket, result: Matching): void {
  if (result.error !== undefined) return;
  const { bigEndian } = packet;
  const key = packet.linkType * 2 + Number(bigEndian);
  let program = result.programs.get(key);
  if (program === undefined) {
    const linkType = linkTypeByNumber(packet.linkType);
    program = linkType.ok
      ? compileExpression(result.expression, { linkType: linkType.value, bigEndian })
      : linkType;
    result.programs.set(key, program);
  }
  if (!program.ok) result.error = program.error;
  else if (runClassic(program.value, { data: packet.data, length: packet.originalLength }) !== 0)
    result.match.push(packet.index);
}

/** For people: more indexes than this are a job for --json. */
const shownMatches = 20;

function listed(match: readonly number[]): string {
  if (match.length === 0) return "";
  const more = match.length > shownMatches ? ` … (--json lists all)` : "";
  return `: ${match.slice(0, shownMatches).join(" ")}${more}`;
}
