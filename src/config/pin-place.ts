import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { canBeKept } from "../maps/pin-file.ts";
import type { MapSpec } from "../object/object-spec.ts";
import { sharedName } from "./shared-maps.ts";

/**
 * Where a map's contents are kept across restarts, if it is pinned: by the config, or at run time by
 * `weir map pin`, of which a mark beside the contents tells the next start.
 */
export interface PinPlace {
  /** In `stateDir`. */
  readonly file: string;
  /** The config says `pin: true`. */
  readonly isDeclared: boolean;
}

/**
 * The file of a pinned map: under its own name where the object pins it by name (all filters share
 * it), else under its filter's and its own.
 */
export function pinFile(stateDir: string, filter: string, spec: MapSpec): string {
  const name =
    spec.pinning === "by_name"
      ? encodeURIComponent(sharedName(spec))
      : `${filter}.${encodeURIComponent(spec.name)}`;
  return join(stateDir, `${name}.map`);
}

/** Where a filter's map is kept if it is pinned, or why it cannot be. */
export function pinPlace(
  spec: MapSpec,
  filter: { readonly name: string; readonly shadow: boolean },
  isDeclared: boolean,
  stateDir: string | undefined,
): Result<PinPlace, UserError> {
  const refuse = (what: string, fix: string): Result<never, UserError> =>
    err(new UserError("PIN_REFUSED", `map ${spec.name}`, what, fix));
  if (spec.dataSection !== undefined)
    return refuse("holds a program's variables, which each start sets anew", "pin another map");
  if (!canBeKept(spec.type))
    return refuse(`a map of type ${spec.type} cannot be kept across restarts`, "pin another map");
  // Its file is the one of the map that live filters share.
  if (filter.shadow && spec.pinning === "by_name")
    return refuse("is a shadow's own, of a name that filters share", "promote the filter first");
  if (stateDir === undefined)
    return refuse("has no place to be kept", "add stateDir: and a folder to the config");
  return ok({ file: pinFile(stateDir, filter.name, spec), isDeclared });
}

export function isPinned({ file, isDeclared }: PinPlace): boolean {
  return isDeclared || existsSync(markOf(file));
}

/** Remembers that the map of `file` was pinned at run time. Throws what the file system says. */
export function markPinned(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(markOf(file), markText, { mode: 0o600 });
}

/** Forgets that the map of `file` was pinned at run time. Throws what the file system says. */
export function unmarkPinned(file: string): void {
  rmSync(markOf(file), { force: true });
}

const markText = "Pinned while it ran, by weir map pin; weir map unpin ends it.\n";

function markOf(file: string): string {
  return `${file.replace(/\.map$/, "")}.pinned`;
}
