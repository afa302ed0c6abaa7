import { createReadStream, existsSync } from "node:fs";
import { parseHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { loadConfig } from "../config/load-config.ts";
import { TraceBench, type TraceBenchOptions } from "../filter/trace-bench.ts";
import { packetLine } from "../packet/packet-line.ts";
import { readCapture } from "../pcap/read-capture.ts";
import { reportConfigErrors } from "./config-errors.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import { type ChainSubject, configSubject, liveSubject } from "./explain-subject.ts";
import { printTrace } from "./prog-trace.ts";
import { systemReason } from "./read-text.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface ExplainOptions extends ControlOptions {
  /** A config to explain with, instead of the running proxy. */
  readonly config?: string;
  readonly listener?: string;
  readonly filter?: string;
  readonly direction: "ingress" | "egress";
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
  const packet = await packetOf(given, options.packet);
  if (!packet.ok) return reportError("explain", packet.error, terminal);
  const run = async (subject: ChainSubject): Promise<Result<undefined, UserError>> => {
    const settings: TraceBenchOptions = {
      cpus: subject.cpus,
      network: subject.network,
      trace: (line) => terminal.error(`${line}\n`),
    };
    const bench = await TraceBench.create(subject.filters, settings);
    if (!bench.ok) return bench;
    const traced = bench.value.judge(packet.value, subject.ifindex, options.direction);
    if (!traced.ok) return traced;
    if (options.json !== true) terminal.out(`${packetLine(packet.value)}\n\n`);
    printTrace(traced.value, {}, options, terminal);
    return ok(undefined);
  };
  if (options.config !== undefined) {
    const config = loadConfig(options.config, terminal.environment);
    if (!config.ok) return reportConfigErrors(config.error, terminal);
    const subject = configSubject(config.value, options);
    const done = subject.ok ? await run(subject.value) : subject;
    return done.ok ? exitCodes.done : reportError("explain", done.error, terminal);
  }
  return withControl("explain", options, terminal, async (client) => {
    const subject = await liveSubject(client, options);
    return subject.ok ? run(subject.value) : subject;
  });
}

/** Hex, or a packet of a capture file. */
async function packetOf(given: string, index: string): Promise<Result<Uint8Array, UserError>> {
  const bytes = parseHex(given);
  if (bytes !== undefined && !existsSync(given)) return ok(bytes);
  if (!/^\d{1,9}$/.test(index))
    return err(
      new UserError("USAGE_PACKET", `--packet ${index}`, "expected a whole number from 0"),
    );
  let count = 0;
  try {
    for await (const packet of readCapture(createReadStream(given), given)) {
      if (count++ !== Number(index)) continue;
      if (packet.linkType === 1) return ok(packet.data);
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
  return err(new UserError("CAPTURE_NO_PACKET", given, `has ${count} packets, no number ${index}`));
}
