import { putU32le } from "../../src/common/bytes.ts";

/** A type of a `.BTF` section: name, kind, vlen, kind_flag, size or type, and the words behind. */
export interface BtfRow {
  readonly name?: string;
  readonly kind: number;
  readonly count?: number;
  readonly flag?: boolean;
  readonly type?: number;
  readonly tail?: readonly (number | string)[];
}

/** A section of these types; text among the words becomes an offset into the strings. */
export function btfSection(rows: readonly BtfRow[]): Uint8Array {
  let strings = "\0";
  const string = (text: string): number => {
    const at = strings.length;
    strings += `${text}\0`;
    return at;
  };
  const words = rows.flatMap(({ name, kind, count = 0, flag = false, type = 0, tail = [] }) => [
    name === undefined ? 0 : string(name),
    ((flag ? 1 << 31 : 0) | (kind << 24) | count) >>> 0,
    type,
    ...tail.map((word) => (typeof word === "string" ? string(word) : word)),
  ]);
  const text = new TextEncoder().encode(strings);
  const bytes = new Uint8Array(24 + words.length * 4 + text.length);
  bytes.set([0x9f, 0xeb, 1, 0, 24]);
  putU32le(bytes, 12, words.length * 4);
  putU32le(bytes, 16, words.length * 4);
  putU32le(bytes, 20, text.length);
  for (const [i, word] of words.entries()) putU32le(bytes, 24 + i * 4, word);
  bytes.set(text, 24 + words.length * 4);
  return bytes;
}
