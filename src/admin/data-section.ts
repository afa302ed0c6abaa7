import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { formatTyped, parseTyped } from "../maps/typed.ts";
import type { ObjectSpec, VariableSpec } from "../object/object-spec.ts";
import type { Inventory, MapItem } from "./inventory.ts";

/** The variables of a `.data`, `.bss` or `.rodata`, by the names that the API shows. */
export interface DataSection {
  readonly object: ObjectSpec;
  readonly variables: ReadonlyMap<string, VariableSpec>;
}

/** Bytes to write at a place of the section. */
export interface VariableBytes {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Variables of static functions may share a name: those after the first are `name@offset`. */
export function sectionOf(inventory: Inventory, map: MapItem): DataSection {
  const { object, maps } = inventory.parts.filters.find(({ name }) => name === map.filter)!;
  const index = maps.findIndex(({ handle }) => handle === map.handle);
  const variables = new Map<string, VariableSpec>();
  for (const variable of object.variables) {
    if (variable.map !== index) continue;
    const { name, offset } = variable;
    variables.set(variables.has(name) ? `${name}@${offset}` : name, variable);
  }
  return { object, variables };
}

/** A section's value as an object by variable; undefined where it has none that are known. */
export function formatVariables(
  { object, variables }: DataSection,
  value: Uint8Array,
): Record<string, unknown> | undefined {
  if (variables.size === 0) return undefined;
  return Object.fromEntries(
    [...variables].map(([name, { type, offset, size }]) => [
      name,
      formatTyped(object.btf, type, value.subarray(offset, offset + size)),
    ]),
  );
}

/** What an object of variables says is to be written; those that it leaves out stay as they are. */
export function parseVariables(
  { object, variables }: DataSection,
  map: MapItem,
  written: Readonly<Record<string, unknown>>,
): Result<readonly VariableBytes[], UserError> {
  const where = `map ${map.handle.name}, value`;
  const parts: VariableBytes[] = [];
  for (const [name, value] of Object.entries(written)) {
    const variable = variables.get(name);
    if (variable === undefined)
      return err(
        new UserError(
          "GLOBAL_UNKNOWN",
          where,
          `there is no variable ${JSON.stringify(name).slice(0, 80)}`,
          variables.size === 0
            ? "write hex: and all bytes: the object does not name its variables"
            : `it has ${[...variables.keys()].slice(0, 20).join(", ")}`,
        ),
      );
    const { type, size, offset } = variable;
    const bytes = parseTyped(object.btf, type, size, value);
    if (!bytes.ok) {
      const { code, where: at, what, fix } = bytes.error;
      const inside = at.replace(/^value/, "");
      return err(new UserError(code, `${where}.${name}${inside}`, what, fix));
    }
    parts.push({ offset, bytes: bytes.value });
  }
  return ok(parts);
}
