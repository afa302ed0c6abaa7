import { maxFrames } from "../../src/engine/engine.ts";
import {
  type Instruction,
  type Operand,
  type Register,
  register,
  type Size,
} from "../../src/isa/instruction.ts";
import { aluOps, atomicOps, branchOps } from "../../src/isa/opcodes.ts";
import type { Random } from "../packet/random.ts";
import { assembled } from "./engine-bench.ts";

/**
 * Maps by index: an array of 4, a hash, a per-CPU array, an LRU hash, an LPM trie, one global value.
 * Behind them, for programs that make tail calls, the programs these lead to.
 */
export const structuredMaps = [
  "array",
  "hash",
  "percpu_array",
  "lru_hash",
  "lpm_trie",
  "array",
] as const;

/** What a program is made of beside what all have. */
export interface Shape {
  /** Only what the kernel does the same: no time, chance or eviction, and only plain maps. */
  readonly forKernel?: boolean;
  /** Seven functions, each of which calls the next, in place of three at most. */
  readonly deep?: boolean;
  /** With `deep`: only what the verifier proves. What is called back takes what it is given for what it is. */
  readonly provable?: boolean;
  /** Tail calls by map 6, of `structuredTargets` programs. */
  readonly tailCalls?: boolean;
}

/** Programs that tail calls lead to: slots 0 to 2 of map 6. */
export const structuredTargets = 3;

/** What holds while statements run, in the program and in its functions. */
interface Scope {
  readonly random: Random;
  /** r7 points to 64 bytes of packet, r8 to 8 bytes of a map's value. */
  readonly hasPacket: boolean;
  readonly functions: number;
  readonly shape: Shape;
  depth: number;
  /** Loops in use: each has its own counter on the stack. */
  loops: number;
}

/** Numbers live in r0 to r5; r6 is the context, r7 the packet, r8 a map's value, r9 a number. */
const numbers = [0, 1, 2, 3, 4, 5, 9] as const;
const packetBytes = 64;
/** Offsets from r10: numbers for loads and atomics, then keys, values, and loop counters. */
const stackWords = [-8, -16, -24, -32];
const keyAt = -40;
const valueAt = -56;
const counterAt = -64;

/** A call of the function with this number, until it is known where that lies. */
interface Call {
  readonly callee: number;
  /** Its address into r2 instead; a second slot follows. */
  readonly address?: true;
}
type Draft = Instruction | Call;

/**
 * A random xdp program that keeps a verifier's rules: every register is set before it is read, every
 * access stays in its object, loops are bounded. Arithmetic, branches, loops, stack, packet and map
 * values, atomics, helpers on maps, functions. Results end up in the packet.
 */
export function structuredProgram(random: Random, shape: Shape = {}): Instruction[] {
  const functions = shape.deep === true ? maxFrames - 1 : random.below(4);
  const bodies: Draft[][] = [
    [
      ...prologue,
      ...statements(
        { random, hasPacket: true, functions, shape, depth: 0, loops: 0 },
        2 + random.below(10),
      ),
      // The verifier refuses functions that nothing calls.
      ...(shape.provable === true ? [true, false] : []).flatMap((walks) =>
        provableCallBack(random, functions, walks),
      ),
      ...Array.from({ length: functions }, (_, callee) => [{ callee }, ...afterCall]).flat(),
      ...epilogue,
    ],
  ];
  const calledBack = {
    random,
    hasPacket: false,
    functions: functions - 1,
    shape,
    depth: 1,
    loops: 0,
  };
  if (shape.provable === true)
    for (const given of [walkArguments, loopArguments])
      bodies.push([
        ...given,
        ...statements(calledBack, 1 + random.below(5)),
        ...assembled("r0 &= 1"),
        exit,
      ]);
  for (let i = 0; i < functions; i++)
    bodies.push([
      ...functionPrologue,
      // A function calls only those behind it: no recursion.
      ...statements(
        { random, hasPacket: false, functions: functions - i - 1, shape, depth: 1, loops: 0 },
        1 + random.below(5),
      ),
      ...(shape.deep === true && i < functions - 1 ? [{ callee: functions - i - 2 }] : []),
      exit,
    ]);
  return link(bodies);
}

const exit: Instruction = { kind: "exit" };

const prologue = assembled(`
  r6 = r1
  r0 = 99
  r7 = *(u32 *)(r1 + 0)
  r2 = *(u32 *)(r1 + 4)
  r3 = r7
  r3 += ${packetBytes}
  if r3 <= r2 goto +1
  exit
  *(u32 *)(r10 ${keyAt}) = 1
  r2 = r10
  r2 += ${keyAt}
  r1 = map_by_fd(0) ll
  call 1
  if r0 != 0 goto +2
  r0 = 98
  exit
  r8 = r0
  ${[0, 1, 2, 3, 4, 5, 9].map((n, i) => `r${n} = *(u64 *)(r7 + ${8 * i})`).join("\n")}
  ${stackWords.map((at, i) => `*(u64 *)(r10 ${at}) = r${i}`).join("\n")}
`);

const epilogue: readonly Instruction[] = [
  ...assembled(`
  ${[0, 1, 2, 3, 4, 5].map((n) => `*(u64 *)(r7 + ${8 * n}) = r${n}`).join("\n")}
  r1 = *(u64 *)(r10 -8)
  *(u64 *)(r7 + 48) = r1
  r1 = *(u64 *)(r10 -24)
  *(u64 *)(r7 + 56) = r1
  r0 += r9`),
  exit,
];

/** A function's arguments are numbers. */
const functionPrologue = assembled(`
  r0 = r1
  r9 = r2
  ${stackWords.map((at, i) => `*(u64 *)(r10 ${at}) = r${i + 1}`).join("\n")}
`);

/** Of a callback: the map, an entry's key and value, and 0; and the turn, and 0. */
const walkArguments = assembled(`
  r0 = *(u64 *)(r3 + 0)
  r9 = *(u32 *)(r2 + 0)
  lock *(u64 *)(r3 + 0) += r9
  r1 = r0
  r2 = r9
  r3 = -3
  r4 = 4
  r5 = 0x55555555 ll
  ${stackWords.map((at, i) => `*(u64 *)(r10 ${at}) = r${i + 1}`).join("\n")}
`);
const loopArguments = assembled(`
  r0 = r1
  r9 = r1
  r3 = -3
  r4 = 4
  r5 = 0x55555555 ll
  ${stackWords.map((at, i) => `*(u64 *)(r10 ${at}) = r${i + 1}`).join("\n")}
`);

/** What calls leave undefined is set again. */
const afterCall = assembled([1, 2, 3, 4, 5].map((n) => `r${n} = ${n * 77 - 200}`).join("\n"));

function statements(scope: Scope, count: number): Draft[] {
  const out: Draft[] = [];
  for (let i = 0; i < count; i++) out.push(...statement(scope));
  return out;
}

function isForKernel({ shape }: Scope): boolean {
  return shape.forKernel === true;
}

/** Frames of eight functions fit the stack where those behind the first have only numbers there. */
function hasSmallFrame({ shape, hasPacket }: Scope): boolean {
  return shape.deep === true && !hasPacket;
}

function statement(scope: Scope): Draft[] {
  const { random } = scope;
  // Only the program itself has its context.
  if (scope.shape.tailCalls === true && scope.hasPacket && random.below(6) === 0)
    return tailCallTo(random.below(structuredTargets + 1));
  switch (random.below(19)) {
    case 0:
    case 1:
      return conditional(scope);
    case 2:
      return loop(scope);
    case 3:
    case 4:
      return [load(scope)];
    case 5:
    case 6:
      return [store(scope)];
    case 7:
      return [atomic(scope)];
    case 8:
      return mapCall(scope);
    case 9:
      return isForKernel(scope)
        ? [arithmetic(random)]
        : [{ kind: "call_helper", id: pick(random, [5, 7, 8]) }, ...afterCall];
    case 10:
      return localCall(scope);
    case 11:
      return unary(random);
    case 12:
      return isForKernel(scope) ? [arithmetic(random)] : global(random);
    case 13:
      // The kernel wants type information of functions that are called back.
      return isForKernel(scope) ? [arithmetic(random)] : callBack(scope);
    default:
      return [arithmetic(random)];
  }
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)]!;
}

function number(random: Random): Register {
  return register(pick(random, numbers));
}

function immediate(random: Random): number {
  const edges = [0, 1, -1, 2, 7, 0x7fff_ffff, -0x8000_0000, 0xffff, -0x8000];
  return random.below(2) === 0 ? pick(random, edges) : Math.floor(random.below(2 ** 32)) - 2 ** 31;
}

function operand(random: Random): Operand {
  return random.below(2) === 0 ? { register: number(random) } : { immediate: immediate(random) };
}

function arithmetic(random: Random): Instruction {
  const { op } = pick(random, aluOps);
  const width = pick(random, [32, 64] as const);
  const src = operand(random);
  const shifts = op === "lsh" || op === "rsh" || op === "arsh";
  const divides = op === "div" || op === "mod" || op === "sdiv" || op === "smod";
  if (!("immediate" in src)) return { kind: "alu", op, width, dst: number(random), src };
  let n = src.immediate;
  if (shifts) n &= width - 1;
  if (divides && n === 0) n = -1;
  return { kind: "alu", op, width, dst: number(random), src: { immediate: n } };
}

function unary(random: Random): Instruction[] {
  const dst = number(random);
  const width = pick(random, [32, 64] as const);
  const bits = pick(random, [16, 32, 64] as const);
  switch (random.below(3)) {
    case 0:
      return [{ kind: "negate", width, dst }];
    case 1:
      return [{ kind: "byte_order", to: pick(random, ["le", "be", "swap"] as const), bits, dst }];
    default: {
      const from = pick(random, width === 64 ? ([8, 16, 32] as const) : ([8, 16] as const));
      return [{ kind: "move_signed", width, bits: from, dst, src: number(random) }];
    }
  }
}

/** A place of `size` bytes that may be read and written. */
function place(scope: Scope, size: Size): { base: Register; offset: number } {
  const { random } = scope;
  const choice = random.below(scope.hasPacket ? 3 : 1);
  const within = (bytes: number): number => random.below(bytes - size + 1);
  if (choice === 1) return { base: register(7), offset: within(packetBytes) };
  if (choice === 2) return { base: register(8), offset: within(8) };
  return { base: register(10), offset: -32 + random.below(32 / size) * size };
}

function load(scope: Scope): Instruction {
  const size = pick(scope.random, [1, 2, 4, 8] as const);
  const signed = size !== 8 && scope.random.below(3) === 0;
  return { kind: "load", size, signed, dst: number(scope.random), ...place(scope, size) };
}

function store(scope: Scope): Instruction {
  const size = pick(scope.random, [1, 2, 4, 8] as const);
  return { kind: "store", size, src: operand(scope.random), ...place(scope, size) };
}

function atomic(scope: Scope): Instruction {
  const { random } = scope;
  const { op, fetch } = pick(random, atomicOps);
  // Of the kernel's 32-bit cmpxchg see arithmetic-program.ts.
  const isWide = isForKernel(scope) && op === "cmpxchg";
  const size = isWide ? 8 : pick(random, [4, 8] as const);
  const onMap = scope.hasPacket && random.below(2) === 0;
  const base = register(onMap ? 8 : 10);
  const offset = onMap ? random.below(8 / size) * size : -32 + random.below(32 / size) * size;
  return { kind: "atomic", op, fetch, size, base, offset, src: number(random) };
}

function branch(random: Random, offset: number): Instruction {
  const { op } = pick(random, branchOps);
  const width = pick(random, [32, 64] as const);
  return { kind: "branch", op, width, dst: number(random), src: operand(random), offset };
}

function conditional(scope: Scope): Draft[] {
  if (scope.depth > 4) return [arithmetic(scope.random)];
  scope.depth++;
  const then = statements(scope, 1 + scope.random.below(4));
  const otherwise = scope.random.below(2) === 0 ? [] : statements(scope, 1 + scope.random.below(3));
  scope.depth--;
  if (otherwise.length === 0) return [branch(scope.random, then.length), ...then];
  return [
    branch(scope.random, then.length + 1),
    ...then,
    { kind: "jump", offset: otherwise.length, long: false },
    ...otherwise,
  ];
}

/** 1 to 4 turns, counted on the stack; sometimes left early. */
function loop(scope: Scope): Draft[] {
  const { random } = scope;
  if (scope.depth > 3 || scope.loops > 2 || hasSmallFrame(scope)) return [arithmetic(random)];
  const offset = counterAt - 8 * scope.loops;
  const base = register(10);
  const counter = register(9);
  scope.depth++;
  scope.loops++;
  const body = statements(scope, 1 + random.below(4));
  scope.depth--;
  scope.loops--;
  const next: Instruction[] = [
    { kind: "load", size: 8, signed: false, dst: counter, base, offset },
    { kind: "alu", op: "add", width: 64, dst: counter, src: { immediate: -1 } },
    { kind: "store", size: 8, base, offset, src: { register: counter } },
  ];
  const leave = random.below(3) === 0 ? [branch(random, next.length + 1)] : [];
  const length = body.length + leave.length + next.length;
  return [
    { kind: "store", size: 8, base, offset, src: { immediate: 1 + random.below(4) } },
    ...body,
    ...leave,
    ...next,
    {
      kind: "branch",
      op: "ne",
      width: 64,
      dst: counter,
      src: { immediate: 0 },
      offset: -length - 1,
    },
  ];
}

/** Looks up, changes or deletes an entry; a value found is added to and read. */
function mapCall(scope: Scope): Draft[] {
  const { random } = scope;
  if (hasSmallFrame(scope)) return [arithmetic(random)];
  const map = random.below(isForKernel(scope) ? 3 : 5);
  // The key of the trie is a prefix length and four bytes; r7 and r8 stay what they are.
  const key = map === 4 ? [8 * random.below(5), random.below(3)] : [random.below(6)];
  const id = pick(random, [1, 1, 2, 3]);
  return [
    ...assembled(`
      *(u32 *)(r10 ${keyAt}) = ${key[0]}
      *(u32 *)(r10 ${keyAt + 4}) = ${key[1] ?? 0}
      *(u64 *)(r10 ${valueAt}) = r${pick(random, [0, 3, 9])}
      r2 = r10
      r2 += ${keyAt}
      r3 = r10
      r3 += ${valueAt}
      r4 = ${random.below(3)}
      r1 = map_by_fd(${map}) ll
      call ${id}`),
    ...afterCall,
    ...(id === 1
      ? assembled(`
      if r0 == 0 goto +4
      r1 = 3
      lock *(u64 *)(r0 + 0) += r1
      *(u8 *)(r0 + 1) = r9
      r0 = *(u64 *)(r0 + 0)`)
      : []),
  ];
}

/** Nothing follows where it leads somewhere; else all registers are as they were. */
function tailCallTo(index: number): Draft[] {
  return [
    ...assembled(`r1 = r6\nr2 = map_by_fd(${structuredMaps.length}) ll\nr3 = ${index}\ncall 12`),
    ...afterCall,
  ];
}

function localCall({ random, functions }: Scope): Draft[] {
  if (functions === 0) return [arithmetic(random)];
  return [{ callee: random.below(functions) }, ...afterCall];
}

/** A loop over a function, or a map's entries given to it: numbers to it, whatever they are. */
function callBack(scope: Scope): Draft[] {
  const { random, functions, shape, hasPacket } = scope;
  if (functions === 0) return [arithmetic(random)];
  const walks = random.below(2) === 0;
  if (shape.provable === true)
    return hasPacket ? provableCallBack(random, functions, walks) : [arithmetic(random)];
  return [
    ...assembled(walks ? `r1 = map_by_fd(${random.below(4)}) ll` : `r1 = ${random.below(4)}`),
    { callee: random.below(functions), address: true },
    { kind: "second_slot" },
    ...assembled(`r3 = r9\nr4 = ${random.below(8) === 0 ? 1 : 0}\ncall ${walks ? 164 : 181}`),
    ...afterCall,
  ];
}

/** The same from the program itself, with functions made for it: they stand before all others. */
function provableCallBack(random: Random, functions: number, walks: boolean): Draft[] {
  return [
    ...assembled(walks ? `r1 = map_by_fd(${random.below(4)}) ll` : `r1 = ${random.below(5)}`),
    { callee: walks ? functions + 1 : functions, address: true },
    { kind: "second_slot" },
    ...assembled(`r3 = 0\nr4 = 0\ncall ${walks ? 164 : 181}`),
    ...afterCall,
  ];
}

/** Reads and writes a global variable through its address. */
function global(random: Random): Instruction[] {
  const offset = 8 * random.below(4);
  return assembled(`
    r1 = map_val(map_by_fd(5)) + ${offset} ll
    r2 = *(u64 *)(r1 + 0)
    r2 += r${pick(random, [0, 3, 9])}
    *(u64 *)(r1 + 0) = r2
    r1 = 5`);
}

/** Lays the bodies out one after the other. Callee n is, from its caller, the nth function from the end. */
function link(bodies: readonly Draft[][]): Instruction[] {
  const starts: number[] = [];
  let length = 0;
  for (const body of bodies) {
    starts.push(length);
    length += body.length;
  }
  return bodies.flat().map((draft, slot) => {
    if (!("callee" in draft)) return draft;
    const offset = starts.at(-1 - draft.callee)! - slot - 1;
    return draft.address === true
      ? { kind: "load_function", dst: register(2), offset }
      : { kind: "call_local", offset };
  });
}
