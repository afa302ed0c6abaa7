import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { parseClang } from "./clang-syntax.ts";
import { maxSlots } from "./codec.ts";
import { atMnemonic, parseConformance } from "./conformance-syntax.ts";
import { type Fields, formKey, withFields } from "./form.ts";
import type { Instruction } from "./instruction.ts";
import { lex, type Problem, shorten, type Token, type TokenLine } from "./lexer.ts";
import { type OpcodeRow, rowOfForm } from "./opcodes.ts";
import type { Statement } from "./statement.ts";
import { TokenCursor } from "./token-cursor.ts";

export interface AssemblyOptions {
  /** Name before line and column in errors. */
  readonly file?: string;
}

/** A text that is no assembly at all has an error a line: enough is enough. */
const maxErrors = 100;

interface Placed {
  readonly statement: Statement;
  readonly row: OpcodeRow;
  readonly slot: number;
  readonly line: number;
}

interface Label {
  readonly slot: number;
  readonly line: number;
}

/**
 * Instructions of assembly text, by slot, or every error in it (the first 100), each at
 * file:line:column.
 *
 * Reads the syntax of bpf_conformance and ubpf (`mov %r0, 1`), clang's and the kernel's
 * (`r0 = 1`), line by line in any mixture, and what the disassembler writes. A line holds labels
 * (`name:`) and at most one instruction. The first `exit` has the label `exit` where none is
 * declared, as in bpf_conformance. Maps in `lddw`: see `parseWideSource`.
 */
export function assemble(
  text: string,
  options: AssemblyOptions = {},
): Result<Instruction[], UserError[]> {
  const file = options.file ?? "assembly";
  const { lines, problems } = lex(text);
  const { placed, labels, slots } = parse(lines, problems);
  if (slots > maxSlots)
    return err([
      new UserError(
        "PROGRAM_TOO_LONG",
        file,
        `more than ${maxSlots} instructions`,
        `at most ${maxSlots} are allowed`,
      ),
    ]);
  for (const one of placed) {
    if (problems.length >= maxErrors) break;
    const problem = checkTarget(one, labels);
    if (problem !== undefined) problems.push(problem);
  }
  if (problems.length > 0) return err(errorsOf(problems, file));
  if (slots === 0)
    return err([
      new UserError("PROGRAM_EMPTY", file, "no instructions", "the shortest program is `exit`"),
    ]);
  return ok(build(placed, labels));
}

/** Statements in their slots and the labels; adds what is wrong to `problems`. */
function parse(
  lines: readonly TokenLine[],
  problems: Problem[],
): { placed: Placed[]; labels: Map<string, Label>; slots: number } {
  const labels = new Map<string, Label>();
  const placed: Placed[] = [];
  let slots = 0;
  let firstExit: Label | undefined;
  for (const line of lines) {
    if (problems.length >= maxErrors || slots > maxSlots) break;
    const { number } = line;
    const cursor = new TokenCursor(line);
    defineLabels(cursor, labels, { slot: slots, line: number });
    const first = cursor.peek();
    if (first.kind !== "end") {
      const statement = atMnemonic(cursor) ? parseConformance(cursor) : parseClang(cursor);
      cursor.expectEnd();
      const row = rowOfForm(statement.form);
      if (row === undefined) failUnencodable(cursor, first, statement);
      else if (cursor.problem === undefined) {
        placed.push({ statement, row, slot: slots, line: number });
        if (statement.form.kind === "exit") firstExit ??= { slot: slots, line: number };
        slots += row.slots;
      }
    }
    if (cursor.problem !== undefined) problems.push(cursor.problem);
  }
  if (firstExit !== undefined && !labels.has("exit")) labels.set("exit", firstExit);
  return { placed, labels, slots };
}

function defineLabels(cursor: TokenCursor, labels: Map<string, Label>, here: Label): void {
  while (cursor.peek().kind === "word" && cursor.peek(1).text === ":") {
    const isRegister = cursor.atRegister();
    const token = cursor.next();
    cursor.next();
    const earlier = labels.get(token.text);
    if (isRegister)
      cursor.fail(
        "ASSEMBLY_LABEL",
        token,
        `label \`${shorten(token.text)}\` is a register's name`,
        "choose another name",
      );
    else if (earlier !== undefined)
      cursor.fail(
        "ASSEMBLY_LABEL",
        token,
        `label \`${shorten(token.text)}\` is already on line ${earlier.line}`,
        "choose another name",
      );
    else labels.set(token.text, here);
  }
}

function failUnencodable(cursor: TokenCursor, first: Token, statement: Statement): void {
  cursor.fail(
    "ASSEMBLY_NO_ENCODING",
    first,
    `no instruction does this: ${formKey(statement.form)}`,
    "RFC 9669 has this operation only for other sizes or widths",
  );
}

/** The distance to a target in slots from the next instruction; undefined for an unknown label. */
function distance(
  statement: Statement,
  slot: number,
  labels: ReadonlyMap<string, Label>,
): number | undefined {
  const { target } = statement;
  if (target === undefined) return 0;
  if (target.kind === "relative") return target.offset;
  const label = labels.get(target.label);
  return label === undefined ? undefined : label.slot - slot - 1;
}

function checkTarget(
  { statement, row, slot, line }: Placed,
  labels: ReadonlyMap<string, Label>,
): Problem | undefined {
  const { target } = statement;
  if (target === undefined) return undefined;
  const at = { line, column: target.token.column };
  const offset = distance(statement, slot, labels);
  if (offset === undefined)
    return {
      code: "ASSEMBLY_LABEL",
      ...at,
      what: `label \`${shorten(target.token.text)}\` is nowhere`,
      fix: `declare it with \`${shorten(target.token.text)}:\``,
    };
  if (row.offset === "operand" && (offset < -0x8000 || offset > 0x7fff))
    return {
      code: "ASSEMBLY_RANGE",
      ...at,
      what: `the target is ${offset} instructions away`,
      fix: "this jump reaches -32768 to 32767; gotol (ja32) reaches further",
    };
  return undefined;
}

function build(placed: readonly Placed[], labels: ReadonlyMap<string, Label>): Instruction[] {
  const program: Instruction[] = [];
  for (const { statement, row, slot } of placed) {
    const away = distance(statement, slot, labels) as number;
    const { dst = 0, src = 0, offset = 0, imm = 0, next = 0, target } = statement;
    const fields: Fields = { dst, src, offset, imm, next };
    program.push(
      withFields(
        row.form,
        target === undefined
          ? fields
          : { ...fields, [row.offset === "operand" ? "offset" : "imm"]: away },
      ),
    );
    if (row.slots === 2) program.push({ kind: "second_slot" });
  }
  return program;
}

function errorsOf(problems: readonly Problem[], file: string): UserError[] {
  return problems
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .slice(0, maxErrors)
    .map(
      ({ code, line, column, what, fix }) =>
        new UserError(code, `${file}:${line}:${column}`, what, fix),
    );
}
