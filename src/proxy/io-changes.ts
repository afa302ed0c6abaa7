import { UserError } from "../common/user-error.ts";
import type { DatagramIo, ListenerPlan } from "./plan.ts";
import { sharesSocket } from "./same-socket.ts";

/** What carries a listener's datagrams; undefined for TCP, which has none. */
export function ioOf({ protocol, io = "dgram" }: ListenerPlan): DatagramIo | undefined {
  return protocol === "tcp" ? undefined : io;
}

/**
 * Listeners of `next` that keep the address that they have in `before`, hence their socket, and are to
 * have another `io`: an error each. Two sockets cannot have the address for as long as both plans have
 * to be ready.
 */
export function ioChanges(
  before: readonly ListenerPlan[],
  next: readonly ListenerPlan[],
): readonly UserError[] {
  return next.flatMap((listener) => {
    const same = before.find((one) => sharesSocket(one, listener));
    if (same === undefined || ioOf(same) === ioOf(listener)) return [];
    return new UserError(
      "RELOAD_NEEDS_RESTART",
      `listener ${listener.name}`,
      `io ${ioOf(same)} stays for as long as the listener has its address`,
      "restart the proxy, or give the listener another port",
    );
  });
}
