import { errno } from "../common/errno.ts";
import { UserError } from "../common/user-error.ts";
import type { MapAccess } from "../maps/map-access.ts";

/** What a map may say to an entry that the config's checks let through. errno(3). */
const refusals: Readonly<Record<number, string>> = {
  [errno.EINVAL]: "the map's type does not allow it",
  [errno.E2BIG]: "the map is full",
  [errno.ENOSPC]: "the map is full",
  [errno.ENOMEM]: "the map is full",
};

/** Tells that `map` answered -errno to an entry of the config that stands at `where`. */
export function refusedEntry(map: MapAccess, where: string, result: number): UserError {
  return new UserError(
    "CONFIG_ENTRY_REFUSED",
    where,
    `map ${map.handle.name} refuses the entry: ${refusals[-result] ?? `error ${-result} (errno(3))`}`,
  );
}
