import type { XlatedRow } from "../admin/xlated.ts";
import { parseHex } from "../common/bytes.ts";
import { decodeProgram } from "../isa/codec.ts";
import type { Instruction } from "../isa/instruction.ts";
import { listedText } from "./program-listing.ts";

interface Block {
  readonly rows: XlatedRow[];
  /** First slots of the blocks that follow: where a branch is taken first. */
  readonly next: number[];
}

/**
 * The control flow of a program as Graphviz reads it, as `bpftool prog dump xlated … visual` writes
 * it: a cluster a function, a box a basic block.
 */
export function programGraph(rows: readonly XlatedRow[]): string {
  const bytes = parseHex(rows.map(({ opcodes }) => opcodes).join(""))!;
  const decoded = decodeProgram(bytes);
  if (!decoded.ok) throw decoded.error;
  let text = 'digraph "DOT graph for eBPF program" {\n';
  for (const [number, functionRows] of functionsOf(rows).entries())
    text += cluster(number, functionRows, decoded.value);
  return `${text}}\n`;
}

function functionsOf(rows: readonly XlatedRow[]): XlatedRow[][] {
  const functions: XlatedRow[][] = [];
  for (const row of rows) {
    if (row.function !== undefined || functions.length === 0) functions.push([]);
    functions.at(-1)!.push(row);
  }
  return functions;
}

function cluster(
  number: number,
  rows: readonly XlatedRow[],
  instructions: readonly Instruction[],
): string {
  const blocks = blocksOf(rows, instructions);
  const order = new Map([...blocks.keys()].map((slot, i) => [slot, i]));
  const node = (slot: number): string => `fn_${number}_bb_${order.get(slot)}`;
  let text = `subgraph "cluster_${number}" {\n\tstyle="dashed";\n\tcolor="black";\n\tlabel="${rows[0]?.function ?? "func"} ()";\n`;
  for (const [slot, { rows: inside }] of blocks)
    text += `\t${node(slot)} [shape=record,style=filled,label="{${inside.map((row) => `${escaped(listedText(row).trim())}\\l`).join("|")}}"];\n`;
  for (const [slot, { next }] of blocks)
    for (const to of next)
      text += `\t${node(slot)}:s -> ${node(to)}:n [style="solid,bold", color=black, weight=10, constraint=${to > slot}];\n`;
  return `${text}}\n`;
}

/** Basic blocks of one function, by first slot. */
function blocksOf(
  rows: readonly XlatedRow[],
  instructions: readonly Instruction[],
): ReadonlyMap<number, Block> {
  const slots = new Set(rows.map(({ slot }) => slot));
  const starts = new Set<number>([rows[0]!.slot]);
  for (const { slot } of rows)
    for (const to of jumpsOf(instructions, slot) ?? []) if (slots.has(to)) starts.add(to);
  for (const [i, { slot }] of rows.entries())
    if (jumpsOf(instructions, slot) !== undefined && i + 1 < rows.length)
      starts.add(rows[i + 1]!.slot);
  const blocks = new Map<number, Block>();
  let block: Block | undefined;
  for (const [i, row] of rows.entries()) {
    if (starts.has(row.slot)) {
      block = { rows: [], next: [] };
      blocks.set(row.slot, block);
    }
    block!.rows.push(row);
    const following = rows[i + 1]?.slot;
    const jumps = jumpsOf(instructions, row.slot);
    if (jumps !== undefined) block!.next.push(...jumps.filter((to) => slots.has(to)));
    else if (following !== undefined && starts.has(following)) block!.next.push(following);
  }
  return blocks;
}

/** Where an instruction that ends a block goes on; undefined for one that does not end it. */
function jumpsOf(instructions: readonly Instruction[], slot: number): number[] | undefined {
  const instruction = instructions[slot]!;
  switch (instruction.kind) {
    case "jump":
      return [slot + 1 + instruction.offset];
    case "branch":
      return [slot + 1 + instruction.offset, slot + 1];
    case "exit":
      return [];
    default:
      return undefined;
  }
}

/** Record labels give these characters a meaning. */
function escaped(text: string): string {
  return text.replace(/[\\"{}|<>]/g, "\\$&");
}
