import { closeSync, createReadStream, fstatSync, openSync, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { FileSink, StreamSink } from "./byte-sink.ts";
import { type CaptureOutput, captureOutput } from "./capture-output.ts";
import type { BinaryStreams } from "./process-streams.ts";
import { systemReason } from "./read-text.ts";

/** Bytes of a file that are read at once. */
const chunkBytes = 262_144;

/** A capture to read. */
export interface CaptureInput {
  /** What people call it. */
  readonly name: string;
  readonly source: Readable;
  /** Its size, where it is known. */
  readonly bytes: number | undefined;
}

/** Files that a replay writes; `-` is standard output. */
export interface OutputPaths {
  readonly passed: string | undefined;
  readonly dropped: string | undefined;
  readonly metrics: string | undefined;
}

export interface CaptureOutputs {
  readonly passed: CaptureOutput | undefined;
  readonly dropped: CaptureOutput | undefined;
}

/** Opens a capture; `-` is standard input. */
export function openInput(file: string, streams: BinaryStreams): Result<CaptureInput, UserError> {
  if (file === "-") {
    if (streams.input !== undefined)
      return ok({ name: "standard input", source: streams.input, bytes: undefined });
    return err(
      new UserError(
        "USAGE_INPUT",
        "standard input",
        "is a terminal",
        "pipe a capture into it: tcpdump -w - | weir replay -",
      ),
    );
  }
  try {
    const fd = openSync(file, "r");
    const status = fstatSync(fd);
    if (status.isDirectory()) {
      closeSync(fd);
      return err(new UserError("FILE_UNREADABLE", file, "is a folder"));
    }
    const source = createReadStream(file, { fd, highWaterMark: chunkBytes });
    return ok({ name: file, source, bytes: status.isFile() ? status.size : undefined });
  } catch (error) {
    return err(new UserError("FILE_UNREADABLE", file, systemReason(error)));
  }
}

/** Why these files cannot be written beside each other; undefined where they can. */
export function outputClash(
  input: string,
  { passed, dropped, metrics }: OutputPaths,
  streams: BinaryStreams,
): UserError | undefined {
  const outputs = [
    { option: "-w", path: passed, isCapture: true },
    { option: "--dropped", path: dropped, isCapture: true },
    { option: "--metrics", path: metrics, isCapture: false },
  ];
  const taken = new Map<string, string>();
  if (input !== "-") taken.set(fileKey(input), "the capture that is read");
  for (const { option, path, isCapture } of outputs) {
    if (path === undefined) continue;
    const key = fileKey(path);
    const other = taken.get(key);
    const what = path === "-" ? "standard output" : path;
    if (other !== undefined)
      return new UserError(
        "USAGE_OUTPUT",
        `${option} ${path}`,
        `${what} is ${other}`,
        "name another file",
      );
    taken.set(key, `what ${option} writes already`);
    if (path === "-" && isCapture && streams.output === undefined)
      return new UserError(
        "USAGE_OUTPUT",
        `${option} -`,
        "standard output is a terminal, and a capture is no text",
        "name a file, or pipe it on: | tcpdump -nr -",
      );
  }
  return undefined;
}

/** Equal for one file under several names. Devices such as /dev/null may be named twice. */
function fileKey(path: string): string {
  if (path === "-") return "-";
  try {
    const status = statSync(path);
    return status.isFile() ? `${status.dev} ${status.ino}` : `${path} is no file`;
  } catch {
    return path;
  }
}

/** Opens what is written; old files are replaced. */
export function openOutputs(
  { passed, dropped }: OutputPaths,
  streams: BinaryStreams,
): Result<CaptureOutputs, UserError> {
  const first = openOutput(passed, streams);
  if (!first.ok) return first;
  const second = openOutput(dropped, streams);
  return second.ok ? ok({ passed: first.value, dropped: second.value }) : second;
}

function openOutput(
  path: string | undefined,
  { output }: BinaryStreams,
): Result<CaptureOutput | undefined, UserError> {
  if (path === undefined) return ok(undefined);
  if (path === "-" && output !== undefined)
    return ok(captureOutput("standard output", new StreamSink(output)));
  const sink = FileSink.open(path);
  return sink.ok ? ok(captureOutput(path, sink.value)) : sink;
}
