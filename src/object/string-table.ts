/**
 * NUL-terminated strings by offset, as ELF and BTF keep them.
 *
 * Offsets may overlap, so a small hostile table could spell gigabytes: in total a table gives out
 * at most twice its own size (and 1 MiB), where an honest one stays below its size.
 */
export class StringTable {
  readonly #bytes: Uint8Array;
  readonly #known = new Map<number, string>();
  #budget: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#budget = bytes.length * 2 + 2 ** 20;
  }

  /** The string at `offset`; undefined where it starts or ends outside the table. */
  read(offset: number): string | undefined {
    const known = this.#known.get(offset);
    if (known !== undefined) return known;
    if (offset >= this.#bytes.length || this.#budget <= 0) return undefined;
    const end = this.#bytes.indexOf(0, offset);
    this.#budget -= (end < 0 ? this.#bytes.length : end) - offset + 1;
    if (end < 0) return undefined;
    const shown = Math.min(end, offset + maxBytes);
    const text = printable(decoder.decode(this.#bytes.subarray(offset, shown)));
    this.#known.set(offset, text);
    return text;
  }
}

/** Longer ones are cut: no identifier or source line is, and error messages repeat them. */
const maxBytes = 4096;

const decoder = new TextDecoder();

/** Names end up in terminals and logs: control characters (but tabs) become U+FFFD. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, "\ufffd");
}
