import type { Analysis } from "./analysis.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { lostPointer } from "./lost-pointer.ts";
import type { RegisterState } from "./register-state.ts";

/** An argument that is not what the signature asks for. */
export function wrong(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
  expected: string,
  fix: string,
): never {
  a.refuse(
    "HELPER_ARGUMENT",
    `bpf_${helper.name} takes in r${register} ${expected}`,
    held.nullable ? `compare r${register} with 0 before the call, and leave where it is 0` : fix,
    [register],
  );
}

/** What is given back is no record, or none any more. */
export function refuseNoRecord(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
): never {
  const lost = held.kind === "scalar" ? lostPointer(a, register) : undefined;
  if (lost !== undefined)
    a.refuse(
      "HELPER_ARGUMENT",
      `bpf_${helper.name} takes in r${register} a reserved record, and r${register} ${lost.cause}`,
      lost.fix,
      [register],
    );
  wrong(
    a,
    helper,
    register,
    held,
    "the start of what a reserve helper returned, not null",
    "pass the pointer that bpf_ringbuf_reserve returned, with nothing added",
  );
}
