import { expect, test } from "vitest";
import { fieldsOf, formKey, formOf } from "../../src/isa/form.ts";
import { opcodeTable, rowOfForm, rowsOfName, sampleInstructions } from "../../src/isa/opcodes.ts";

test("the table has one row for each form", () => {
  const keys = opcodeTable.map((row) => formKey(row.form));
  expect(new Set(keys).size).toBe(keys.length);
  for (const row of opcodeTable) expect(rowOfForm(row.form)).toBe(row);
});

test("no encoding fits two rows", () => {
  for (const [i, a] of opcodeTable.entries())
    for (const b of opcodeTable.slice(i + 1)) {
      if (a.code !== b.code) continue;
      const apart = (["dst", "src", "offset", "imm", "next"] as const).some(
        (field) => a[field] !== "operand" && b[field] !== "operand" && a[field] !== b[field],
      );
      expect(apart, `${a.name} and ${b.name} share 0x${a.code.toString(16)}`).toBe(true);
    }
});

test("the table has every instruction group of RFC 9669 with all its sizes and widths", () => {
  const counts: Record<string, number> = {};
  for (const row of opcodeTable) counts[row.form.kind] = (counts[row.form.kind] ?? 0) + 1;
  expect(counts).toEqual({
    alu: 14 * 2 * 2,
    move_signed: 2 + 3,
    negate: 2,
    byte_order: 3 * 3,
    jump: 2,
    branch: 11 * 2 * 2,
    call_helper: 1,
    call_local: 1,
    call_btf: 1,
    call_register: 1,
    exit: 1,
    load: 4 + 3,
    store: 4 * 2,
    atomic: 10 * 2,
    load_packet: 3 * 2,
    load_immediate: 1,
    load_map: 2,
    load_map_value: 2,
    load_variable: 1,
    load_function: 1,
  });
});

test("each sample has its row's form and uses exactly the row's operand fields", () => {
  const samples = [...sampleInstructions()];
  expect(samples.map(({ row }) => row)).toEqual(opcodeTable);
  for (const { row, instruction } of samples) {
    expect(formOf(instruction)).toEqual(row.form);
    const used = Object.keys(fieldsOf(instruction)).sort();
    const operands = (["dst", "imm", "next", "offset", "src"] as const).filter(
      (field) => row[field] === "operand",
    );
    expect(used, row.name).toEqual(operands);
  }
});

test("rows are found by mnemonic and by alias", () => {
  expect(rowsOfName("div").map(({ code }) => code)).toEqual([0x37, 0x3f]);
  expect(rowsOfName("swap32")).toEqual(rowsOfName("bswap32"));
  expect(rowsOfName("swap32")).toHaveLength(1);
  expect(rowsOfName("lddw")).toHaveLength(7);
  expect(rowsOfName("constructor")).toEqual([]);
});
