import type { Analysis } from "./analysis.ts";
import { whereText } from "./describe-place.ts";
import type { HelperSignature } from "./helper-signature.ts";
import { mapOf } from "./program.ts";
import type { RegisterState } from "./register-state.ts";
import { isConstant } from "./scalar-range.ts";

/**
 * bpf_spin_lock and bpf_spin_unlock, as the kernel's process_spin_lock: one lock at a time, freed
 * through a pointer to the same value, nothing called while it is held.
 *
 * A held lock is one of the path's references. Pointers to values that have a lock keep their id
 * when they are found not to be null: it tells whose lock it is.
 */
export function checkSpinLock(
  a: Analysis,
  helper: HelperSignature,
  register: number,
  held: RegisterState,
): void {
  const map =
    held.kind === "map_value" && !held.nullable ? mapOf(a.program, held.target) : undefined;
  const at = isConstant(held.range) ? held.offset + Number(held.range.smin) : -1;
  if (map?.spinLock === undefined || map.spinLock !== at)
    a.refuse(
      "SPIN_LOCK",
      `bpf_${helper.name} takes in r${register} the address of a struct bpf_spin_lock in a map's value`,
      held.nullable
        ? `compare r${register} with 0 before the call`
        : "declare the map's value by BTF, with a struct bpf_spin_lock as one of its members",
      [register],
    );
  const value = held.id;
  const current = a.state.references.find(({ lock }) => lock !== undefined);
  if (helper.spinLock === "lock") {
    a.state.take(a.newId(), a.slot, { target: held.target, value });
    return;
  }
  if (current === undefined)
    a.refuse(
      "SPIN_LOCK",
      "a spin lock is freed, and none is held",
      "call bpf_spin_lock first, on every path",
      [register],
    );
  if (current.lock!.target !== held.target || current.lock!.value !== value)
    a.refuse(
      "SPIN_LOCK",
      `r${register} points to another spin lock than the one taken at ${whereText(a.program, current.slot)}`,
      "free the lock through the pointer that it was taken by",
      [register],
    );
  a.state.references = a.state.references.filter((one) => one !== current);
}

/** Nothing but bpf_spin_unlock and the program's own static functions runs while a lock is held. */
export function refuseUnderLock(a: Analysis, callee: string): void {
  const lock = a.state.references.find((one) => one.lock !== undefined);
  if (lock === undefined) return;
  a.refuse(
    "SPIN_LOCK",
    `${callee} is called while the spin lock taken at ${whereText(a.program, lock.slot)} is held`,
    "call bpf_spin_unlock first",
  );
}
