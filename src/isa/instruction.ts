import type { Brand } from "../common/brand.ts";

/** r0 to r10. r10 is the frame pointer, read-only to programs. RFC 9669 §3. */
export type Register = Brand<number, "Register">;

/** Index of an 8-byte instruction slot in a program, never a byte offset. */
export type Slot = Brand<number, "Slot">;

export function register(n: number): Register {
  if (!Number.isInteger(n) || n < 0 || n > 10) throw new RangeError(`r${n}: expected r0 to r10`);
  return n as Register;
}

/** Bits an ALU or jump instruction works on. 32-bit results zero-extend. RFC 9669 §4. */
export type Width = 32 | 64;

/** Bytes of a memory access. */
export type Size = 1 | 2 | 4 | 8;

/** `div` and `mod` are unsigned; `sdiv` and `smod` share their opcodes with offset 1. RFC 9669 §4.1. */
export type AluOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "sdiv"
  | "mod"
  | "smod"
  | "or"
  | "and"
  | "xor"
  | "lsh"
  | "rsh"
  | "arsh"
  | "mov";

/** Conditions; those with an `s` compare signed; `set` is `dst & src`. RFC 9669 §4.3. */
export type BranchOp =
  | "eq"
  | "ne"
  | "gt"
  | "ge"
  | "lt"
  | "le"
  | "sgt"
  | "sge"
  | "slt"
  | "sle"
  | "set";

/** Read-modify-write operations. `xchg` and `cmpxchg` always fetch. RFC 9669 §5.3. */
export type AtomicOp = "add" | "or" | "and" | "xor" | "xchg" | "cmpxchg";

/** The second operand: a register, or a signed 32-bit immediate (sign-extended to 64 bits). */
export type Operand = { readonly register: Register } | { readonly immediate: number };

/** The register that an operand is, if it is one. A load of the field: `in` takes several times as long. */
export function registerOf(operand: Operand): Register | undefined {
  return (operand as { readonly register?: Register }).register;
}

/** The same of an immediate. */
export function immediateOf(operand: Operand): number | undefined {
  return (operand as { readonly immediate?: number }).immediate;
}

/**
 * One instruction, past the codec. What the encoding hides in offset and source fields (signed
 * division, sign-extending moves, `gotol`, pseudo sources) is explicit here.
 *
 * A program is `readonly Instruction[]` indexed by `Slot`: the second half of a 16-byte
 * instruction is `second_slot`, so that jump offsets (in slots, relative to the next slot) need no
 * translation.
 */
export type Instruction =
  | {
      readonly kind: "alu";
      readonly op: AluOp;
      readonly width: Width;
      readonly dst: Register;
      readonly src: Operand;
    }
  /** `movsx`: dst = the low `bits` of src, sign-extended to `width`. */
  | {
      readonly kind: "move_signed";
      readonly width: Width;
      readonly bits: 8 | 16 | 32;
      readonly dst: Register;
      readonly src: Register;
    }
  | { readonly kind: "negate"; readonly width: Width; readonly dst: Register }
  /** `le`/`be`: to that order from the host's (always little-endian here), truncating; `swap`: always. */
  | {
      readonly kind: "byte_order";
      readonly to: "le" | "be" | "swap";
      readonly bits: 16 | 32 | 64;
      readonly dst: Register;
    }
  /** `lddw` with source 0. `value` is unsigned 64-bit. */
  | { readonly kind: "load_immediate"; readonly dst: Register; readonly value: bigint }
  /** `lddw` sources 1 (fd) and 5 (index): the address of a map. Either number indexes the program's maps. */
  | {
      readonly kind: "load_map";
      readonly dst: Register;
      readonly map: number;
      readonly by: "fd" | "index";
    }
  /** `lddw` sources 2 and 6: the address of the first value of a map plus `offset` bytes. */
  | {
      readonly kind: "load_map_value";
      readonly dst: Register;
      readonly map: number;
      readonly offset: number;
      readonly by: "fd" | "index";
    }
  /** `lddw` source 3: a platform variable by BTF id. No meaning in user space; refused at load. */
  | { readonly kind: "load_variable"; readonly dst: Register; readonly id: number }
  /** `lddw` source 4: a function of this program; `offset` in slots from the next instruction (slot + 1). */
  | { readonly kind: "load_function"; readonly dst: Register; readonly offset: number }
  /** The second half of a 16-byte instruction. Nothing may jump here. */
  | { readonly kind: "second_slot" }
  | {
      readonly kind: "load";
      readonly size: Size;
      readonly signed: boolean;
      readonly dst: Register;
      readonly base: Register;
      readonly offset: number;
    }
  | {
      readonly kind: "store";
      readonly size: Size;
      readonly base: Register;
      readonly offset: number;
      readonly src: Operand;
    }
  | {
      readonly kind: "atomic";
      readonly op: AtomicOp;
      readonly fetch: boolean;
      readonly size: 4 | 8;
      readonly base: Register;
      readonly offset: number;
      readonly src: Register;
    }
  /** Legacy packet loads: big-endian, into r0, implicit context in r6. `index` for LD_IND. RFC 9669 §5.5. */
  | {
      readonly kind: "load_packet";
      readonly size: 1 | 2 | 4;
      readonly index: Register | undefined;
      readonly offset: number;
    }
  /** `long`: the 32-bit form, `gotol`. */
  | { readonly kind: "jump"; readonly offset: number; readonly long: boolean }
  | {
      readonly kind: "branch";
      readonly op: BranchOp;
      readonly width: Width;
      readonly dst: Register;
      readonly src: Operand;
      readonly offset: number;
    }
  | { readonly kind: "call_helper"; readonly id: number }
  /** A call by BTF id (source 2: kfunc). No meaning in user space; refused at load. */
  | { readonly kind: "call_btf"; readonly id: number }
  /** bpf-to-bpf. `offset` in slots from the next instruction. */
  | { readonly kind: "call_local"; readonly offset: number }
  /** `callx`: the helper whose id is in a register. */
  | { readonly kind: "call_register"; readonly target: Register }
  | { readonly kind: "exit" };
