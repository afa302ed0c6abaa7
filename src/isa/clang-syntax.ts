import type { Form } from "./form.ts";
import type { Size, Width } from "./instruction.ts";
import { aluOps, atomicOps, branchOps, rowsOfName } from "./opcodes.ts";
import {
  aluStatement,
  branchStatement,
  noStatement,
  parseOperand,
  parseWideSource,
  type Statement,
} from "./statement.ts";
import type { NamedRegister, TokenCursor } from "./token-cursor.ts";

const typeName = /^([us])(8|16|32|64)$/;
/** The kernel writes `atomic64_xchg`, clang `atomic_fetch_add` for both sizes. */
const atomicName = /^atomic(64)?_(fetch_)?(\w+)$/;
/** clang's exchanges carry the size in the name: `xchg_64`, `cmpxchg32_32`. */
const exchangeName = /^(cmpxchg|xchg)(_64|32_32)$/;

/**
 * One instruction as clang and the kernel write it: `r0 = r1`, `w0 += 5`,
 * `r0 = *(u32 *)(r1 + 4)`, `if r1 s> 5 goto label`. Reads both where the two differ.
 */
export function parseClang(cursor: TokenCursor): Statement {
  if (cursor.atRegister()) return parseAssignment(cursor);
  const { text } = cursor.peek();
  switch (text) {
    case "*":
      return parseStore(cursor);
    case "lock":
      return parseLocked(cursor);
    case "if":
      return parseBranch(cursor);
    case "goto":
    case "gotol":
      cursor.next();
      return { form: { kind: "jump", long: text === "gotol" }, target: cursor.target() };
  }
  if (text.startsWith("."))
    cursor.fail(
      "ASSEMBLY_SYNTAX",
      cursor.peek(),
      "directives are not supported",
      "give instructions and labels only, or build an object with clang",
    );
  cursor.unexpected("an instruction such as `r0 = r1`, `mov %r0, %r1` or `exit`, or a label");
  return noStatement;
}

function parseAssignment(cursor: TokenCursor): Statement {
  const dst = cursor.register();
  const width = widthOf(dst);
  const row = aluOps.find(({ sign }) => sign === cursor.peek().text);
  if (row === undefined) {
    cursor.unexpected("an operator such as = or +=");
    return noStatement;
  }
  cursor.next();
  if (row.op !== "mov") return parseArithmetic(cursor, row.op, dst);
  const { text } = cursor.peek();
  if (text === "*") return parseLoad(cursor, dst);
  if (text === "(") return parseSignedMove(cursor, dst);
  if (text === "-" && cursor.atRegister(1)) {
    cursor.next();
    same(cursor, cursor.register(), dst);
    return { form: { kind: "negate", width }, dst: dst.number };
  }
  const named = rowsOfName(text)[0]?.form;
  if (named?.kind === "byte_order") {
    cursor.next();
    same(cursor, cursor.register(), dst);
    return { form: named, dst: whole(cursor, dst) };
  }
  if (atomicName.test(text) || exchangeName.test(text)) return parseFetching(cursor, dst);
  if (isWide(cursor)) {
    const statement = parseWideSource(cursor, whole(cursor, dst));
    cursor.expect("ll");
    return statement;
  }
  return parseArithmetic(cursor, "mov", dst);
}

function parseArithmetic(
  cursor: TokenCursor,
  op: (typeof aluOps)[number]["op"],
  dst: NamedRegister,
): Statement {
  const operand = parseOperand(cursor);
  if (operand.register !== undefined) sameWidth(cursor, operand.register, dst);
  return aluStatement(op, widthOf(dst), dst.number, operand);
}

/** A number with `ll` after it, or a word that is no register: a map, a function. */
function isWide(cursor: TokenCursor): boolean {
  const { kind } = cursor.peek();
  if (kind === "word") return !cursor.atRegister();
  return cursor.peek(kind === "number" ? 1 : 2).text === "ll";
}

function parseSignedMove(cursor: TokenCursor, dst: NamedRegister): Statement {
  cursor.expect("(");
  const { signed, size, token } = parseType(cursor);
  cursor.expect(")");
  if (!signed || size === 8)
    cursor.fail("ASSEMBLY_SYNTAX", token, "only s8, s16 and s32 extend a move", "write (s8)r1");
  const src = cursor.register();
  sameWidth(cursor, src, dst);
  const bits = (size * 8) as 8 | 16 | 32;
  const form: Form = { kind: "move_signed", width: widthOf(dst), bits };
  return { form, dst: dst.number, src: src.number };
}

/** `r0 = *(u32 *)(r1 + 4)`, or `r0 = *(u16 *)skb[12]`. */
function parseLoad(cursor: TokenCursor, dst: NamedRegister): Statement {
  const { signed, size } = parsePointer(cursor);
  if (dst.half && (signed || size === 8))
    cursor.fail(
      "ASSEMBLY_REGISTER",
      dst.token,
      `\`${dst.token.text}\` is half a register`,
      `this load writes a whole one: r${dst.number}`,
    );
  if (!cursor.accept("skb")) {
    const { base, offset } = cursor.address("(", ")");
    return { form: { kind: "load", size, signed }, dst: dst.number, src: base, offset };
  }
  if (dst.number !== 0)
    cursor.fail(
      "ASSEMBLY_REGISTER",
      dst.token,
      "a packet load writes only r0",
      "write r0 on the left",
    );
  cursor.expect("[");
  const indexed = cursor.atRegister();
  // A form without a row (signed, 64 bits) is refused by the assembler.
  const form = { kind: "load_packet", size: signed ? 8 : size, indexed } as Form;
  const index = indexed ? { src: cursor.wholeRegister() } : {};
  if (indexed && cursor.peek(1).kind === "sign" && cursor.peek(1).text === "-") cursor.accept("+");
  const imm = !indexed || cursor.atNumber() ? cursor.immediate() : 0;
  cursor.expect("]");
  return { form, ...index, imm };
}

function parseStore(cursor: TokenCursor): Statement {
  const { signed, size, token } = parsePointer(cursor);
  if (signed) cursor.fail("ASSEMBLY_SYNTAX", token, "stores have no sign", `write u${size * 8}`);
  const { base, offset } = cursor.address("(", ")");
  cursor.expect("=");
  const operand = parseOperand(cursor);
  if (operand.register !== undefined) fits(cursor, operand.register, size);
  return {
    form: { kind: "store", size, src: operand.source },
    dst: base,
    offset,
    ...operand.field,
  };
}

/** `lock *(u64 *)(r1 + 0) += r2` */
function parseLocked(cursor: TokenCursor): Statement {
  cursor.expect("lock");
  const { size } = parsePointer(cursor);
  const { base, offset } = cursor.address("(", ")");
  const row = atomicOps.find(({ sign }) => sign === cursor.peek().text);
  if (row === undefined) {
    cursor.unexpected("+=, |=, &= or ^=");
    return noStatement;
  }
  cursor.next();
  const src = cursor.register();
  fits(cursor, src, size);
  return { form: atomicForm(row.op, false, size), dst: base, src: src.number, offset };
}

/** `r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)`, `r0 = cmpxchg_64(r1 + 0, r0, r2)`. */
function parseFetching(cursor: TokenCursor, dst: NamedRegister): Statement {
  const token = cursor.next();
  const exchange = exchangeName.exec(token.text);
  const [, sixtyFour, fetch, operation] = atomicName.exec(token.text) ?? [];
  const name = exchange === null ? `${fetch ? "fetch " : ""}${operation}` : exchange[1];
  const row = atomicOps.find((candidate) => candidate.fetch && candidate.name === name);
  if (row === undefined) {
    cursor.fail(
      "ASSEMBLY_SYNTAX",
      token,
      `no atomic operation \`${name}\` gives a value`,
      "expected fetch_add, fetch_or, fetch_and, fetch_xor, xchg or cmpxchg",
    );
    return noStatement;
  }
  cursor.expect("(");
  let size: Size;
  let address: { base: number; offset: number };
  if (exchange === null) {
    cursor.expect("(");
    const type = parseType(cursor);
    size = type.size;
    if (sixtyFour !== undefined && size !== 8)
      cursor.fail("ASSEMBLY_SYNTAX", type.token, "atomic64 works on 64 bits", "write u64");
    cursor.expect("*");
    cursor.expect(")");
    address = cursor.address("(", ")");
  } else {
    size = exchange[2] === "_64" ? 8 : 4;
    const base = cursor.wholeRegister();
    address = { base, offset: cursor.displacement() };
  }
  cursor.expect(",");
  if (row.op === "cmpxchg") {
    same(cursor, cursor.register(), dst);
    if (dst.number !== 0)
      cursor.fail(
        "ASSEMBLY_REGISTER",
        dst.token,
        "cmpxchg compares with r0 and writes it",
        "write r0 on the left",
      );
    cursor.expect(",");
  }
  const src = cursor.register();
  if (row.op === "cmpxchg") sameWidth(cursor, src, dst);
  else same(cursor, src, dst);
  fits(cursor, src, size);
  cursor.expect(")");
  return {
    form: atomicForm(row.op, true, size),
    dst: address.base,
    src: src.number,
    offset: address.offset,
  };
}

function atomicForm(op: (typeof atomicOps)[number]["op"], fetch: boolean, size: Size): Form {
  // Sizes without a row (u8, u16) are refused by the assembler.
  return { kind: "atomic", op, fetch, size } as Form;
}

/** `if r1 s> 5 goto label` */
function parseBranch(cursor: TokenCursor): Statement {
  cursor.expect("if");
  const left = cursor.register();
  const row = branchOps.find(({ sign }) => sign === cursor.peek().text);
  if (row === undefined) {
    cursor.unexpected("a comparison such as ==, > or s<=");
    return noStatement;
  }
  cursor.next();
  const operand = parseOperand(cursor);
  if (operand.register !== undefined) sameWidth(cursor, operand.register, left);
  cursor.expect("goto");
  return branchStatement(row.op, widthOf(left), left.number, operand, cursor.target());
}

/** `*(u32 *)` */
function parsePointer(cursor: TokenCursor): ReturnType<typeof parseType> {
  cursor.expect("*");
  cursor.expect("(");
  const type = parseType(cursor);
  cursor.expect("*");
  cursor.expect(")");
  return type;
}

function parseType(cursor: TokenCursor): {
  signed: boolean;
  size: Size;
  token: ReturnType<TokenCursor["peek"]>;
} {
  const token = cursor.peek();
  const match = typeName.exec(token.text);
  if (match === null) cursor.unexpected("a type, u8 to u64 or s8 to s32");
  else cursor.next();
  return {
    signed: match?.[1] === "s",
    size: (Number(match?.[2] ?? 64) / 8) as Size,
    token,
  };
}

function widthOf(register: NamedRegister): Width {
  return register.half ? 32 : 64;
}

function whole(cursor: TokenCursor, register: NamedRegister): number {
  if (register.half)
    cursor.fail(
      "ASSEMBLY_REGISTER",
      register.token,
      `\`${register.token.text}\` is half a register`,
      `this works on a whole one: r${register.number}`,
    );
  return register.number;
}

function sameWidth(cursor: TokenCursor, right: NamedRegister, left: NamedRegister): void {
  if (right.half !== left.half)
    cursor.fail(
      "ASSEMBLY_REGISTER",
      right.token,
      `\`${right.token.text}\` and \`${left.token.text}\` differ in width`,
      `write ${left.half ? "w" : "r"}${right.number}`,
    );
}

/** Half a register holds at most 32 bits. Whole ones are written for smaller sizes too. */
function fits(cursor: TokenCursor, register: NamedRegister, size: Size): void {
  if (register.half && size === 8)
    cursor.fail(
      "ASSEMBLY_REGISTER",
      register.token,
      `\`${register.token.text}\` is half a register`,
      `u64 takes a whole one: r${register.number}`,
    );
}

/** Where the syntax names one register twice, both must be it. */
function same(cursor: TokenCursor, again: NamedRegister, first: NamedRegister): void {
  if (again.number !== first.number || again.half !== first.half)
    cursor.fail(
      "ASSEMBLY_REGISTER",
      again.token,
      `\`${again.token.text}\` is not the register on the left`,
      `this instruction has one register for both: write ${first.token.text}`,
    );
}
