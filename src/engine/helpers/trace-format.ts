import { type Conversion, isFormatText, parseConversion } from "../../verifier/format-string.ts";

/** What `%s` and `%pI4` read their bytes from: undefined where the program has no object there. */
export type ByteSource = (low: number, high: number, index: number) => number | undefined;

/** One argument of the format: a 64-bit register as two words. */
export interface TraceArgument {
  readonly low: number;
  readonly high: number;
}

/** The line, cut to what a kernel's trace buffer holds, and its length before that. */
export interface TraceLine {
  readonly text: string;
  readonly length: number;
}

/** Kernel: BPF_TRACE_PRINTK_SIZE with the closing zero, and MAX_BPRINTF_BIN_ARGS for strings. */
const maxTraceBytes = 1023;

/** How `formatTrace` does it. */
export interface FormatOptions {
  /** Longest text that is kept. */
  readonly maxBytes: number;
  /** Strings as they are: for a program, not for people. */
  readonly verbatim: boolean;
}

const forTrace: FormatOptions = { maxBytes: maxTraceBytes, verbatim: false };

const maxStringBytes = 511;

/**
 * The text `bpf_trace_printk` makes of a format (bytes as characters, without the closing zero), or
 * undefined where the kernel refuses the format with -EINVAL: kernel/trace/bpf_trace.c and
 * bpf_bprintf_prepare in kernel/bpf/helpers.c. Time and memory are bounded whatever it says.
 *
 * Pointers are shown as they are, not hashed: they are arena offsets and tell nothing.
 */
export function formatTrace(
  format: string,
  values: readonly TraceArgument[],
  read: ByteSource,
  options = forTrace,
): TraceLine | undefined {
  if (!isFormatText(format)) return undefined;
  let text = "";
  let length = 0;
  let used = 0;
  const put = (piece: string, flags: string, width: number): void => {
    const padding = Math.max(0, width - piece.length);
    length += piece.length + padding;
    const { maxBytes } = options;
    if (text.length >= maxBytes) return;
    text = `${text}${pad(piece, flags, Math.min(padding, maxBytes))}`.slice(0, maxBytes);
  };
  let i = 0;
  while (i < format.length) {
    if (format[i] !== "%") {
      const next = format.indexOf("%", i);
      const end = next < 0 ? format.length : next;
      put(format.slice(i, end), "", 0);
      i = end;
    } else if (format[i + 1] === "%") {
      put("%", "", 0);
      i += 2;
    } else {
      const value = values[used++];
      const conversion = parseConversion(format, i + 1);
      if (value === undefined || conversion === undefined) return undefined;
      const zeroPads = /[diuxX]$/.test(conversion.type);
      const flags = zeroPads ? conversion.flags : conversion.flags.replaceAll("0", "");
      put(convert(conversion, value, read, options.verbatim), flags, conversion.width);
      i = conversion.end;
    }
  }
  return { text, length };
}

function convert(
  { type, flags }: Conversion,
  value: TraceArgument,
  read: ByteSource,
  verbatim: boolean,
): string {
  switch (type) {
    case "c":
      return character(value.low & 0xff, verbatim);
    case "s":
    case "pks":
    case "pus":
      return readString(value, read, verbatim);
    case "p":
    case "pK":
    case "px":
      return number(value, true).toString(16).padStart(16, "0");
    case "ps":
    case "pS":
    case "pB":
      return `0x${number(value, true).toString(16)}`;
    case "pI4":
    case "pi4":
    case "pI6":
    case "pi6":
      return address(type, value, read);
    default:
      return integer(type, flags, value);
  }
}

function integer(type: string, flags: string, value: TraceArgument): string {
  const wide = type.includes("l");
  switch (type.at(-1)) {
    case "x":
      return number(value, wide).toString(16);
    case "X":
      return number(value, wide).toString(16).toUpperCase();
    case "u":
      return number(value, wide).toString();
    default: {
      const signed = BigInt.asIntN(wide ? 64 : 32, number(value, wide));
      const sign = flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
      return signed < 0n ? signed.toString() : sign + signed.toString();
    }
  }
}

function number({ low, high }: TraceArgument, wide: boolean): bigint {
  return (wide ? BigInt(high >>> 0) << 32n : 0n) | BigInt(low >>> 0);
}

/** A string that cannot be read is empty, as in the kernel. */
function readString({ low, high }: TraceArgument, read: ByteSource, verbatim: boolean): string {
  let text = "";
  while (text.length < maxStringBytes) {
    const byte = read(low, high, text.length);
    if (byte === undefined) return "";
    if (byte === 0) break;
    text += character(byte, verbatim);
  }
  return text;
}

/** Control characters would reach a terminal or a log from whoever sent the packet. */
function character(byte: number, verbatim: boolean): string {
  return !verbatim && (byte < 32 || byte === 127) ? "?" : String.fromCharCode(byte);
}

/** An address that cannot be read is all zeros, as in the kernel. */
function address(type: string, { low, high }: TraceArgument, read: ByteSource): string {
  const bytes = Array.from({ length: type.endsWith("4") ? 4 : 16 }, (_, i) => read(low, high, i));
  const known = bytes.includes(undefined) ? bytes.map(() => 0) : (bytes as number[]);
  if (type === "pI4") return known.join(".");
  if (type === "pi4") return known.map((byte) => String(byte).padStart(3, "0")).join(".");
  const digits = known.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return type === "pi6" ? digits : digits.replace(/(.{4})(?!$)/g, "$1:");
}

function pad(piece: string, flags: string, padding: number): string {
  if (padding === 0) return piece;
  if (flags.includes("-")) return piece + " ".repeat(padding);
  if (!flags.includes("0")) return " ".repeat(padding) + piece;
  const sign = /^[-+ ]/.exec(piece)?.[0] ?? "";
  return sign + "0".repeat(padding) + piece.slice(sign.length);
}
