import { err, ok, type Result } from "../common/result.ts";
import type { Btf, BtfType } from "../object/btf.ts";
import { flattenMembers, resolveType, sizeOfType } from "../object/btf-types.ts";

/** Where a number lies in a map's value. Offset and size in bytes. */
export interface NumberPlace {
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
}

/** Why a value has no number where it was asked for. */
export interface ValueProblem {
  readonly what: string;
  readonly fix: string;
}

/** Bytes an integer may have. */
export const numberSizes: readonly number[] = [1, 2, 4, 8];

/**
 * The number that a path such as `stats.drops[2]` names in a value of BTF type `root`, or the value
 * itself without a path. Members of anonymous structs and unions are found as in C; a data section
 * has its variables for members.
 */
export function findNumber(
  btf: Btf,
  root: number,
  field: string | undefined,
): Result<NumberPlace, ValueProblem> {
  let type = resolveType(btf, root);
  let offset = 0;
  let path = "";
  for (const step of field?.match(/\w+|\[\d+\]/g) ?? []) {
    const next = step.startsWith("[") ? element(btf, type, step) : member(btf, type, step);
    if (next === undefined)
      return err({
        what: `${path === "" ? "its value" : path} has no ${step}`,
        fix: fixFor(btf, type, path),
      });
    path += step.startsWith("[") || path === "" ? step : `.${step}`;
    if (next.bitField)
      return err({ what: `${path} is a bit field`, fix: "count in a whole integer" });
    offset += next.offset;
    type = resolveType(btf, next.type);
  }
  if (type.kind === "int" || type.kind === "enum") {
    if (numberSizes.includes(type.size))
      return ok({ offset, size: type.size, signed: type.signed });
    return err({
      what: `${path === "" ? "its value" : path} has ${type.size} bytes`,
      fix: "choose a number of at most 8 bytes",
    });
  }
  return err({
    what: `${path === "" ? "its value" : path} is ${kindName(type)}, not a number`,
    fix: fixFor(btf, type, path),
  });
}

interface Step {
  readonly type: number;
  readonly offset: number;
  readonly bitField: boolean;
}

function element(btf: Btf, type: BtfType, step: string): Step | undefined {
  const index = Number(step.slice(1, -1));
  if (type.kind !== "array" || index >= type.length) return undefined;
  const size = sizeOfType(btf, type.type);
  return size === undefined
    ? undefined
    : { type: type.type, offset: index * size, bitField: false };
}

/** A member of a struct or union, looked for in anonymous ones too; or a data section's variable. */
function member(btf: Btf, type: BtfType, name: string): Step | undefined {
  if (type.kind === "section") {
    for (const { type: id, offset } of type.variables) {
      const variable = btf.types[id];
      if (variable?.kind === "variable" && variable.name === name)
        return { type: variable.type, offset, bitField: false };
    }
    return undefined;
  }
  const found = flattenMembers(btf, type).find((candidate) => candidate.name === name);
  if (found === undefined) return undefined;
  const { bitOffset, bitSize } = found;
  const bitField = bitSize !== 0 || bitOffset % 8 !== 0;
  return { type: found.type, offset: Math.floor(bitOffset / 8), bitField };
}

function fixFor(btf: Btf, type: BtfType, path: string): string {
  if (type.kind === "array") return `name an element, ${path}[0] to ${path}[${type.length - 1}]`;
  const names = memberNames(btf, type).slice(0, 20);
  if (names.length === 0) return path === "" ? "remove field" : `set field to ${path}`;
  return `set field to a member: ${names.map((name) => (path === "" ? name : `${path}.${name}`)).join(", ")}`;
}

function memberNames(btf: Btf, type: BtfType): readonly string[] {
  if (type.kind === "section")
    return type.variables.flatMap(({ type: id }) => {
      const variable = btf.types[id];
      return variable?.kind === "variable" ? [variable.name] : [];
    });
  return flattenMembers(btf, type).map(({ name }) => name);
}

function kindName(type: BtfType): string {
  return type.kind === "enum" || type.kind === "int" || type.kind === "array"
    ? `an ${type.kind}`
    : `a ${type.kind}`;
}
