/**
 * From machine code back to instructions: where a trap happened. V8 says it in a trap's stack trace,
 * as an offset in the module; so nothing is kept as a program runs.
 */

/** Where the instructions of a program stand in its module. */
export interface CodeOrigin {
  /** The module's name for V8 (`moduleName`). */
  readonly module: string;
  readonly functions: readonly FunctionOrigin[];
}

/** Of one function; the program's own may stand in two (entries.ts). */
export interface FunctionOrigin {
  /** Its number among the module's functions. */
  readonly index: number;
  /** Offset in the module where its code begins, behind its locals. */
  readonly codeStart: number;
  /** Its slots: from `start` up to, not including, `end`. */
  readonly start: number;
  readonly end: number;
  readonly places: Places;
}

/**
 * By slot of the program: 1 more than the offset of its code in the function's; 0 where it has none.
 * In shared memory: a long program's is not copied for each worker.
 */
export type Places = Uint32Array<SharedArrayBuffer>;

export function newPlaces(slots: number): Places {
  return new Uint32Array(new SharedArrayBuffer(slots * Uint32Array.BYTES_PER_ELEMENT));
}

/** An object may call its programs anything, of any length. */
const mostNameCharacters = 64;

/**
 * What a module is called in stack traces. With its length: programs of several objects, which may
 * tail-call each other, may have one name. Of that what has no meaning in a trace.
 */
export function moduleName(program: string, codeBytes: number): string {
  const plain = program.slice(0, mostNameCharacters).replaceAll(/[^\w.]/g, "_");
  return `${plain}.${codeBytes}`;
}

/** The place of a trap. */
export interface TrapPlace {
  readonly module: string;
  readonly index: number;
  readonly offset: number;
}

/** The uppermost frame that is WebAssembly's, as V8 prints it; undefined where there is none. */
export function placeOfTrap(trap: WebAssembly.RuntimeError): TrapPlace | undefined {
  const frame = /wasm:\/\/wasm\/([\w.]+)-[0-9a-f]+:wasm-function\[(\d+)\]:0x([0-9a-f]+)/.exec(
    trap.stack ?? "",
  );
  if (frame === null) return undefined;
  const [, module, index, offset] = frame;
  return { module: module!, index: Number(index), offset: Number.parseInt(offset!, 16) };
}

/** The slot whose code is there; undefined where it is none of an instruction, or another module's. */
export function slotAt(
  origin: CodeOrigin,
  { module, index, offset }: TrapPlace,
): number | undefined {
  if (module !== origin.module) return undefined;
  const within = origin.functions.find((one) => one.index === index);
  if (within === undefined) return undefined;
  let found: number | undefined;
  let nearest = 0;
  for (let slot = within.start; slot < within.end; slot++) {
    const place = within.places[slot]!;
    if (place <= nearest || place > offset - within.codeStart + 1) continue;
    found = slot;
    nearest = place;
  }
  return found;
}
