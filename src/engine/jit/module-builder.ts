import { ByteWriter } from "./byte-writer.ts";
import { FunctionBuilder, type FunctionReference, type FunctionType } from "./function-builder.ts";
import { FUNCTION, type ValueType } from "./wasm-operation.ts";

/** Section numbers. WebAssembly core specification, 5.5.2. */
const sections = { custom: 0, type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
/** Of the custom section "name": the module's own. Appendix, 7.4.1. */
const moduleNameKind = 0;
const functionKind = 0;
const tableKind = 1;
const memoryKind = 2;
const functionType = 0x60;
/** Limits of a memory that is shared and has a maximum. */
const sharedLimits = 3;
/** Limits without a maximum. */
const openLimits = 0;
/** Of a 32-bit memory, in pages of 64 KiB. */
const maxPages = 65_536;

/** Bytes of all in a module but imports and code. */
const likelyRest = 512;

/** V8's limit on a function's body: kV8MaxWasmFunctionSize. */
export const maxFunctionBytes = 7_654_321;

/**
 * Writes a WebAssembly module: declare imports, then functions, give each its body, then `finish`.
 * Its one memory is imported, and so is its table, if it has one.
 */
export class ModuleBuilder {
  readonly #types = new Map<string, number>();
  readonly #typeBytes = new ByteWriter();
  readonly #importBytes = new ByteWriter();
  #imports = 0;
  #importedFunctions = 0;
  readonly #functionTypes: number[] = [];
  readonly #bodies: (FunctionBuilder | undefined)[] = [];
  readonly #codeStarts: number[] = [];
  readonly #exports: { readonly name: string; readonly index: number }[] = [];

  /** A memory of whatever size that another instance shares. */
  importSharedMemory(module: string, name: string): void {
    this.#import(module, name, memoryKind);
    this.#importBytes.byte(sharedLimits);
    this.#importBytes.unsigned(1);
    this.#importBytes.unsigned(maxPages);
  }

  /** A table of functions of whatever size. */
  importTable(module: string, name: string): void {
    this.#import(module, name, tableKind);
    this.#importBytes.byte(FUNCTION);
    this.#importBytes.byte(openLimits);
    this.#importBytes.unsigned(0);
  }

  /** A type for calls through the table. */
  functionType(parameters: readonly ValueType[], results: readonly ValueType[]): FunctionType {
    return { index: this.#type(parameters, results), parameters, results };
  }

  importFunction(
    module: string,
    name: string,
    parameters: readonly ValueType[],
    results: readonly ValueType[],
  ): FunctionReference {
    if (this.#functionTypes.length > 0) throw new Error(`import ${name} after a function`);
    this.#import(module, name, functionKind);
    this.#importBytes.unsigned(this.#type(parameters, results));
    return { index: this.#importedFunctions++, parameters, results };
  }

  /** A function to be called before or after `define` has given it a body. */
  declare(parameters: readonly ValueType[], results: readonly ValueType[]): FunctionReference {
    const index = this.#importedFunctions + this.#functionTypes.length;
    this.#functionTypes.push(this.#type(parameters, results));
    this.#bodies.push(undefined);
    return { index, parameters, results };
  }

  /**
   * The body of a declared function, to be emitted and ended by the caller; `capacity`: the bytes of
   * code that are likely.
   */
  define(reference: FunctionReference, capacity?: number): FunctionBuilder {
    const body = new FunctionBuilder(reference.parameters, reference.results, capacity);
    const at = reference.index - this.#importedFunctions;
    if (at < 0 || at >= this.#bodies.length || this.#bodies[at] !== undefined)
      throw new Error(`function ${reference.index} is imported, unknown or already defined`);
    this.#bodies[at] = body;
    return body;
  }

  export(name: string, reference: FunctionReference): void {
    this.#exports.push({ name, index: reference.index });
  }

  /** Bytes of all bodies so far. */
  get codeBytes(): number {
    return this.#bodies.reduce((sum, body) => sum + (body?.size ?? 0), 0);
  }

  /** Bytes of the largest body so far. */
  get largestBody(): number {
    return this.#bodies.reduce((most, body) => Math.max(most, body?.size ?? 0), 0);
  }

  /** Once finished: the offset in the module where the code of a function begins. */
  codeStart(reference: FunctionReference): number {
    return this.#codeStarts[reference.index - this.#importedFunctions]!;
  }

  /**
   * The module, which V8 calls `name` in stack traces. Throws where a function has no body or one that
   * was not ended.
   */
  finish(name?: string): Uint8Array {
    const out = new ByteWriter(this.codeBytes + this.#importBytes.length + likelyRest);
    out.append([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    section(out, sections.type, this.#types.size, (to) => to.append(this.#typeBytes.bytes));
    section(out, sections.import, this.#imports, (to) => to.append(this.#importBytes.bytes));
    section(out, sections.function, this.#functionTypes.length, (to) => {
      for (const type of this.#functionTypes) to.unsigned(type);
    });
    section(out, sections.export, this.#exports.length, (to) => {
      for (const { name, index } of this.#exports) {
        to.name(name);
        to.byte(functionKind);
        to.unsigned(index);
      }
    });
    this.#writeBodies(out);
    if (name !== undefined) writeName(out, name);
    return out.bytes;
  }

  /** The code section, which is nearly all of a module: written in place. */
  #writeBodies(out: ByteWriter): void {
    const bodies = this.#bodies.map((body, i) => {
      if (body === undefined) throw new Error(`function ${i} was declared and has no body`);
      const { locals, code } = body.finish();
      const length = new ByteWriter();
      length.unsigned(locals.length + code.length);
      return [length.bytes, locals, code] as const;
    });
    const count = new ByteWriter();
    count.unsigned(bodies.length);
    out.byte(sections.code);
    out.unsigned(bodies.flat().reduce((sum, { length }) => sum + length, count.length));
    out.append(count.bytes);
    for (const [length, locals, code] of bodies) {
      out.append(length);
      out.append(locals);
      this.#codeStarts.push(out.length);
      out.append(code);
    }
  }

  #import(module: string, name: string, kind: number): void {
    this.#imports++;
    this.#importBytes.name(module);
    this.#importBytes.name(name);
    this.#importBytes.byte(kind);
  }

  #type(parameters: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${parameters}:${results}`;
    const known = this.#types.get(key);
    if (known !== undefined) return known;
    const index = this.#types.size;
    this.#types.set(key, index);
    this.#typeBytes.byte(functionType);
    for (const types of [parameters, results]) {
      this.#typeBytes.unsigned(types.length);
      this.#typeBytes.append(types);
    }
    return index;
  }
}

function writeName(out: ByteWriter, name: string): void {
  const own = new ByteWriter();
  own.name(name);
  const content = new ByteWriter();
  content.name("name");
  content.byte(moduleNameKind);
  content.unsigned(own.length);
  content.append(own.bytes);
  out.byte(sections.custom);
  out.unsigned(content.length);
  out.append(content.bytes);
}

function section(
  out: ByteWriter,
  number: number,
  count: number,
  write: (to: ByteWriter) => void,
): void {
  const content = new ByteWriter();
  content.unsigned(count);
  write(content);
  out.byte(number);
  out.unsigned(content.length);
  out.append(content.bytes);
}
