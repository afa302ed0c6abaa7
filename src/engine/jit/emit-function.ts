import type { Instruction } from "../../isa/instruction.ts";
import { MAP_VALUES } from "../../runtime/wasm/layout.ts";
import { emitAlu, emitArithmetic, emitCondition } from "./arithmetic.ts";
import type { Blocks } from "./blocks.ts";
import { emitEntry, emitExit, emitLocalCall } from "./calls.ts";
import type { Places } from "./code-origin.ts";
import type { Label } from "./function-builder.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { emitHelperCall, emitRegisterCall } from "./helper-calls.ts";
import { type KnownValues, step, takeOver } from "./known-values.ts";
import { emitAtomic, emitLoad, emitStore } from "./memory-access.ts";
import { emitPacketLoad } from "./packet-load.ts";
import type { ReducibleFlow } from "./reducible.ts";
import { endsBlock, type RegisterSet, type RegisterUse } from "./register-use.ts";
import type { ShortRegisters } from "./short-registers.ts";
import { proofOf, STOP_UNREACHED } from "./unit.ts";
import { I32, i32 } from "./wasm-operation.ts";

/** Work that is left: compile a node with its subtree, go from one block to another, end a block. */
type Task =
  | { readonly node: number }
  | { readonly from: number; readonly to: number }
  | { readonly end: true };

/** What is known of a function's registers. */
export interface RegisterStates {
  readonly use: RegisterUse;
  /** As blocks begin, by block: their values, and those that may be read. */
  readonly known: readonly (KnownValues | undefined)[];
  readonly live: Int32Array;
  readonly short: ShortRegisters;
}

/**
 * Compiles a function's blocks into structured control flow by their dominator tree: a node's code is
 * followed by the subtrees of its children. A child that several edges reach follows the block that
 * those edges leave; one that a single edge reaches stands where that edge is. A loop's header opens
 * the loop. After N. Ramsey, "Beyond Relooper" (ICFP 2022), with a stack of tasks for its recursion.
 */
export class FunctionBody {
  readonly #to: FunctionEmitter;
  readonly #blocks: Blocks;
  readonly #flow: ReducibleFlow;
  readonly #states: RegisterStates;
  readonly #places: Places;
  /** Nodes that branches name: several edges reach them, or a dispatcher's table does. */
  readonly #isTarget: Uint8Array;
  readonly #isLoop: Uint8Array;
  /** By node: its children in the dominator tree that are targets, in order. */
  readonly #targets: (number[] | undefined)[] = [];
  readonly #forward: (Label | undefined)[] = [];
  readonly #backward: (Label | undefined)[] = [];
  readonly #tasks: Task[] = [];
  #dispatch: number | undefined;

  /** `places`: becomes where each instruction's code begins. */
  constructor(
    to: FunctionEmitter,
    blocks: Blocks,
    flow: ReducibleFlow,
    states: RegisterStates,
    places: Places,
  ) {
    this.#to = to;
    this.#blocks = blocks;
    this.#flow = flow;
    this.#states = states;
    this.#places = places;
    const { graph, order, idom } = flow;
    const count = graph.successors.length;
    this.#isTarget = new Uint8Array(count);
    this.#isLoop = new Uint8Array(count);
    const arrivals = new Int32Array(count);
    for (const node of order.nodes)
      for (const successor of graph.successors[node]!)
        if (this.#isBack(node, successor)) this.#isLoop[successor] = 1;
        else arrivals[successor]! += node >= graph.blockCount ? 2 : 1;
    for (const [place, node] of order.nodes.entries()) {
      if (arrivals[node]! < 2) continue;
      this.#isTarget[node] = 1;
      const parent = order.nodes[idom[place]!]!;
      const targets = this.#targets[parent];
      if (targets === undefined) this.#targets[parent] = [node];
      else targets.push(node);
    }
  }

  /** Emits the whole function. */
  emit(instructions: readonly Instruction[]): void {
    const { code } = this.#to;
    emitEntry(this.#to);
    this.#tasks.push({ node: 0 });
    for (let task = this.#tasks.pop(); task !== undefined; task = this.#tasks.pop())
      if ("end" in task) code.end();
      else if ("from" in task) this.#go(task.from, task.to);
      else this.#node(task.node, instructions);
    code.unreachable();
  }

  #isBack(from: number, to: number): boolean {
    const { places } = this.#flow.order;
    return places[to]! <= places[from]!;
  }

  #node(node: number, instructions: readonly Instruction[]): void {
    const { code } = this.#to;
    if (this.#isLoop[node] === 1) {
      this.#backward[node] = code.loop();
      this.#tasks.push({ end: true });
    }
    // The last to follow is the outermost block, and the first task to be put away.
    const targets = this.#targets[node] ?? [];
    for (const target of targets.toReversed()) {
      this.#forward[target] = code.block();
      this.#tasks.push({ node: target }, { end: true });
    }
    if (node >= this.#flow.graph.blockCount) this.#dispatchTable(node);
    else this.#block(node, instructions);
  }

  #block(block: number, instructions: readonly Instruction[]): void {
    const to = this.#to;
    const { starts, ends, next, taken } = this.#blocks;
    const proof = proofOf(to.unit.program);
    const { use, known, short } = this.#states;
    takeOver(to.known, known[block]!);
    to.short = short.starts[block]!;
    to.previous = undefined;
    for (let slot = starts[block]!; slot < ends[block]!; slot++) {
      const instruction = instructions[slot]!;
      if (proof?.reached[slot] === 0 && instruction.kind !== "second_slot") {
        to.stop(STOP_UNREACHED, slot);
        return;
      }
      to.shortAfter = short.behind[slot]!;
      const from = to.code.size;
      emitInstruction(to, instruction, slot);
      if (to.code.size > from) this.#places[slot] = from + 1;
      to.short = to.shortAfter;
      // A branch, which is emitted behind its block, keeps what stands before it.
      if ((use.reads[slot]! & endsBlock) === 0) to.previous = instruction;
      step(to.known, instructions, slot, use);
    }
    if (next[block]! < 0) return;
    to.widen(to.short & (this.#widerAt(next[block]!) | this.#widerAt(taken[block]!)));
    if (taken[block]! < 0) {
      this.#go(block, next[block]!);
      return;
    }
    const branch = instructions[ends[block]! - 1]!;
    if (branch.kind !== "branch") throw new Error(`block ${block} has two ways and no branch`);
    this.#branch(block, branch);
  }

  /** Registers that a block reads and does not take for short. */
  #widerAt(block: number): RegisterSet {
    return block < 0 ? 0 : this.#states.live[block]! & ~this.#states.short.starts[block]!;
  }

  #branch(block: number, branch: Extract<Instruction, { kind: "branch" }>): void {
    const { code } = this.#to;
    const next = this.#blocks.next[block]!;
    const taken = this.#blocks.taken[block]!;
    emitCondition(this.#to, branch, this.#isLoadedForIt(block, branch));
    if (this.#labelOf(block, taken) !== undefined) {
      this.#goIf(block, taken);
      this.#go(block, next);
    } else if (this.#labelOf(block, next) !== undefined) {
      code.emit(i32.eqz);
      this.#goIf(block, next);
      this.#go(block, taken);
    } else {
      code.if();
      this.#tasks.push({ from: block, to: next }, { end: true }, { from: block, to: taken });
    }
  }

  /** Whether the instruction before a branch loads what it compares, and nothing else reads that. */
  #isLoadedForIt(block: number, { dst }: Extract<Instruction, { kind: "branch" }>): boolean {
    if (this.#to.loadOf(dst) === undefined) return false;
    const { next, taken } = this.#blocks;
    const { live } = this.#states;
    return ((live[next[block]!]! | live[taken[block]!]!) & (1 << dst)) === 0;
  }

  /** The label that leads to a block; undefined where the block's code is to stand right here. */
  #labelOf(from: number, block: number): Label | undefined {
    const dispatcher = this.#flow.graph.dispatcherOf[block]!;
    const node = dispatcher >= 0 ? dispatcher : block;
    if (this.#isBack(from, node)) return this.#backward[node]!;
    return this.#isTarget[node] === 1 ? this.#forward[node]! : undefined;
  }

  /** Branches where the operand is not 0. */
  #goIf(from: number, block: number): void {
    const { code } = this.#to;
    if (this.#flow.graph.dispatcherOf[block]! < 0 && !this.#isCharged(from, block))
      code.brIf(this.#labelOf(from, block)!);
    else {
      code.if();
      this.#go(from, block);
      code.end();
    }
  }

  #go(from: number, block: number): void {
    const { code } = this.#to;
    if (this.#isCharged(from, block)) this.#charge(from, block);
    const dispatcher = this.#flow.graph.dispatcherOf[block]!;
    if (dispatcher >= 0) {
      code.i32(this.#flow.graph.successors[dispatcher]!.indexOf(block));
      code.set(this.#dispatchLocal());
    }
    const label = this.#labelOf(from, block);
    if (label !== undefined) code.br(label);
    else this.#tasks.push({ node: dispatcher >= 0 ? dispatcher : block });
  }

  /** A jump back in the program, of which every cycle has one, takes from the budget. */
  #isCharged(from: number, block: number): boolean {
    const last = this.#blocks.ends[from]! - 1;
    const target = this.#blocks.starts[block]!;
    return target <= last && this.#to.counts;
  }

  #charge(from: number, block: number): void {
    const target = this.#blocks.starts[block]!;
    this.#to.charge(this.#blocks.ends[from]! - target, target);
  }

  #dispatchTable(node: number): void {
    const { code } = this.#to;
    code.get(this.#dispatchLocal());
    code.brTable(this.#flow.graph.successors[node]!.map((block) => this.#forward[block]!));
  }

  #dispatchLocal(): number {
    this.#dispatch ??= this.#to.code.local(I32);
    return this.#dispatch;
  }
}

/** One instruction that is no jump or branch; those end their block. */
function emitInstruction(to: FunctionEmitter, instruction: Instruction, slot: number): void {
  const { code, unit } = to;
  switch (instruction.kind) {
    case "alu":
      emitAlu(to, instruction);
      return;
    case "move_signed":
    case "negate":
    case "byte_order":
    case "load_immediate":
      emitArithmetic(to, instruction);
      return;
    case "load_map":
      code.i32(unit.program.maps[instruction.map]!.descriptor);
      to.setLow(instruction.dst);
      return;
    case "load_map_value": {
      const { descriptor } = unit.program.maps[instruction.map]!;
      const values = unit.context.arena.view.getUint32(descriptor + MAP_VALUES, true);
      code.i32((values + instruction.offset) | 0);
      to.setLow(instruction.dst);
      return;
    }
    case "load_function":
      // Only helpers that call back use it: they know the function by its slot.
      code.i32(slot + 1 + instruction.offset);
      to.setLow(instruction.dst);
      return;
    case "load":
      emitLoad(to, instruction, slot);
      return;
    case "store":
      emitStore(to, instruction, slot);
      return;
    case "atomic":
      emitAtomic(to, instruction, slot);
      return;
    case "load_packet":
      emitPacketLoad(to, instruction, slot);
      return;
    case "call_helper":
      emitHelperCall(to, instruction, slot);
      return;
    case "call_local":
      emitLocalCall(to, instruction, slot);
      return;
    case "call_register":
      emitRegisterCall(to, instruction, slot);
      return;
    case "exit":
      emitExit(to, slot);
      return;
    case "second_slot":
    case "jump":
    case "branch":
      return;
    case "call_btf":
    case "load_variable":
      throw new Error(`${unit.program.name}: ${instruction.kind} at ${slot} has not been refused`);
    default:
      instruction satisfies never;
  }
}
