import { createReadStream, existsSync } from "node:fs";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { linkTypeText } from "../pcap/link-type-name.ts";
import { readCapture } from "../pcap/read-capture.ts";
import { ExpressionMatches, expressionRefusal, type LeftOut } from "./expression-matches.ts";
import { parseNetmask } from "./netmask-option.ts";
import { pointAt } from "./point-at.ts";
import { processStreams } from "./process-streams.ts";
import { readText, systemReason } from "./read-text.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface FilterMatchOptions {
  /** A file of expressions, one a line, instead of the first argument. */
  readonly exprs?: string;
  /** `255.255.255.0`: what `ip broadcast` goes by. */
  readonly netmask?: string;
  readonly json?: boolean;
}

interface Input {
  readonly expressions: readonly string[];
  readonly files: readonly string[];
  readonly netmask: { readonly netmask?: number };
}

/** A capture that was read, as far as it could be. */
interface ReadFile {
  readonly file: string;
  readonly packets: number;
  /** Why not to its end. */
  readonly damage: UserError | undefined;
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
  const { expressions, files, netmask } = input.value;
  let code: ExitCode = exitCodes.done;
  for (const file of files) {
    const all = expressions.map((expression) => new ExpressionMatches(expression, netmask));
    const read = await matchFile(file, all);
    const report = options.json === true ? jsonOf : textOf;
    for (const matches of all) {
      // What cannot be read says nothing about the expression.
      const isUnread = read.damage !== undefined && read.packets === 0;
      const refusal = isUnread ? undefined : matches.refusal;
      if (read.damage !== undefined || refusal !== undefined || matches.leftOut.length > 0)
        code = exitCodes.failed;
      const { out, error } = report(matches, refusal, read, expressions.length > 1);
      if (out !== undefined) terminal.out(out);
      if (error !== undefined) terminal.error(error);
    }
    if (read.damage !== undefined && options.json !== true)
      terminal.error(`${read.damage.message}\n`);
  }
  return code;
}

async function inputOf(
  args: readonly string[],
  { exprs, netmask: mask }: FilterMatchOptions,
  terminal: Terminal,
): Promise<Result<Input, UserError>> {
  const usage = (what: string, fix: string): Result<never, UserError> =>
    err(new UserError("USAGE", "arguments", what, fix));
  const netmask = parseNetmask(mask);
  if (!netmask.ok) return netmask;
  const files = exprs === undefined ? args.slice(1) : args;
  const unquoted = exprs === undefined ? unquotedExpression(args, netmask.value) : undefined;
  if (unquoted !== undefined)
    return usage("the expression is more than one of them", `put it in quotes: "${unquoted}"`);
  if (files.length === 0) return usage("no capture file", "give an expression, then files");
  if ([...files, exprs].filter((one) => one === "-").length > 1)
    return usage("standard input can be read once", "name it - only once");
  if (exprs === undefined)
    return ok({ expressions: [args[0] as string], files, netmask: netmask.value });
  const text = await readText(exprs, terminal);
  if (!text.ok) return text;
  const expressions = text.value.split("\n").filter((line) => line.trim() !== "");
  return ok({ expressions, files, netmask: netmask.value });
}

/** The words in front of the first file, where they make an expression that the shell took apart. */
function unquotedExpression(
  args: readonly string[],
  netmask: Input["netmask"],
): string | undefined {
  const fileAt = args.findIndex((word, i) => i > 0 && (word === "-" || existsSync(word)));
  const words = fileAt < 0 ? args : args.slice(0, fileAt);
  if (words.length < 2) return undefined;
  const text = words.join(" ");
  return expressionRefusal(text, netmask) === undefined ? text : undefined;
}

/** Asks all expressions about a file's packets. */
async function matchFile(file: string, all: readonly ExpressionMatches[]): Promise<ReadFile> {
  let packets = 0;
  const ended = (damage?: UserError): ReadFile => ({ file, packets, damage });
  try {
    const bytes = file === "-" ? processStreams().input : createReadStream(file);
    if (bytes === undefined) {
      const what = "standard input is a terminal, and no capture comes from there";
      return ended(new UserError("CAPTURE_UNREADABLE", file, what));
    }
    for await (const packet of readCapture(bytes, file === "-" ? "standard input" : file)) {
      packets++;
      for (const matches of all) matches.add(packet);
    }
  } catch (error) {
    if (error instanceof UserError) return ended(error);
    if (!(error instanceof Error) || !("code" in error)) throw error;
    return ended(new UserError("CAPTURE_UNREADABLE", file, systemReason(error)));
  }
  return ended();
}

interface Report {
  /** For standard output, where there is an answer. */
  readonly out?: string;
  readonly error?: string;
}

/** One line. Of a damaged capture it has both the matches of what was whole, and the error. */
function jsonOf(
  { expression: expr, match, leftOut }: ExpressionMatches,
  refusal: UserError | undefined,
  { file, packets, damage }: ReadFile,
): Report {
  const error = refusal ?? damage;
  const line = {
    expr,
    file,
    ...(refusal === undefined && (damage === undefined || packets > 0) ? { match } : {}),
    ...(leftOut.length === 0 ? {} : { left_out: leftOut.map(leftOutLine) }),
    ...(error === undefined ? {} : { error: error.message }),
  };
  return { out: `${JSON.stringify(line)}\n` };
}

function leftOutLine({ linkType, packets, error }: LeftOut): object {
  return { link_type: linkType, packets, error: error.message };
}

function textOf(
  { expression, match, leftOut }: ExpressionMatches,
  refusal: UserError | undefined,
  { file, packets, damage }: ReadFile,
  isOneOfMany: boolean,
): Report {
  const name = isOneOfMany ? `${file}: ${expression}` : file;
  if (refusal !== undefined)
    return { error: `${name}: ${refusal.message}\n${pointAt(expression, refusal)}` };
  if (damage !== undefined && packets === 0) return {};
  const lines = leftOut.map(
    ({ linkType, packets: count, error }) =>
      `${name}: ${count} ${count === 1 ? "packet" : "packets"} of ${linkTypeText(linkType)} left out: ${error.message}\n`,
  );
  return {
    out: `${name}: ${match.length} of ${packets} packets match${listed(match)}\n`,
    error: lines.join(""),
  };
}

/** For people: more indices than this are a job for --json. */
const shownMatches = 20;

function listed(match: readonly number[]): string {
  if (match.length === 0) return "";
  const more = match.length > shownMatches ? ` … (--json lists all)` : "";
  return `: ${match.slice(0, shownMatches).join(" ")}${more}`;
}
