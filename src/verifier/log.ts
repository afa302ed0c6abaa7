import { disassemble } from "../isa/disassembler.ts";
import { formOf } from "../isa/form.ts";
import type { Instruction } from "../isa/instruction.ts";
import { rowOfForm } from "../isa/opcodes.ts";
import { writtenRegister } from "../isa/written-register.ts";
import type { SourceLine } from "../object/object-spec.ts";
import type { Analysis } from "./analysis.ts";
import { lineAt } from "./describe-place.ts";
import { helperName } from "./helper-signature.ts";
import type { Frame } from "./path-state.ts";
import { mapOf } from "./program.ts";
import { type RegisterState, uninitialised } from "./register-state.ts";
import { isConstant, type ScalarRange, s64max, s64min, u64max } from "./scalar-range.ts";
import { byteKind, misc, type StackSlot, spilled, zero } from "./stack-state.ts";

/**
 * The trace of a verification in the form of the kernel's log at level 2: each instruction visited,
 * with the registers and stack slots it changed, and where paths begin and end.
 */
export class VerifierLog {
  readonly #write: (line: string) => void;
  readonly #lines: readonly SourceLine[];
  #registers: RegisterState[] = [];
  #stack: readonly (StackSlot | undefined)[] = [];
  #frame: Frame | undefined;
  #slot = 0;
  #source: SourceLine | undefined;

  constructor(write: (line: string) => void, lines: readonly SourceLine[]) {
    this.#write = write;
    this.#lines = lines;
  }

  /** Everything known, at the start of a function. */
  state(a: Analysis, slot: number): void {
    this.#write(`${slot}: ${stateText(a)}`.trimEnd());
  }

  /** A path put aside is taken up. */
  resume(a: Analysis, slot: number): void {
    const from = a.state.step < 0 ? 0 : a.trace.slot(a.state.step);
    this.#write("");
    this.#write(`from ${from} to ${slot}: ${stateText(a)}`.trimEnd());
  }

  /** The path ends here, since an earlier one covers it. */
  covered(slot: number): void {
    this.#write(`${slot}: safe`);
  }

  before(a: Analysis): void {
    const { frame } = a.state;
    this.#slot = a.slot;
    this.#frame = frame;
    this.#registers = frame.registers.slice();
    this.#stack = frame.stack.slice();
    this.#writeSource(a.slot);
  }

  after(a: Analysis): void {
    const text = instructionText(a, this.#slot);
    const { frame } = a.state;
    const changed = frame === this.#frame ? this.#changed(frame, a) : "";
    this.#write(changed === "" ? text : `${text.padEnd(40)} ; ${changed}`);
    if (frame !== this.#frame) this.#write(`${this.#slot}: ${stateText(a)}`.trimEnd());
  }

  /** The instruction that was refused, which has no `after`. */
  refused(a: Analysis, cause: string): void {
    this.#write(instructionText(a, a.slot));
    this.#write(cause);
  }

  /** The program is explored once more. */
  again(how: string): void {
    this.#write("");
    this.#write(`again, ${how}`);
    this.#source = undefined;
  }

  end(visited: number, checkpoints: number): void {
    this.#write(`processed ${visited} insns, ${checkpoints} states kept`);
  }

  #writeSource(slot: number): void {
    const line = lineAt(this.#lines, slot);
    if (line === undefined || line === this.#source) return;
    this.#source = line;
    this.#write(`; ${line.text.trim()} @ ${line.file}:${line.line}`);
  }

  /** What the instruction wrote, also if it is what was there before, and what else is known better. */
  #changed(frame: Frame, a: Analysis): string {
    const parts: string[] = [];
    const instruction = a.instructions[this.#slot] as Instruction;
    const written = isCall(instruction) ? 0 : writtenRegister(instruction);
    for (let r = 0; r < 10; r++) {
      const held = frame.registers[r] as RegisterState;
      if ((held !== this.#registers[r] || r === written) && held !== uninitialised)
        parts.push(`R${r}=${registerText(held, a)}`);
    }
    for (const [slot, held] of frame.stack.entries())
      if (held !== undefined && held !== this.#stack[slot]) parts.push(slotText(slot, held, a));
    return parts.join(" ");
  }
}

function isCall({ kind }: Instruction): boolean {
  return kind === "call_helper" || kind === "call_register" || kind === "call_local";
}

function instructionText(a: Analysis, slot: number): string {
  const instruction = a.instructions[slot] as Instruction;
  const form = formOf(instruction);
  const row = form === undefined ? undefined : rowOfForm(form);
  const code = (row?.code ?? 0).toString(16).padStart(2, "0");
  const helper = (id: number): string | undefined => helperName(a.helpers, id);
  return `${slot}: (${code}) ${disassemble(instruction, { style: "kernel", helper })}`;
}

function stateText(a: Analysis): string {
  const { frame, depth } = a.state;
  const parts = depth === 0 ? [] : [`frame${depth}:`];
  for (let r = 0; r < 11; r++) {
    const held = frame.registers[r] as RegisterState;
    if (held.kind !== "uninitialised") parts.push(`R${r}=${registerText(held, a)}`);
  }
  for (const [slot, held] of frame.stack.entries())
    if (held !== undefined) parts.push(slotText(slot, held, a));
  return parts.join(" ");
}

function slotText(slot: number, held: StackSlot, a: Analysis): string {
  const name = `fp${-8 * (slot + 1)}`;
  if (held.register !== undefined) return `${name}=${registerText(held.register, a)}`;
  let bytes = "";
  for (let byte = 7; byte >= 0; byte--) {
    const kind = byteKind(held, byte);
    bytes += kind === zero ? "0" : kind === misc ? "m" : kind === spilled ? "r" : "?";
  }
  return `${name}=${bytes}`;
}

function registerText(held: RegisterState, a: Analysis): string {
  const { kind, range, offset, id, extent, target, frame } = held;
  if (kind === "scalar") {
    if (isConstant(range)) return range.smin < 0n ? `${range.smin}` : shortHex(range.value);
    return `scalar(${[...(id === 0 ? [] : [`id=${id}`]), ...rangeParts(range)].join(",")})`;
  }
  const variable = isConstant(range) && range.value === 0n ? [] : rangeParts(range);
  const ids = id === 0 ? [] : [`id=${id}`];
  const offsets = offset === 0 ? [] : [`off=${offset}`];
  const orNull = held.nullable ? "_or_null" : "";
  switch (kind) {
    case "stack": {
      const base = frame === a.state.depth ? "fp" : `fp[${frame}]`;
      return `${base}${offset}${variable.length > 0 ? `(${variable.join(",")})` : ""}`;
    }
    case "context":
      return `ctx(${offsets.join(",")})`;
    case "packet":
    case "packet_meta": {
      const parts = [...ids, ...offsets, `r=${Math.max(0, extent)}`, ...variable];
      return `${kind === "packet" ? "pkt" : "pkt_meta"}(${parts.join(",")})`;
    }
    case "packet_end":
      return "pkt_end()";
    case "map":
    case "map_value": {
      const map = mapOf(a.program, target);
      const parts = [...ids, `map=${map.name}`, `ks=${map.keySize}`, `vs=${map.valueSize}`];
      const name = kind === "map" && !held.nullable ? "map_ptr" : `map_value${orNull}`;
      return `${name}(${[...parts, ...offsets, ...variable].join(",")})`;
    }
    case "map_key":
      return `map_key(${[...offsets, ...variable].join(",")})`;
    case "memory":
      return `mem${orNull}(${[...ids, `sz=${extent}`, ...offsets, ...variable].join(",")})`;
    case "sock_common":
    case "sock":
    case "tcp_sock":
      return `${kind}${orNull}(${ids.join(",")})`;
    case "function":
      return "func()";
    default:
      return "";
  }
}

function rangeParts(range: ScalarRange): string[] {
  const parts: string[] = [];
  if (range.smin !== s64min) parts.push(`smin=${range.smin}`);
  if (range.smax !== s64max) parts.push(`smax=${range.smax}`);
  if (range.umin !== 0n) parts.push(`umin=${range.umin}`);
  if (range.umax !== u64max) parts.push(`umax=${range.umax}`);
  if (range.mask !== u64max)
    parts.push(`var_off=(${shortHex(range.value)}; ${shortHex(range.mask)})`);
  return parts;
}

function shortHex(value: bigint): string {
  return value < 10n ? `${value}` : `0x${value.toString(16)}`;
}
