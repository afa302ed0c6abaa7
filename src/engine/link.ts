import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { decodeProgram } from "../isa/codec.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { ProgramSpec, ProgramType } from "../object/object-spec.ts";
import { belongsElsewhere } from "../object/section-type.ts";
import { checkStructure, type HelperRules } from "../verifier/structure.ts";
import type { LinkedProgram } from "./engine.ts";
import { helpers } from "./helpers/helper-table.ts";

const helperNames = new Map([...helpers.values()].map(({ id, name }) => [id, name]));

/**
 * Binds a program to maps (in the order of its object's maps) and checks that an engine may run
 * it: known instructions, sound structure, helpers that its type may call. `type` stands in for
 * what its section says.
 */
export function linkProgram(
  spec: ProgramSpec,
  maps: readonly MapHandle[],
  type: ProgramType | undefined = spec.type,
): Result<LinkedProgram, UserError> {
  const where = `program ${spec.name}`;
  if (type === undefined)
    return err(
      new UserError(
        "PROGRAM_TYPE_UNKNOWN",
        where,
        belongsElsewhere(spec.section)
          ? `programs of section "${spec.section}" attach to the kernel, and see no packets of a proxy`
          : `section "${spec.section}" does not tell the program's type`,
        'use a section such as "xdp", "tc" or "socket", or name the type',
      ),
    );
  const decoded = decodeProgram(spec.bytecode);
  if (!decoded.ok) {
    const { code, where: at, what, fix } = decoded.error;
    return err(new UserError(code, at === "program" ? where : `${where}, ${at}`, what, fix));
  }
  const program: LinkedProgram = { name: spec.name, type, instructions: decoded.value, maps };
  const structure = checkStructure({ ...program, lines: spec.lines }, helperRules(type));
  return structure.ok ? ok(program) : structure;
}

function helperRules(type: ProgramType): HelperRules {
  const allowed = [...helpers.values()].filter((helper) => helper.types.includes(type));
  return { allowed: new Set(allowed.map(({ id }) => id)), names: helperNames };
}
