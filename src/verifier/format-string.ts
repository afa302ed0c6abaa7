/** A conversion of a format string, or undefined where the kernel refuses it. */
export interface Conversion {
  readonly flags: string;
  readonly width: number;
  /** After flags and width: `d`, `llx`, `s`, `pI4`. */
  readonly type: string;
  /** Index of the first character behind it. */
  readonly end: number;
}

/** What is neither space nor punctuation to the kernel's lib/ctype.c: letters of Latin-1 too. */
const inWord = /[A-Za-z0-9\x80-\x9f\xc0-\xd6\xd8-\xf6\xf8-\xff]/;
/** Kernel: FIELD_WIDTH_MAX. */
const maxWidth = (1 << 23) - 1;

/** The conversion whose `%` is before `start`: bpf_bprintf_prepare in the kernel's kernel/bpf/helpers.c. */
export function parseConversion(format: string, start: number): Conversion | undefined {
  let i = start;
  while ("0+- ".includes(format[i] ?? "none")) i++;
  const flags = format.slice(start, i);
  const digits = /^[1-9][0-9]*/.exec(format.slice(i, i + 16))?.[0] ?? "";
  i += digits.length;
  const width = Math.min(Number(digits || 0), maxWidth);
  const type = /^(?:p(?:[ku]s|[KxsSB]|[iI][46])|l{0,2}[diuxX]|[sc]|p)/.exec(
    format.slice(i, i + 3),
  )?.[0];
  if (type === undefined) return undefined;
  const end = i + type.length;
  // A plain pointer and a string must stand alone: a letter behind them would be a modifier.
  const mustEnd = type === "p" || type === "s" || type === "pks" || type === "pus";
  if (mustEnd && inWord.test(format[end] ?? "")) return undefined;
  return { flags, width, type, end };
}

/** Whether a format (bytes as characters) holds only what the kernel lets it hold. */
export function isFormatText(format: string): boolean {
  return /^[\t-\r -~\x80-\xff]*$/.test(format);
}

/** What is wrong about a format for `count` arguments, in words; arguments may be left over. */
export function formatProblem(format: string, count: number): string | undefined {
  if (!isFormatText(format)) return "the format holds control characters";
  let used = 0;
  for (let i = format.indexOf("%"); i >= 0; i = format.indexOf("%", i)) {
    if (format[i + 1] === "%") {
      i += 2;
      continue;
    }
    const conversion = parseConversion(format, i + 1);
    if (++used > count)
      return `the format asks for ${used} arguments or more, and ${count} are given`;
    if (conversion === undefined)
      return `the format's conversion ${used}, "${format.slice(i, i + 6)}", is none that helpers know`;
    i = conversion.end;
  }
  return undefined;
}
