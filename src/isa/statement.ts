import type { Fields, Form, Source } from "./form.ts";
import type { AluOp, BranchOp, Width } from "./instruction.ts";
import type { NamedRegister, Target, TokenCursor } from "./token-cursor.ts";

/**
 * One parsed instruction whose target may still be a label. Operands that the form does not use
 * are absent.
 */
export interface Statement extends Partial<Fields> {
  readonly form: Form;
  readonly target?: Target;
}

/** What parsers return once the cursor has failed; never encoded. */
export const noStatement: Statement = { form: { kind: "exit" } };

/** Second operand of arithmetic, branches and stores: which kind it is, and its field. */
export interface ParsedOperand {
  readonly source: Source;
  readonly field: { readonly src: number } | { readonly imm: number };
  /** Set for a register. */
  readonly register?: NamedRegister;
}

export function parseOperand(cursor: TokenCursor): ParsedOperand {
  if (cursor.atRegister()) {
    const register = cursor.register();
    return { source: "register", field: { src: register.number }, register };
  }
  if (!cursor.atNumber()) cursor.unexpected("a register or a number");
  return { source: "immediate", field: { imm: cursor.immediate() } };
}

export function aluStatement(
  op: AluOp,
  width: Width,
  dst: number,
  operand: ParsedOperand,
): Statement {
  return { form: { kind: "alu", op, width, src: operand.source }, dst, ...operand.field };
}

export function branchStatement(
  op: BranchOp,
  width: Width,
  dst: number,
  operand: ParsedOperand,
  target: Target,
): Statement {
  const form: Form = { kind: "branch", op, width, src: operand.source };
  return { form, dst, ...operand.field, target };
}

/**
 * What a `lddw` loads, as RFC 9669 §5.4 names it: a number, `map_by_fd(N)`, `map_by_idx(N)`,
 * `map_val(map_by_fd(N)) + OFFSET`, `var_addr(ID)`, `code_addr(TARGET)`. Short for the first two
 * map forms are `map[N]` and `map[N][0] + OFFSET`; a label alone is its code address.
 */
export function parseWideSource(cursor: TokenCursor, dst: number): Statement {
  if (cursor.atNumber()) {
    const value = cursor.wideImmediate();
    const imm = Number(BigInt.asIntN(32, value));
    const next = Number(BigInt.asIntN(32, value >> 32n));
    return { form: { kind: "load_immediate" }, dst, imm, next };
  }
  const { text, kind } = cursor.peek();
  const called = cursor.peek(1).text === "(";
  if (text === "map" && cursor.peek(1).text === "[") return shortMap(cursor, dst);
  if (called && (text === "map_by_fd" || text === "map_by_idx")) {
    const { by, imm } = mapReference(cursor);
    return { form: { kind: "load_map", by }, dst, imm };
  }
  if (called && text === "map_val") {
    cursor.next();
    cursor.expect("(");
    const { by, imm } = mapReference(cursor);
    cursor.expect(")");
    return { form: { kind: "load_map_value", by }, dst, imm, next: valueOffset(cursor) };
  }
  if (called && text === "var_addr") {
    cursor.next();
    return { form: { kind: "load_variable" }, dst, imm: inParentheses(cursor, "BTF id") };
  }
  if (called && text === "code_addr") {
    cursor.next();
    cursor.expect("(");
    const target = cursor.target();
    cursor.expect(")");
    return { form: { kind: "load_function" }, dst, target };
  }
  if (kind === "word" && !cursor.atRegister() && !called)
    return { form: { kind: "load_function" }, dst, target: cursor.target() };
  cursor.unexpected("a 64-bit number, map_by_fd(0), map_val(map_by_fd(0)) + 0 or a label");
  return noStatement;
}

function mapReference(cursor: TokenCursor): { by: "fd" | "index"; imm: number } {
  const { text } = cursor.peek();
  if (text === "map_by_fd" || text === "map_by_idx") cursor.next();
  else cursor.unexpected("map_by_fd or map_by_idx");
  return {
    by: text === "map_by_idx" ? "index" : "fd",
    imm: inParentheses(cursor, "map number"),
  };
}

function shortMap(cursor: TokenCursor, dst: number): Statement {
  cursor.expect("map");
  cursor.expect("[");
  const imm = cursor.index("map number") | 0;
  cursor.expect("]");
  if (!cursor.accept("[")) return { form: { kind: "load_map", by: "fd" }, dst, imm };
  cursor.integer("element (the address of a value is known only for element 0)", 0n, 0n);
  cursor.expect("]");
  return { form: { kind: "load_map_value", by: "fd" }, dst, imm, next: valueOffset(cursor) };
}

function valueOffset(cursor: TokenCursor): number {
  return cursor.accept("+") ? cursor.index("offset into the value") | 0 : 0;
}

function inParentheses(cursor: TokenCursor, what: string): number {
  cursor.expect("(");
  const value = cursor.index(what) | 0;
  cursor.expect(")");
  return value;
}

/**
 * What follows `call`: a helper's id (`1`, `helper 1`, `name#1`), a function of the program
 * (`label`, `local label`, `pc+5`), a BTF id (`btf_id(5)`, `runtime 5`), or a register that holds a
 * helper's id.
 */
export function parseCall(cursor: TokenCursor): Statement {
  const { text, kind } = cursor.peek();
  const after = cursor.peek(1);
  if (kind === "word" && after.text === "#") {
    cursor.next();
    cursor.next();
    return { form: { kind: "call_helper" }, imm: cursor.immediate() };
  }
  if (text === "btf_id" && after.text === "(") {
    cursor.next();
    return { form: { kind: "call_btf" }, imm: inParentheses(cursor, "BTF id") };
  }
  if (text === "runtime" && after.kind === "number") {
    cursor.next();
    return { form: { kind: "call_btf" }, imm: cursor.index("BTF id") | 0 };
  }
  if (text === "local" && after.kind !== "end") {
    cursor.next();
    return { form: { kind: "call_local" }, target: cursor.target() };
  }
  if (text === "helper" && after.kind !== "end") cursor.next();
  if (cursor.atRegister()) return { form: { kind: "call_register" }, dst: cursor.wholeRegister() };
  if (cursor.atNumber()) return { form: { kind: "call_helper" }, imm: cursor.immediate() };
  if (kind === "word") return { form: { kind: "call_local" }, target: cursor.target() };
  cursor.unexpected("a helper's number, a label or a register");
  return noStatement;
}
