import { leastSnapLength, mostPerSecond, mostSnapLength } from "../admin/capture-limits.ts";
import type { CaptureRow } from "../admin/replies.ts";
import { parseHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { packetLine } from "../packet/packet-line.ts";
import { PcapngWriter } from "../pcap/pcapng-writer.ts";
import { type ByteSink, FileSink, StreamSink } from "./byte-sink.ts";
import { captureComment } from "./capture-comment.ts";
import { clockText } from "./clock-text.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import { outerPacket } from "./outer-packet.ts";
import { processStreams } from "./process-streams.ts";
import { targetText } from "./target-text.ts";
import { type ExitCode, jsonText, type Terminal } from "./terminal.ts";

export interface CaptureOptions extends ControlOptions {
  readonly expr?: string;
  readonly verdict?: string;
  readonly filter?: string;
  readonly listener?: string;
  /** A shadow, or true: any. Only packets on which it differs. */
  readonly shadow?: string | true;
  readonly direction?: string;
  /** Packets to take before it ends. */
  readonly count?: string;
  /** Packets a second and worker at most. */
  readonly rate?: string;
  readonly snapLength?: string;
  /** A pcapng file to write, - for standard output. */
  readonly write?: string;
  /** Tunnels' frames go into the file with what was around them. */
  readonly outer?: boolean;
}

type PacketRow = Exclude<CaptureRow, { lost: number }>;

/** `weir capture`: packets at the chains of a running proxy, with verdicts, until it is ended. */
export async function capture(options: CaptureOptions, terminal: Terminal): Promise<ExitCode> {
  const wrong =
    outside("--count", options.count, 1, 999_999_999) ??
    outside("--rate", options.rate, 1, mostPerSecond) ??
    outside("--snap-length", options.snapLength, leastSnapLength, mostSnapLength);
  if (wrong !== undefined) return reportError("capture", wrong, terminal);
  if (options.outer === true && options.write === undefined)
    return reportError(
      "capture",
      new UserError(
        "USAGE_OUTER",
        "--outer",
        "is about what -w writes; lines tell of both packets as they are",
        "name a file: -w FILE",
      ),
      terminal,
    );
  const query = new URLSearchParams();
  for (const [name, value] of [
    ["expression", options.expr],
    ["verdict", options.verdict],
    ["filter", options.filter],
    ["listener", options.listener],
    ["shadow", options.shadow === true ? "*" : options.shadow],
    ["direction", options.direction],
    ["per_second", options.rate],
    ["snap_length", options.snapLength],
  ] as const)
    if (value !== undefined) query.set(name, value);
  return withControl("capture", options, terminal, async (client) => {
    const end = new AbortController();
    const onSignal = (): void => end.abort();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
    try {
      const rows = await client.stream(`/v1/capture?${query}`, end.signal);
      if (!rows.ok) return rows;
      return await take(rows.value as AsyncGenerator<CaptureRow>, options, terminal, end);
    } finally {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
    }
  });
}

/** What is wrong with a number that an option has. */
function outside(
  option: string,
  text: string | undefined,
  least: number,
  most: number,
): UserError | undefined {
  if (text === undefined) return undefined;
  const isNumber = /^\d{1,9}$/.test(text);
  if (isNumber && Number(text) >= least && Number(text) <= most) return undefined;
  return new UserError(
    "USAGE_NUMBER",
    `${option} ${text}`,
    `expected a whole number from ${least} to ${most}`,
  );
}

async function take(
  rows: AsyncGenerator<CaptureRow>,
  options: CaptureOptions,
  terminal: Terminal,
  end: AbortController,
): Promise<Result<undefined, UserError>> {
  const opened = options.write === undefined ? ok(undefined) : openSink(options.write);
  if (!opened.ok) {
    end.abort();
    return opened;
  }
  const sink = opened.value;
  const most = Number(options.count ?? Number.POSITIVE_INFINITY);
  let packets = 0;
  let lost = 0;
  let isOn = false;
  const writer = new PcapngWriter([{ linkType: 1, name: "weir" }]);
  sink?.write(writer.header);
  // An empty capture is one too, for who reads along.
  sink?.flush();
  for await (const row of rows) {
    if (sink?.error !== undefined) break;
    if ("lost" in row) {
      lost += row.lost;
      // The first line: all workers are capturing now.
      if (!isOn) terminal.error("capturing; Ctrl-C ends it\n");
      isOn = true;
      continue;
    }
    packets++;
    if (sink !== undefined) {
      for (const record of recordsOf(row, options.outer === true))
        sink.write(writer.record(record));
      sink.flush();
      await sink.ready();
      if (sink.error !== undefined) break;
    } else terminal.out(options.json === true ? jsonText(row, options) : rowText(row));
    if (packets >= most) break;
  }
  end.abort();
  await sink?.end();
  if (sink?.error !== undefined) return err(sink.error);
  terminal.error(`${packets} packet${packets === 1 ? "" : "s"} captured, ${lost} lost\n`);
  return ok(undefined);
}

function openSink(name: string): Result<ByteSink, UserError> {
  if (name !== "-") {
    const file = FileSink.open(name);
    if (file.ok) file.value.empty();
    return file;
  }
  const { output } = processStreams();
  if (output !== undefined) return ok(new StreamSink(output));
  return err(
    new UserError(
      "USAGE_OUTPUT",
      "-w -",
      "standard output is a terminal, and a capture is no text",
      "name a file, or pipe it on: | tcpdump -nr -",
    ),
  );
}

/** What a row is in a capture file: the packet as it came, then as filters left it, if they changed it. */
function recordsOf(row: PacketRow, withOuter: boolean) {
  const base = {
    seconds: row.seconds,
    nanoseconds: row.nanoseconds,
    interfaceId: 0,
  };
  const { tunnel, direction } = row;
  const isOuter = withOuter && tunnel !== undefined;
  const record = ({ length, data }: PacketRow["entry"], comment: string) => {
    const frame = { originalLength: length, data: parseHex(data)! };
    const packet = isOuter ? outerPacket(tunnel, direction, frame) : frame;
    return { ...base, ...packet, comments: [comment] };
  };
  const at = { ...row, isOuter };
  const around = tunnelText(row);
  return [
    record(row.entry, captureComment(at, around, verdictText(row))),
    ...(row.exit === undefined ? [] : [record(row.exit, captureComment(at, around))]),
  ];
}

/** `pass by fw, then dropped: mtu_exceeded`. */
function verdictText({ verdict, reason, filter, ifindex, ports, shadow }: PacketRow): string {
  const by = filter === undefined ? "" : ` by ${filter}`;
  const isDrop = verdict === "drop" || verdict === "aborted";
  const why = reason === undefined ? "" : isDrop ? ` (${reason})` : `, then dropped: ${reason}`;
  const instead =
    shadow === undefined
      ? ""
      : `; ${shadow.filter} says ${shadow.verdict}${targetText(shadow.ifindex, shadow.ports)}`;
  return `${verdict}${targetText(ifindex, ports)}${by}${why}${instead}`;
}

/**
 * What a frame was in: ` [vxlan vni 42 flags 0x08, east, 192.0.2.1:51234 > 192.0.2.9:4789]`; of GENEVE
 * what follows the header instead of its flags, and its options.
 */
function tunnelText({ tunnel, direction }: PacketRow): string {
  if (tunnel === undefined) return "";
  const { protocol, vni, peer = "a stranger", outer, own, options = [] } = tunnel;
  const hex = (value: number, digits: number): string =>
    `0x${value.toString(16).padStart(digits, "0")}`;
  const says =
    protocol === "vxlan"
      ? `flags ${hex(tunnel.flags, 2)}`
      : `protocol ${hex(tunnel.ether_type, 4)}`;
  const ends = direction === "ingress" ? `${outer} > ${own}` : `${own} > ${outer}`;
  const texts = options.map(
    ({ class: optionClass, type, name, data }) =>
      `${name ?? `option ${hex(optionClass, 4)}/${hex(type, 2)}`} ${data === "" ? "empty" : data}`,
  );
  return ` [${[`${protocol} vni ${vni} ${says}`, peer, ends, ...texts].join(", ")}]`;
}

function rowText(row: PacketRow): string {
  const from = `${row.listener} ${row.direction === "ingress" ? ">" : "<"}${tunnelText(row)}`;
  const line = (frame: PacketRow["entry"]): string => {
    const bytes = parseHex(frame.data)!;
    return bytes.length < frame.length ? `${packetLine(bytes)} [cut]` : packetLine(bytes);
  };
  let text = `${clockText(row)} ${from} ${line(row.entry)} ${verdictText(row)}\n`;
  if (row.exit !== undefined) text += `    left as ${line(row.exit)}\n`;
  return text;
}
