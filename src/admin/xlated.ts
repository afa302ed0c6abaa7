import type { z } from "zod";
import { toHex } from "../common/bytes.ts";
import { helpers } from "../engine/helpers/helper-table.ts";
import { encodeProgram } from "../isa/codec.ts";
import { disassemble } from "../isa/disassembler.ts";
import type { Instruction } from "../isa/instruction.ts";
import type { ProgramSpec, SourceLine } from "../object/object-spec.ts";
import type { xlatedRow } from "./replies.ts";

export type XlatedRow = z.output<typeof xlatedRow>;

/**
 * A program as `bpftool prog dump xlated` lists it: an instruction a row, with the function and the
 * source line where they change. `mapId` numbers the maps that instructions name by index.
 */
export function* xlatedRows(
  instructions: readonly Instruction[],
  spec: Pick<ProgramSpec, "functions" | "lines">,
  mapId: (map: number) => number,
): Generator<XlatedRow> {
  const functions = new Map(spec.functions.map(({ name, slot }) => [slot, name]));
  const lines = new Map(spec.lines.map((line) => [line.slot, line]));
  let shown: SourceLine | undefined;
  for (const [slot, instruction] of instructions.entries()) {
    if (instruction.kind === "second_slot") continue;
    const width = instructions[slot + 1]?.kind === "second_slot" ? 2 : 1;
    const line = lines.get(slot);
    const isNew = line !== undefined && line.line > 0 && !sameLine(line, shown);
    if (isNew) shown = line;
    const name = functions.get(slot);
    yield {
      slot,
      opcodes: toHex(encodeProgram(instructions.slice(slot, slot + width))),
      text: instructionText(instruction, slot, functions, mapId),
      ...(name === undefined ? {} : { function: name }),
      ...(isNew
        ? { line: { file: line.file, line: line.line, column: line.column, text: line.text } }
        : {}),
    };
  }
}

function sameLine(one: SourceLine, other: SourceLine | undefined): boolean {
  return other !== undefined && one.line === other.line && one.file === other.file;
}

/** In the kernel's words, with helpers and functions by name and maps by number. */
export function instructionText(
  instruction: Instruction,
  slot: number,
  functions: ReadonlyMap<number, string>,
  mapId: (map: number) => number,
): string {
  switch (instruction.kind) {
    case "load_map":
      return `r${instruction.dst} = map[id:${mapId(instruction.map)}]`;
    case "load_map_value":
      return `r${instruction.dst} = map[id:${mapId(instruction.map)}][0]+${instruction.offset}`;
    case "call_helper": {
      const helper = helpers.get(instruction.id);
      return helper === undefined
        ? `call ${instruction.id}`
        : `call bpf_${helper.name}#${instruction.id}`;
    }
    case "call_local": {
      const name = functions.get(slot + 1 + instruction.offset);
      const distance = `pc${instruction.offset < 0 ? "" : "+"}${instruction.offset}`;
      return `call ${distance}${name === undefined ? "" : `#${name}`}`;
    }
    default:
      return disassemble(instruction, { style: "kernel" });
  }
}
