import { err, ok, type Result } from "../../src/common/result.ts";
import type { UserError } from "../../src/common/user-error.ts";
import type { LinkedProgram } from "../../src/engine/engine.ts";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { decodeProgram } from "../../src/isa/codec.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramSpec, ProgramType } from "../../src/object/object-spec.ts";
import { findStructureProblem } from "../../src/verifier/structure.ts";

/**
 * A program as an engine takes it, that nobody has proven safe: engines must find out as it runs.
 * Only its structure is checked, since engines rely on that of any program. The product has no such
 * way; `linkProgram` is its only one.
 */
export function linkUnverified(
  spec: ProgramSpec,
  maps: readonly MapHandle[],
  type: ProgramType,
): Result<LinkedProgram, UserError | Error> {
  const decoded = decodeProgram(spec.bytecode);
  if (!decoded.ok) return decoded;
  const program: LinkedProgram = { name: spec.name, type, instructions: decoded.value, maps };
  const problem = findStructureProblem(program, helpers);
  return problem === undefined
    ? ok(program)
    : err(new Error(`${problem.code} at ${problem.slot}: ${problem.what}`));
}
