import type { ProgramType } from "../../object/object-spec.ts";
import { callbackHelpers } from "./callback-helpers.ts";
import { checksumHelpers } from "./checksum-helpers.ts";
import { eventHelpers } from "./event-helpers.ts";
import { frameHelpers } from "./frame-helpers.ts";
import type { Helper } from "./helper.ts";
import { mapHelpers } from "./map-helpers.ts";
import { packetBytesHelpers } from "./packet-bytes-helpers.ts";
import { queueHelpers } from "./queue-helpers.ts";
import { redirectHelpers } from "./redirect-helpers.ts";
import { ringbufHelpers } from "./ringbuf-helpers.ts";
import { routeHelpers } from "./route-helpers.ts";
import { skbChecksumHelpers } from "./skb-checksum-helpers.ts";
import { skbFieldHelpers } from "./skb-field-helpers.ts";
import { skbResizeHelpers } from "./skb-resize-helpers.ts";
import { socketHelpers } from "./socket-helpers.ts";
import { spinLockHelpers } from "./spin-lock-helpers.ts";
import { stringHelpers } from "./string-helpers.ts";
import { systemHelpers } from "./system-helpers.ts";
import { tailCall } from "./tail-call.ts";
import { traceHelpers } from "./trace-helpers.ts";
import { tunnelHelpers } from "./tunnel-helpers.ts";
import { vlanHelpers } from "./vlan-helpers.ts";

/** Every helper there is, by id: the one table for linking, running and listing them. */
export const helpers: ReadonlyMap<number, Helper> = new Map(
  [
    ...mapHelpers,
    ...systemHelpers,
    ...traceHelpers,
    ...redirectHelpers,
    ...checksumHelpers,
    ...frameHelpers,
    ...queueHelpers,
    ...ringbufHelpers,
    ...eventHelpers,
    ...socketHelpers,
    ...spinLockHelpers,
    ...packetBytesHelpers,
    ...routeHelpers,
    ...skbChecksumHelpers,
    ...skbFieldHelpers,
    ...skbResizeHelpers,
    ...stringHelpers,
    ...tunnelHelpers,
    ...vlanHelpers,
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
