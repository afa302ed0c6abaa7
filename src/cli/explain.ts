import { createReadStream, existsSync } from "node:fs";
import { parseHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { loadConfig } from "../config/load-config.ts";
import { TraceBench, type TraceBenchOptions } from "../filter/trace-bench.ts";
import type { Direction } from "../filter/verdict.ts";
import { packetLine } from "../packet/packet-line.ts";
import { readCapture } from "../pcap/read-capture.ts";
import { type CapturedAt, parseCaptureComment } from "./capture-comment.ts";
import { reportConfigErrors } from "./config-errors.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import {
  type ChainChoice,
  type ChainSubject,
  configSubject,
  liveSubject,
} from "./explain-subject.ts";
import { printTrace } from "./prog-trace.ts";
import { systemReason } from "./read-text.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface ExplainOptions extends ControlOptions {
  /** A config to explain with, instead of the running proxy. */
  readonly config?: string;
  readonly listener?: string;
  readonly filter?: string;
  /** Without it: where the capture file says that the packet was, else ingress. */
  readonly direction?: Direction;
  /** Which packet of a capture file, from 0. */
  readonly packet: string;
  readonly brief?: boolean;
}

/**
 * `weir explain`: why a packet is passed or dropped. It runs through the chain once more, in the
 * interpreter, on a copy of the maps: of the running proxy's, or of those a config describes.
 */
export async function explain(
  given: string,
  options: ExplainOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const found = await packetOf(given, options.packet);
  if (!found.ok) return reportError("explain", found.error, terminal);
  const { bytes, at } = found.value;
  const choice = {
    listener: options.listener ?? at?.listener,
    filter: options.filter,
    direction: options.direction ?? at?.direction ?? "ingress",
  };
  const place = `${given}, packet ${options.packet}`;
  for (const doubt of doubtsOf(at, choice)) terminal.error(`weir explain: ${place} ${doubt}\n`);
  const run = async (subject: ChainSubject): Promise<Result<undefined, UserError>> => {
    const settings: TraceBenchOptions = {
      cpus: subject.cpus,
      network: subject.network,
      trace: (line) => terminal.error(`${line}\n`),
    };
    const bench = await TraceBench.create(subject.filters, settings);
    if (!bench.ok) return bench;
    const traced = bench.value.judge(bytes, subject.ifindex, choice.direction);
    if (!traced.ok) return traced;
    // What nobody chose is told.
    const where = at === undefined ? "" : `${choice.listener} ${choice.direction} `;
    if (options.json !== true) terminal.out(`${where}${packetLine(bytes)}\n\n`);
    printTrace(traced.value, {}, options, terminal);
    return ok(undefined);
  };
  if (options.config !== undefined) {
    const config = loadConfig(options.config, terminal.environment);
    if (!config.ok) return reportConfigErrors(config.error, terminal);
    const subject = configSubject(config.value, choice);
    const done = subject.ok ? await run(subject.value) : subject;
    return done.ok ? exitCodes.done : reportError("explain", done.error, terminal);
  }
  return withControl("explain", options, terminal, async (client) => {
    const subject = await liveSubject(client, choice);
    return subject.ok ? run(subject.value) : subject;
  });
}

/** What of the choice is not as it was when the packet was captured. */
function doubtsOf(at: CapturedAt | undefined, { listener, direction }: ChainChoice): string[] {
  if (at === undefined) return [];
  const doubts: string[] = [];
  if (at.isExit)
    doubts.push(
      "is as the filters left it: they are asked about it once more; as it came it stands before",
    );
  if (at.listener !== listener || at.direction !== direction)
    doubts.push(
      `was captured at ${at.listener} ${at.direction}, and is explained at ${listener} ${direction}`,
    );
  return doubts;
}

interface GivenPacket {
  readonly bytes: Uint8Array;
  /** Where it was captured, if Weir wrote the file. */
  readonly at: CapturedAt | undefined;
}

/** Hex, or a packet of a capture file. */
async function packetOf(given: string, index: string): Promise<Result<GivenPacket, UserError>> {
  const bytes = parseHex(given);
  if (bytes !== undefined && !existsSync(given)) return ok({ bytes, at: undefined });
  if (!/^\d{1,9}$/.test(index))
    return err(
      new UserError("USAGE_PACKET", `--packet ${index}`, "expected a whole number from 0"),
    );
  let count = 0;
  try {
    for await (const packet of readCapture(createReadStream(given), given)) {
      if (count++ !== Number(index)) continue;
      const at = parseCaptureComment(packet.comments);
      if (at?.isOuter === true)
        return err(
          new UserError(
            "CAPTURE_OUTER",
            `${given}, packet ${index}`,
            "stands there with its tunnel's headers, which no filter sees",
            "capture it without --outer",
          ),
        );
      if (packet.linkType === 1) return ok({ bytes: packet.data, at });
      return err(
        new UserError(
          "CAPTURE_LINK_TYPE",
          `${given}, packet ${index}`,
          `is of link type ${packet.linkType}`,
          "filters see Ethernet frames: link type 1",
        ),
      );
    }
  } catch (error) {
    if (error instanceof UserError) return err(error);
    return err(new UserError("FILE_UNREADABLE", given.slice(0, 80), systemReason(error)));
  }
  return err(
    new UserError(
      "CAPTURE_NO_PACKET",
      given,
      `has ${count} packets, no number ${index}`,
      count === 0 ? undefined : `they are numbered from 0 to ${count - 1}`,
    ),
  );
}
