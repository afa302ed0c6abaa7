import { closeSync, createReadStream, fstatSync, openSync, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { type ByteSink, FileSink, StreamSink } from "./byte-sink.ts";
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

/**
 * The captures that a replay writes. Nothing is opened, and no old file replaced, before `open`: a
 * capture that cannot be replayed costs nobody the outcome of an earlier one.
 */
export class CaptureOutputs {
  readonly #paths: OutputPaths;
  readonly #streams: BinaryStreams;
  #passed: CaptureOutput | undefined;
  #dropped: CaptureOutput | undefined;
  #isOpen = false;

  constructor(paths: OutputPaths, streams: BinaryStreams) {
    this.#paths = paths;
    this.#streams = streams;
  }

  /** What went on, if it is written and `open` has been called. */
  get passed(): CaptureOutput | undefined {
    return this.#passed;
  }

  get dropped(): CaptureOutput | undefined {
    return this.#dropped;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Opens what is written, and replaces old files if all can be. */
  open(): UserError | undefined {
    const passed = openSink(this.#paths.passed, this.#streams);
    if (!passed.ok) return passed.error;
    const dropped = openSink(this.#paths.dropped, this.#streams);
    if (!dropped.ok) {
      if (passed.value instanceof FileSink) passed.value.abandon();
      return dropped.error;
    }
    this.#passed = begin(this.#paths.passed, passed.value);
    this.#dropped = begin(this.#paths.dropped, dropped.value);
    this.#isOpen = true;
    return undefined;
  }
}

function openSink(
  path: string | undefined,
  { output }: BinaryStreams,
): Result<ByteSink | undefined, UserError> {
  if (path === undefined) return ok(undefined);
  return path === "-" && output !== undefined ? ok(new StreamSink(output)) : FileSink.open(path);
}

function begin(path: string | undefined, sink: ByteSink | undefined): CaptureOutput | undefined {
  if (path === undefined || sink === undefined) return undefined;
  if (sink instanceof FileSink) sink.empty();
  return captureOutput(sink instanceof FileSink ? path : "standard output", sink);
}
