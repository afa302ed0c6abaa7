import { toHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Btf } from "../object/btf.ts";
import { sizeOfType } from "../object/btf-types.ts";
import { decodeValue } from "../object/decode-value.ts";
import type { ControlledMap } from "./inventory.ts";

/** An event's bytes: by their type, with what follows the struct; or all as `hex:`. */
export interface EventData {
  readonly value: unknown;
  /** Of a typed event that is longer than its type: a part of the packet, or what pads it. */
  readonly rest?: string;
}

/** Types that an error lists at most. */
const maxListed = 20;

/**
 * The struct of an object's BTF that describes a map's events. What a ring holds is not declared
 * with the map (the kernel takes no value type there), so: the struct of that `name`; without one,
 * the struct that has the map's name, the map's name without its last s, or the name `event`.
 */
export function eventType(
  { btf, handle }: ControlledMap,
  name: string | undefined,
): Result<number | undefined, UserError> {
  if (name !== undefined) {
    const found = btf && structNamed(btf, name);
    return found === undefined ? err(unknownType(handle.name, name, btf)) : ok(found);
  }
  for (const usual of [handle.name, handle.name.replace(/s$/, ""), "event"]) {
    const found = btf && structNamed(btf, usual);
    if (found !== undefined) return ok(found);
  }
  return ok(undefined);
}

export function eventData(
  btf: Btf | undefined,
  type: number | undefined,
  bytes: Uint8Array,
): EventData {
  const size = btf === undefined || type === undefined ? undefined : sizeOfType(btf, type);
  if (size === undefined || size === 0 || size > bytes.length)
    return { value: `hex:${toHex(bytes)}` };
  const value = decodeValue(btf!, type!, bytes.subarray(0, size));
  return size === bytes.length ? { value } : { value, rest: `hex:${toHex(bytes.subarray(size))}` };
}

/** A struct, union or typedef of this name; `struct NAME` means the same. */
function structNamed({ types }: Btf, name: string): number | undefined {
  const bare = name.replace(/^(struct|union) /, "");
  for (const kind of ["struct", "union", "typedef"] as const) {
    const id = types.findIndex((type) => type.kind === kind && type.name === bare);
    if (id >= 0) return id;
  }
  return undefined;
}

function unknownType(map: string, name: string, btf: Btf | undefined): UserError {
  const names = [
    ...new Set(
      (btf?.types ?? []).flatMap((type) =>
        type.kind === "struct" && type.name !== "" ? [type.name] : [],
      ),
    ),
  ];
  return new UserError(
    "EVENT_TYPE",
    `map ${map}`,
    `its object describes no struct ${JSON.stringify(name.slice(0, 80))}`,
    names.length === 0
      ? "build the object with -g, and use the struct in a global variable or a function's argument"
      : `name one of ${names.slice(0, maxListed).join(", ")}`,
  );
}
