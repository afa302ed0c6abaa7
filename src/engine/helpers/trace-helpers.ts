import { errno } from "../../common/errno.ts";
import { anyType, type Helper, type HelperRun, R1, R2, R3, R4, R5 } from "./helper.ts";
import { type ByteSource, formatTrace, type TraceArgument } from "./trace-format.ts";

/** Kernel: MAX_BPRINTF_VARARGS. */
const maxArguments = 12;

/** Steps for a byte of a format, which is looked at several times, and of the text made of it. */
const formatByteSteps = 4;
const textByteSteps = 2;

/** Messages for whoever develops a filter. */
export const traceHelpers: readonly Helper[] = [
  {
    id: 6,
    name: "trace_printk",
    arguments: ["readable_memory", "size"],
    // What the format asks for. The kernel does not check that callers have set it.
    registersRead: 5,
    types: anyType,
    // A line costs microseconds, here and wherever it goes.
    work: 1000,
    call(run) {
      const { registers } = run;
      const values = [R3, R4, R5].map((at) => ({ low: registers[at]!, high: registers[at + 1]! }));
      return print(run, readFormat(run, registers[R1]!, registers[R2]!), values);
    },
  },
  {
    id: 177,
    name: "trace_vprintk",
    arguments: ["readable_memory", "size", "readable_memory_or_null", "size_or_zero"],
    types: anyType,
    work: 1000,
    call(run) {
      const { registers } = run;
      const values = readValues(run, registers[R3]!, registers[R4]!);
      return print(run, readFormat(run, registers[R1]!, registers[R2]!), values);
    },
  },
  {
    id: 165,
    name: "snprintf",
    arguments: [
      "writable_memory_or_null",
      "size_or_zero",
      "format_string",
      "readable_memory_or_null",
      "size_or_zero",
    ],
    types: anyType,
    // What is behind the text.
    leavesMemory: true,
    work: 400,
    call: printTo,
  },
];

/** The format at `start` up to its closing zero, which must be among `size` bytes. */
function readFormat(run: HelperRun, start: number, size: number): string | undefined {
  const { bytes } = run.context.arena;
  const end = bytes.subarray(start, start + size).indexOf(0);
  if (end < 0) return undefined;
  run.work += formatByteSteps * end;
  let text = "";
  for (let i = 0; i < end; i++) text += String.fromCharCode(bytes[start + i]!);
  return text;
}

/** The 64-bit words at `start`: undefined where their size is none that the kernel takes. */
function readValues(
  { context }: HelperRun,
  start: number,
  size: number,
): TraceArgument[] | undefined {
  if (size % 8 !== 0 || size > maxArguments * 8) return undefined;
  const { view } = context.arena;
  return Array.from({ length: size / 8 }, (_, i) => ({
    low: view.getInt32(start + 8 * i, true),
    high: view.getInt32(start + 8 * i + 4, true),
  }));
}

/** Writes a line for whoever watches; its length, or -EINVAL where the format is none. */
function print(
  run: HelperRun,
  format: string | undefined,
  values: readonly TraceArgument[] | undefined,
): number {
  if (format === undefined || values === undefined) return -errno.EINVAL;
  const line = formatTrace(format, values, byteSource(run));
  if (line === undefined) return -errno.EINVAL;
  run.context.trace(readable(line.text));
  return line.length;
}

/** bpf_snprintf: r1 the buffer of r2 bytes, r3 the format, r4 the arguments' r5 bytes. */
function printTo(run: HelperRun): number {
  const { registers, context } = run;
  const { bytes } = context.arena;
  const [to, room, at] = [registers[R1]!, registers[R2]!, registers[R3]!];
  const format = readFormat(run, at, bytes.length - at);
  const values = readValues(run, registers[R4]!, registers[R5]!);
  if (format === undefined || values === undefined) return -errno.EINVAL;
  const options = { maxBytes: Math.max(0, room - 1), verbatim: true };
  const line = formatTrace(format, values, byteSource(run), options);
  if (line === undefined) return -errno.EINVAL;
  if (room > 0) {
    for (let i = 0; i < line.text.length; i++) bytes[to + i] = line.text.charCodeAt(i);
    bytes[to + line.text.length] = 0;
  }
  run.work += textByteSteps * line.text.length;
  return line.length + 1;
}

/** The line as text: its bytes are UTF-8, of which no control character reaches a terminal. */
function readable(line: string): string {
  const text = Buffer.from(line.replace(/\n$/, ""), "latin1").toString("utf8");
  return text.replace(/[\x80-\x9f]/g, "?");
}

function byteSource({ memory, context }: HelperRun): ByteSource {
  return (low, high, index) =>
    memory.readable(low + index, high, 1) ? context.arena.bytes[low + index] : undefined;
}
