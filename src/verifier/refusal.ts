/** Why a program is refused, where it was found: ends the exploration, and is caught at its edge. */
export class Refusal extends Error {
  readonly code: string;
  readonly slot: number;
  override readonly cause: string;
  readonly fix: string;
  /** Numbers of the registers that matter, as they are at `slot`. */
  readonly registers: readonly number[];

  constructor(
    code: string,
    slot: number,
    cause: string,
    fix: string,
    registers: readonly number[],
  ) {
    super(cause);
    this.name = "Refusal";
    this.code = code;
    this.slot = slot;
    this.cause = cause;
    this.fix = fix;
    this.registers = registers;
  }
}

/** Stable names of causes, for scripts and tests. */
export type RefusalCode =
  | "UNREACHABLE_CODE"
  | "UNINITIALISED_REGISTER"
  | "INVALID_SHIFT"
  | "DIVISION_BY_ZERO"
  | "POINTER_ARITHMETIC"
  | "POINTER_OFFSET"
  | "MAYBE_NULL"
  | "NOT_A_POINTER"
  | "PACKET_BOUNDS"
  | "PACKET_READ_ONLY"
  | "CONTEXT_ACCESS"
  | "SOCKET_ACCESS"
  | "MAP_VALUE_BOUNDS"
  | "MAP_READ_ONLY"
  | "MEMORY_BOUNDS"
  | "MEMORY_READ_ONLY"
  | "STACK_BOUNDS"
  | "STACK_POINTER_FILL"
  | "STACK_POINTER_SPILL"
  | "STACK_POINTER_RETURNED"
  | "MISALIGNED"
  | "ATOMIC_TARGET"
  | "HELPER_ARGUMENT"
  | "HELPER_SIZE"
  | "SPIN_LOCK"
  | "REFERENCE_LEAK"
  | "REFERENCE_UNKNOWN"
  | "RETURN_VALUE"
  | "CALL_DEPTH"
  | "STACK_DEPTH"
  | "FUNCTION_ARGUMENT"
  | "FUNCTION_RETURN"
  | "CALLBACK"
  | "PACKET_LOAD"
  | "INFINITE_LOOP"
  | "TOO_COMPLEX"
  | "CALL_REGISTER";
