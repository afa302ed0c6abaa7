import { putU32le, u16le, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";

/** One instruction of classic BPF: struct sock_filter of linux/filter.h. */
export interface ClassicInstruction {
  /** Operation code, see opcode.ts. 16 bits. */
  readonly code: number;
  /** Instructions to skip where the condition holds, 0 to 255. */
  readonly jt: number;
  /** Instructions to skip where it does not, 0 to 255. */
  readonly jf: number;
  /** Operand; unsigned 32 bits. */
  readonly k: number;
}

/** A program; its result is the number of bytes of the packet to keep, 0 for none. */
export type ClassicProgram = readonly ClassicInstruction[];

/** Bytes of one instruction in memory. */
export const instructionBytes = 8;

/** As an array of struct sock_filter on a little-endian machine. */
export function encodeClassic(program: ClassicProgram): Uint8Array {
  const bytes = new Uint8Array(program.length * instructionBytes);
  for (const [i, { code, jt, jf, k }] of program.entries()) {
    const at = i * instructionBytes;
    bytes[at] = code;
    bytes[at + 1] = code >>> 8;
    bytes[at + 2] = jt;
    bytes[at + 3] = jf;
    putU32le(bytes, at + 4, k);
  }
  return bytes;
}

/** The instructions of an array of struct sock_filter (little-endian); `where` names it in errors. */
export function decodeClassic(bytes: Uint8Array, where: string): Result<ClassicProgram, UserError> {
  if (bytes.length % instructionBytes !== 0)
    return err(
      new UserError(
        "CBPF_LENGTH",
        where,
        `${bytes.length} bytes are no whole number of instructions`,
        `give ${instructionBytes} bytes an instruction`,
      ),
    );
  const program: ClassicInstruction[] = [];
  for (let at = 0; at < bytes.length; at += instructionBytes)
    program.push({
      code: u16le(bytes, at),
      jt: bytes[at + 2] as number,
      jf: bytes[at + 3] as number,
      k: u32le(bytes, at + 4),
    });
  return ok(program);
}
