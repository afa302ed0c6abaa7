import { errno } from "../common/errno.ts";
import { UserError } from "../common/user-error.ts";
import type { MapAccess } from "../maps/map-access.ts";
import type { MapType } from "../object/object-spec.ts";

/** What a map may say to an entry that the config's checks let through. errno(3). */
const refusals: Readonly<Record<number, string>> = {
  [errno.EINVAL]: "the map's type does not allow it",
  [errno.E2BIG]: "the map is full",
  [errno.ENOSPC]: "the map is full",
  [errno.ENOMEM]: "the map is full",
};

/** What the kernel lets an entry name besides its device or CPU; none has a transmit side to run it on here. */
const mayNameProgram: readonly MapType[] = ["devmap", "devmap_hash", "cpumap"];

/** Tells that `map` answered -errno to an entry of the config that stands at `where`. */
export function refusedEntry(map: MapAccess, where: string, result: number): UserError {
  const { type, valueSize } = map.handle;
  if (result === -errno.EINVAL && mayNameProgram.includes(type) && valueSize > 4)
    return new UserError(
      "CONFIG_ENTRY_REFUSED",
      where,
      `map ${map.handle.name} refuses the entry: of a ${type} it must not be 0, and can name no program here`,
      "leave bpf_prog out: put the program into a chain instead",
    );
  return new UserError(
    "CONFIG_ENTRY_REFUSED",
    where,
    `map ${map.handle.name} refuses the entry: ${refusals[-result] ?? `error ${-result} (errno(3))`}`,
  );
}
