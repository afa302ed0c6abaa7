import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { type Executable, stackBytes } from "../../src/engine/engine.ts";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { disassembleProgram } from "../../src/isa/disassembler.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import { SLOT_NETWORK, SLOT_SCRATCH } from "../../src/runtime/wasm/layout.ts";
import type { Verified } from "../../src/verifier/verified.ts";
import { verify } from "../../src/verifier/verify.ts";
import { type Declarations, typed } from "../verifier/function-types.ts";
import type { CaseMaps } from "./case-maps.ts";
import { assembled, EngineBench, type Run, spec } from "./engine-bench.ts";
import { linkUnverified } from "./unverified.ts";

/** One program and its packet. */
export interface PairedCase {
  readonly program: readonly Instruction[];
  readonly type: ProgramType;
  readonly packet: Uint8Array;
  /** What tail calls lead to, in order of their places. */
  readonly targets?: readonly (readonly Instruction[])[];
  /** Runs the JIT's code without checks: only for programs that need none. */
  readonly verified?: boolean;
  /** With what the verifier, which must accept the program, proved of it. */
  readonly proven?: boolean;
  /** Its functions have types, and these are global: the verifier looks at each on its own. */
  readonly globals?: Declarations;
}

/**
 * The interpreter and the JIT side by side, each with an arena of its own that is laid out the same:
 * a program finds the same addresses in both, and may leave nothing different behind but in the
 * stack. Maps keep what programs put into them, in both alike.
 */
export class EnginePair {
  readonly #benches = [
    new EngineBench(interpreter, 1 << 20),
    new EngineBench(jit, 1 << 20),
  ] as const;
  readonly #maps: readonly (readonly MapHandle[])[];
  readonly #everSeen = new Map<string, number>();

  constructor(makeMaps: (bench: EngineBench) => MapHandle[] = () => []) {
    this.#maps = this.#benches.map(makeMaps);
    // Hash functions have random keys.
    this.#alignArenas();
  }

  /** How often each fault, or "none", has come out. */
  get seen(): ReadonlyMap<string, number> {
    return this.#everSeen;
  }

  /**
   * What differs between the engines; undefined where nothing does. A budget's end is the same in
   * both only roughly: engine.ts says how they count. Then nothing else is compared.
   */
  difference(one: PairedCase): string | undefined {
    const [ours, theirs] = this.#benches.map((_, i) => this.#run(i, one));
    const fault = ours!.fault?.code ?? "none";
    this.#everSeen.set(fault, (this.#everSeen.get(fault) ?? 0) + 1);
    if ([ours, theirs].some((run) => run!.fault?.code === "budget_exceeded")) {
      this.#alignArenas();
      return ours!.fault?.code === theirs!.fault?.code ? undefined : "only one ends by its budget";
    }
    const [a, b] = [describe(ours!), describe(theirs!)];
    if (a !== b) {
      this.#alignArenas();
      return `interpreter: ${a}\njit:         ${b}`;
    }
    const at = this.#firstDifference();
    if (at === undefined) return undefined;
    this.#alignArenas();
    return `the arenas differ at 0x${at.toString(16)}`;
  }

  /** Whether the program changed the packet, as both engines have to note it. */
  wrote(one: PairedCase): boolean {
    expect(this.difference(one)).toBeUndefined();
    return this.#run(0, one).wrote;
  }

  /**
   * Whether a smaller form still differs. Code without checks does anything with a program that needs
   * them, and such a form is none.
   */
  differs(smaller: PairedCase): boolean {
    const { program, type, targets = [] } = smaller;
    const all = [program, ...targets];
    if (
      smaller.proven === true &&
      !all.every((one) => verified(one, type, this.#maps[0]!, smaller.globals).ok)
    )
      return false;
    if (smaller.verified === true && this.#run(0, smaller).fault !== undefined) return false;
    return this.difference(smaller) !== undefined;
  }

  #run(which: number, one: PairedCase): Run {
    const bench = this.#benches[which]!;
    bench.traced.length = 0;
    const programs: Executable[] = [];
    Object.assign(bench.context, { programs });
    for (const [i, target] of (one.targets ?? []).entries())
      programs.push(this.#prepare(which, target, `target${i}`, one));
    return bench.run(this.#prepare(which, one.program, "test", one), one.packet);
  }

  #prepare(
    which: number,
    program: readonly Instruction[],
    name: string,
    { type, verified, proven, globals }: PairedCase,
  ): Executable {
    const bench = this.#benches[which]!;
    const maps = this.#maps[which]!;
    const linked = linkUnverified(spec(program, name), maps, type);
    if (!linked.ok) throw linked.error;
    if (verified !== true) return bench.prepareLinked(linked.value);
    if (proven !== true) return bench.prepareLinked({ ...linked.value, verified });
    const proof = prove(program, type, maps, globals);
    return bench.prepareLinked({ ...linked.value, verified, proof });
  }

  #firstDifference(): number | undefined {
    const [a, b] = this.#benches.map(({ arena }) => Buffer.from(arena.bytes.buffer)) as [
      Buffer,
      Buffer,
    ];
    const { slot, context } = this.#benches[0];
    const { stack } = context;
    // A word of the slot is the engines' own, for keys of maps: the JIT's tail calls need none.
    for (const [from, to] of [
      [0, slot + SLOT_SCRATCH],
      [slot + SLOT_NETWORK, stack],
      [stack + stackBytes, this.#benches[0].arena.usedBytes],
    ] as const)
      if (a.compare(b, from, to, from, to) !== 0)
        return a.subarray(from, to).findIndex((byte, i) => byte !== b[from + i]) + from;
    return undefined;
  }

  /** After a difference, so that the next program starts from the same again. */
  #alignArenas(): void {
    this.#benches[1].arena.bytes.set(this.#benches[0].arena.bytes);
  }
}

/** What the verifier proves of a program; throws where it refuses it. */
export function prove(
  instructions: readonly Instruction[],
  type: ProgramType,
  maps: readonly MapHandle[],
  globals?: Declarations,
): Verified {
  const proof = verified(instructions, type, maps, globals);
  if (!proof.ok) throw new Error(`${proof.error.cause}\n${disassembleProgram(instructions)}`);
  return proof.value;
}

function verified(
  instructions: readonly Instruction[],
  type: ProgramType,
  maps: readonly MapHandle[],
  globals: Declarations | undefined,
): ReturnType<typeof verify> {
  const names = { object: "test", name: "test", functions: [], lines: [] };
  const program = { ...names, type, instructions, maps };
  return verify(globals === undefined ? program : typed(program, globals), helpers);
}

function describe(run: Run): string {
  const { fault } = run;
  const end =
    fault === undefined
      ? `r0 ${run.r0.toString(16)}`
      : `${fault.code} at ${fault.slot}: ${fault.message}`;
  return `${end}, packet ${toHex(run.meta)}|${toHex(run.data)}, wrote ${run.wrote}, redirect ${run.redirect.ifindex} ${run.redirect.flags}`;
}

const nothing: Instruction = { kind: "jump", offset: 0, long: false };

/** The case with as many instructions as possible made into nothing while it still `differs`. */
export function shrink(one: PairedCase, differs: (smaller: PairedCase) => boolean): PairedCase {
  let smallest = one;
  for (let slot = 0; slot < one.program.length; slot++) {
    const instruction = smallest.program[slot]!;
    if (["exit", "jump", "second_slot"].includes(instruction.kind)) continue;
    const program = smallest.program.slice();
    program[slot] = nothing;
    if (program[slot + 1]?.kind === "second_slot") program[slot + 1] = nothing;
    const smaller = { ...one, program };
    if (differs(smaller)) smallest = smaller;
  }
  return smallest;
}

/** Saves a case under cases/, where tests find it from now on. */
export function save(name: string, maps: CaseMaps, one: PairedCase): void {
  writeFileSync(new URL(`cases/${name}`, import.meta.url), `; maps ${maps}\n${shown(one)}\n`);
}

export interface SavedCase extends PairedCase {
  readonly name: string;
  readonly maps: CaseMaps;
}

/** All that have been saved. */
export function savedCases(): SavedCase[] {
  const folder = new URL("cases/", import.meta.url);
  const names = readdirSync(folder).filter((name) => name.endsWith(".asm"));
  return names.map((name) => {
    const text = readFileSync(new URL(name, folder), "utf8");
    const [, type] = /^; type (\w+)$/m.exec(text)!;
    const [, packet] = /^; packet ([0-9a-f]*)$/m.exec(text)!;
    const [own, ...targets] = text.split(/^; target$/m);
    const [, maps = "none"] = /^; maps (\w+)$/m.exec(text) ?? [];
    return {
      name,
      maps: maps as CaseMaps,
      program: assembled(own!),
      type: type as ProgramType,
      packet: parseHex(packet!)!,
      ...(targets.length > 0 && { targets: targets.map(assembled) }),
    };
  });
}

/** For a message, and what is saved. */
export function shown({ program, type, packet, targets = [] }: PairedCase): string {
  const own = `; type ${type}\n; packet ${toHex(packet)}\n${disassembleProgram(program)}`;
  return [own, ...targets.map((target) => disassembleProgram(target))].join("\n; target\n");
}
