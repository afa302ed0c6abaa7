import { suggestion } from "../common/closest.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { checkMap, holdsMaps } from "../object/map-rules.ts";
import type { MapSpec, ObjectSpec } from "../object/object-spec.ts";

/** A map that an object does not declare: one more of those that its map `outer` is declared to hold. */
export interface InnerMap {
  /** What it is called: no map of the object is. */
  readonly name: string;
  /** The map of maps whose declaration it follows. */
  readonly outer: string;
  /** Absent: as in the declaration. What is no array may have its own, as in the kernel. */
  readonly maxEntries?: number | undefined;
}

/**
 * The object with one more map, behind its own, so that programs' references to those stay. User space
 * makes such maps with BPF_MAP_CREATE where a map of maps declares a template alone.
 */
export function withInnerMap(
  object: ObjectSpec,
  { name, outer, maxEntries }: InnerMap,
): Result<ObjectSpec, UserError> {
  const where = `map ${name}`;
  const refuse = (what: string, fix: string) =>
    err(new UserError("INNER_MAP_TEMPLATE", where, what, fix));
  if (name === "") return refuse("its name is empty", "choose a name");
  const taken = [...object.maps, ...(object.refusedMaps ?? [])];
  if (taken.some((map) => map.name === name))
    return refuse(`${object.file} has a map of that name`, "choose another name");
  const holders = object.maps.filter(({ type }) => holdsMaps(type)).map((map) => map.name);
  const template = object.maps.find((map) => map.name === outer)?.inner;
  if (template === undefined || !holders.includes(outer))
    return refuse(
      `${object.file} has no map of maps "${outer}"`,
      suggestion(outer, holders, "the object has none"),
    );
  const spec: MapSpec = {
    ...template,
    name,
    pinning: "none",
    maxEntries: maxEntries ?? template.maxEntries,
  };
  const problem = checkMap(spec);
  return problem === undefined ? ok({ ...object, maps: [...object.maps, spec] }) : err(problem);
}
