import { errno } from "../../common/errno.ts";
import { anyType, type Helper, type HelperRun, R1, R2, R3, R4, R5 } from "./helper.ts";
import { type ByteSource, formatTrace } from "./trace-format.ts";

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
      const format = readFormat(run);
      if (format === undefined) return -errno.EINVAL;
      const { registers } = run;
      const values = [R3, R4, R5].map((at) => ({ low: registers[at]!, high: registers[at + 1]! }));
      const line = formatTrace(format, values, byteSource(run));
      if (line === undefined) return -errno.EINVAL;
      run.context.trace(readable(line.text));
      return line.length;
    },
  },
];

/** The format up to its closing zero, which must be among its bytes. */
function readFormat({ registers, context }: HelperRun): string | undefined {
  const { bytes } = context.arena;
  const start = registers[R1]!;
  const end = bytes.subarray(start, start + registers[R2]!).indexOf(0);
  if (end < 0) return undefined;
  let text = "";
  for (let i = 0; i < end; i++) text += String.fromCharCode(bytes[start + i]!);
  return text;
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
