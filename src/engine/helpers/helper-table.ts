import type { ProgramType } from "../../object/object-spec.ts";
import { callbackHelpers } from "./callback-helpers.ts";
import { checksumHelpers } from "./checksum-helpers.ts";
import { frameHelpers } from "./frame-helpers.ts";
import type { Helper } from "./helper.ts";
import { mapHelpers } from "./map-helpers.ts";
import { redirectHelpers } from "./redirect-helpers.ts";
import { socketHelpers } from "./socket-helpers.ts";
import { systemHelpers } from "./system-helpers.ts";
import { tailCall } from "./tail-call.ts";
import { traceHelpers } from "./trace-helpers.ts";

/** Every helper there is, by id: the one table for linking, running and listing them. */
export const helpers: ReadonlyMap<number, Helper> = new Map(
  [
    ...mapHelpers,
    ...systemHelpers,
    ...traceHelpers,
    ...redirectHelpers,
    ...checksumHelpers,
    ...frameHelpers,
    ...socketHelpers,
    ...callbackHelpers,
    tailCall,
  ]
    .sort((a, b) => a.id - b.id)
    .map((helper) => [helper.id, helper]),
);

/** The helper of this id if programs of this type may call it. */
export function helperFor(id: number, type: ProgramType): Helper | undefined {
  const helper = helpers.get(id);
  return helper?.types.includes(type) ? helper : undefined;
}

/** How many of r1 to r5 a helper reads. */
export function registersReadBy(helper: Helper): number {
  return helper.registersRead ?? helper.arguments.length;
}
