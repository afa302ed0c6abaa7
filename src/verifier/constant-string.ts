import type { Analysis } from "./analysis.ts";
import { formatProblem } from "./format-string.ts";
import { checkMemory } from "./helper-memory.ts";
import { wrong } from "./helper-refusal.ts";
import type { HelperSignature } from "./helper-signature.ts";
import type { RegisterState } from "./register-state.ts";
import { isConstant } from "./scalar-range.ts";

/**
 * Kernel: check_reg_const_str. The text is there now, so its end can be looked for now. What programs alone
 * may not write (BPF_F_RDONLY_PROG) is no constant: user space may take the zero byte away.
 */
export function checkConstantString(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
): void {
  const text = held.kind === "map_value" ? a.program.maps[held.target]?.frozenValue : undefined;
  if (text === undefined || held.nullable || !isConstant(held.range))
    wrong(
      a,
      helper,
      register,
      held,
      "a string constant, in a map that nobody writes",
      'write the text itself there ("%d"), or declare it static const',
    );
  checkMemory(a, helper, register, held, 1, "read", false);
  a.markPrecise(register);
  if (text.indexOf(0, constantOffset(held)) < 0)
    wrong(
      a,
      helper,
      register,
      held,
      "a string constant that ends in a zero byte",
      "leave room in the array for the zero byte",
    );
}

function constantOffset({ offset, range }: RegisterState): number {
  return offset + Number(BigInt.asIntN(64, range.value));
}

/**
 * Kernel: check_bpf_snprintf_call. Arguments are 64-bit words; their size is in two registers on. What is
 * held is a constant string.
 */
export function checkFormat(a: Analysis, register: number, held: RegisterState): void {
  const size = register + 2;
  const bytes = a.read(size).range.value;
  if (bytes % 8n !== 0n)
    a.refuse(
      "HELPER_ARGUMENT",
      `the arguments of the format take ${bytes} bytes (r${size}), and each is a 64-bit word`,
      "keep them in an array of __u64 and pass its size",
      [size],
    );
  const text = a.program.maps[held.target]!.frozenValue!;
  const offset = constantOffset(held);
  // Paths come here again and again, and a format may be long.
  const key = `${held.target} ${offset} ${bytes}`;
  if (a.soundFormats.has(key)) return;
  const format = Buffer.from(text.subarray(offset, text.indexOf(0, offset)));
  const problem = formatProblem(format.toString("latin1"), Number(bytes / 8n));
  if (problem !== undefined)
    a.refuse(
      "HELPER_ARGUMENT",
      problem,
      "formats have %d %i %u %x %X (also with l or ll), %c %s %p %pI4 %pi4 %pI6 %pi6 and %%, and for each but %% one __u64 among the arguments, whose size is constant",
      [register, size],
    );
  a.soundFormats.add(key);
}
