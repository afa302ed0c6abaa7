import { rowsOfName } from "./opcodes.ts";
import {
  noStatement,
  parseCall,
  parseOperand,
  parseWideSource,
  type Statement,
} from "./statement.ts";
import type { TokenCursor } from "./token-cursor.ts";

/** Whether the line begins with a mnemonic: `mov %r0, 1`, `lock fetch add [%r10-8], %r1`. */
export function atMnemonic(cursor: TokenCursor): boolean {
  const { text } = cursor.peek();
  return text === "lock" ? cursor.peek(1).kind === "word" : rowsOfName(text).length > 0;
}

/**
 * One instruction in the syntax of bpf_conformance and ubpf: a mnemonic of the opcode table, then
 * its operands with commas between them. Targets are labels or `+3`, `-3` (slots from the next
 * instruction).
 */
export function parseConformance(cursor: TokenCursor): Statement {
  const first = cursor.peek();
  const form = rowsOfName(mnemonic(cursor))[0]?.form;
  if (form === undefined) {
    cursor.fail(
      "ASSEMBLY_SYNTAX",
      first,
      "no such atomic operation",
      "expected lock, fetch or not, then add, and, or, xor, xchg or cmpxchg, with 32 or not",
    );
    return noStatement;
  }
  const comma = (): void => cursor.expect(",");
  const dst = (): number => cursor.wholeRegister();
  switch (form.kind) {
    case "alu": {
      const to = dst();
      comma();
      const { source, field } = parseOperand(cursor);
      return { form: { ...form, src: source }, dst: to, ...field };
    }
    case "branch": {
      const left = dst();
      comma();
      const { source, field } = parseOperand(cursor);
      comma();
      return {
        form: { ...form, src: source },
        dst: left,
        ...field,
        target: cursor.target(),
      };
    }
    case "negate":
    case "byte_order":
      return { form, dst: dst() };
    case "move_signed": {
      const to = dst();
      comma();
      return { form, dst: to, src: cursor.wholeRegister() };
    }
    case "load": {
      const to = dst();
      comma();
      const { base, offset } = cursor.address("[", "]");
      return { form, dst: to, src: base, offset };
    }
    case "store":
    case "atomic": {
      const { base, offset } = cursor.address("[", "]");
      comma();
      const immediate = form.kind === "store" && form.src === "immediate";
      const value = immediate ? { imm: cursor.immediate() } : { src: cursor.wholeRegister() };
      return { form, dst: base, offset, ...value };
    }
    case "load_packet": {
      if (!form.indexed) return { form, imm: cursor.immediate() };
      const src = cursor.wholeRegister();
      comma();
      return { form, src, imm: cursor.immediate() };
    }
    case "jump":
      return { form, target: cursor.target() };
    case "call_helper":
    case "call_local":
    case "call_btf":
      return parseCall(cursor);
    case "call_register":
      return { form, dst: dst() };
    case "exit":
      return { form };
    case "load_immediate":
    case "load_map":
    case "load_map_value":
    case "load_variable":
    case "load_function": {
      const to = dst();
      comma();
      return parseWideSource(cursor, to);
    }
    default: {
      const never: never = form;
      return never;
    }
  }
}

/** One word, or for atomics all words before the address. */
function mnemonic(cursor: TokenCursor): string {
  const words = [cursor.next().text];
  if (words[0] === "lock")
    while (cursor.peek().kind === "word" && words.length < 3) words.push(cursor.next().text);
  return words.join(" ");
}
