import {
  FUNCTION,
  I32,
  I64,
  i32,
  i64,
  isNull,
  type Operation,
  table,
  V128,
  v128,
} from "./wasm-operation.ts";

/**
 * A compiled module as text, in the form of WebAssembly's (WAT): its types, imports, exports and
 * functions, an instruction a line, indented by block. It reads what this JIT writes: anything else is
 * a bug, and throws.
 */
export function printModule(bytes: Uint8Array): string {
  const reader = new Reader(bytes, 8);
  const parts = new Parts();
  const lines = ["(module"];
  while (!reader.atEnd) {
    const section = reader.byte();
    const end = reader.unsigned() + reader.at;
    switch (section) {
      case 0:
        lines[0] = `(module $${readModuleName(reader)}`;
        break;
      case 1:
        for (let n = reader.unsigned(); n > 0; n--) parts.types.push(readType(reader));
        break;
      case 2:
        for (let n = reader.unsigned(); n > 0; n--) lines.push(`  ${readImport(reader, parts)}`);
        break;
      case 3:
        for (let n = reader.unsigned(); n > 0; n--) parts.functions.push(reader.unsigned());
        break;
      case 7:
        for (let n = reader.unsigned(); n > 0; n--) {
          const name = reader.name();
          reader.byte();
          parts.exports.set(reader.unsigned(), name);
        }
        break;
      case 10:
        for (let n = reader.unsigned(), i = 0; i < n; i++) printFunction(reader, parts, i, lines);
        break;
      default:
        throw new Error(`section ${section} at ${reader.at}`);
    }
    if (reader.at !== end) throw new Error(`section ${section} ends at ${reader.at}, not ${end}`);
  }
  lines.push(")");
  return lines.join("\n");
}

interface FunctionShape {
  readonly parameters: readonly string[];
  readonly results: readonly string[];
}

class Parts {
  readonly types: FunctionShape[] = [];
  /** Imported functions' names: they come first in the numbering. */
  readonly imported: string[] = [];
  /** The others' types. */
  readonly functions: number[] = [];
  readonly exports = new Map<number, string>();

  nameOf(index: number): string {
    const exported = this.exports.get(index);
    return this.imported[index] ?? (exported === undefined ? `$f${index}` : `$${exported}`);
  }
}

/** Of the section "name", in which nothing else is named. */
function readModuleName(reader: Reader): string {
  const section = reader.name();
  const kind = reader.byte();
  if (section !== "name" || kind !== 0) throw new Error(`custom section ${section}, part ${kind}`);
  reader.unsigned();
  return reader.name();
}

function readType(reader: Reader): FunctionShape {
  reader.byte();
  return { parameters: reader.types(), results: reader.types() };
}

function readImport(reader: Reader, parts: Parts): string {
  const module = reader.name();
  const name = reader.name();
  const kind = reader.byte();
  const from = `(import "${module}" "${name}"`;
  if (kind === 0) {
    const type = parts.types[reader.unsigned()]!;
    parts.imported.push(`$${name}`);
    return `${from} (func $${name}${shape(type)}))`;
  }
  const element = kind === 1 ? reader.byte() : 0;
  const hasMaximum = (reader.byte() & 1) !== 0;
  const limits = [reader.unsigned(), ...(hasMaximum ? [reader.unsigned()] : [])].join(" ");
  return element === FUNCTION
    ? `${from} (table ${limits} funcref))`
    : `${from} (memory ${limits} shared))`;
}

function shape({ parameters, results }: FunctionShape): string {
  const list = (word: string, types: readonly string[]): string =>
    types.length === 0 ? "" : ` (${word} ${types.join(" ")})`;
  return `${list("param", parameters)}${list("result", results)}`;
}

function printFunction(reader: Reader, parts: Parts, number: number, lines: string[]): void {
  const end = reader.unsigned() + reader.at;
  const index = parts.imported.length + number;
  const exported = parts.exports.get(index);
  const type = parts.types[parts.functions[number]!]!;
  const marks = exported === undefined ? "" : ` (export "${exported}")`;
  lines.push(`  (func ${parts.nameOf(index)}${marks}${shape(type)}`);
  for (let runs = reader.unsigned(); runs > 0; runs--) {
    const count = reader.unsigned();
    const local = reader.type();
    lines.push(`    (local${` ${local}`.repeat(count)})`);
  }
  let depth = 0;
  while (reader.at < end) {
    const { text, change } = readInstruction(reader, parts);
    // `end` and `else` stand where their block does; the function's last `end` is its parenthesis.
    if (change < 0 || text === "else") depth--;
    if (depth < 0) break;
    lines.push(`${" ".repeat(4 + 2 * depth)}${text}`);
    if (change > 0 || text === "else") depth++;
  }
  if (reader.at !== end) throw new Error(`function ${index} ends at ${reader.at}, not ${end}`);
  lines.push("  )");
}

interface Printed {
  readonly text: string;
  /** Blocks that it opens, or closes. */
  readonly change: number;
}

function readInstruction(reader: Reader, parts: Parts): Printed {
  const code = reader.byte();
  const plain = (text: string, change = 0): Printed => ({ text, change });
  const number = (): number => reader.unsigned();
  const throughTable = (word: string): Printed => {
    const type = parts.types[number()]!;
    number();
    return plain(`${word}${shape(type)}`);
  };
  switch (code) {
    case 0x00:
      return plain("unreachable");
    case 0x02:
      return plain(`block${reader.blockType()}`, 1);
    case 0x03:
      return plain(`loop${reader.blockType()}`, 1);
    case 0x04:
      return plain(`if${reader.blockType()}`, 1);
    case 0x05:
      return plain("else");
    case 0x0b:
      return plain("end", -1);
    case 0x0c:
      return plain(`br ${number()}`);
    case 0x0d:
      return plain(`br_if ${number()}`);
    case 0x0e: {
      const count = number() + 1;
      return plain(`br_table ${Array.from({ length: count }, number).join(" ")}`);
    }
    case 0x0f:
      return plain("return");
    case 0x10:
      return plain(`call ${parts.nameOf(number())}`);
    case 0x11:
      return throughTable("call_indirect");
    case 0x12:
      return plain(`return_call ${parts.nameOf(number())}`);
    case 0x13:
      return throughTable("return_call_indirect");
    case 0x1a:
      return plain("drop");
    case 0x1b:
      return plain("select");
    case 0x20:
      return plain(`local.get ${number()}`);
    case 0x21:
      return plain(`local.set ${number()}`);
    case 0x22:
      return plain(`local.tee ${number()}`);
    case 0x41:
      return plain(`i32.const ${reader.signed()}`);
    case 0x42:
      return plain(`i64.const ${reader.signed()}`);
    default:
      return plain(readOperation(reader, code));
  }
}

/** An operation of wasm-operation.ts, with the offset of one on memory. */
function readOperation(reader: Reader, first: number): string {
  let found = operations.get(key([first]));
  if (found === undefined) {
    const code = [first, reader.byte()];
    found = operations.get(key(code));
    if (found === undefined) {
      code.push(reader.byte());
      found = operations.get(key(code));
    }
    if (found === undefined) throw new Error(`instruction ${code.join(" ")} before ${reader.at}`);
  }
  if (found.operation.align === undefined) return found.name;
  reader.unsigned();
  const offset = reader.unsigned();
  return offset === 0 ? found.name : `${found.name} offset=${offset}`;
}

function key(code: readonly number[]): string {
  return code.join();
}

/** What the text format calls those whose names here are short. */
const longNames: Readonly<Record<string, string>> = {
  "i32.wrap": "i32.wrap_i64",
  "i64.extend_u": "i64.extend_i32_u",
  "i64.extend_s": "i64.extend_i32_s",
};

const operations = new Map<string, { readonly name: string; readonly operation: Operation }>();

type OperationTable = { readonly [name: string]: Operation | OperationTable };

function addOperations(prefix: string, of: OperationTable): void {
  for (const [name, one] of Object.entries(of)) {
    if (Array.isArray(one.code)) {
      const own = `${prefix}.${name}`;
      const operation = one as Operation;
      operations.set(key(operation.code), { name: longNames[own] ?? own, operation });
    } else addOperations(`${prefix}.atomic.${name}`, one as OperationTable);
  }
}
addOperations("i32", i32);
addOperations("i64", i64);
addOperations("v128", v128);
addOperations("table", table);
addOperations("ref", { is_null: isNull });

const typeNames = new Map<number, string>([
  [I32, "i32"],
  [I64, "i64"],
  [V128, "v128"],
  [FUNCTION, "funcref"],
]);

/** Reads the integers and names of the binary format, forwards. */
class Reader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  get atEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new Error("the module ends in the middle");
    return byte;
  }

  unsigned(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; ) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte < 0x80) return BigInt.asIntN(Number(shift), value);
    }
  }

  name(): string {
    const length = this.unsigned();
    this.at += length;
    return new TextDecoder().decode(this.#bytes.slice(this.at - length, this.at));
  }

  type(): string {
    const code = this.byte();
    const name = typeNames.get(code);
    if (name === undefined) throw new Error(`type ${code}`);
    return name;
  }

  types(): string[] {
    return Array.from({ length: this.unsigned() }, () => this.type());
  }

  blockType(): string {
    if (this.#bytes[this.at] === 0x40) {
      this.at++;
      return "";
    }
    return ` (result ${this.type()})`;
  }
}
