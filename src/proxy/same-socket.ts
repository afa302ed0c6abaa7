import type { ListenerPlan } from "./plan.ts";

/** What a listener's socket is bound to. */
type SocketPlace = Pick<ListenerPlan, "protocol" | "listen">;

/**
 * Whether listeners of two plans are one to the workers, whatever their names: the later goes on with
 * the earlier's socket and sessions.
 */
export function sharesSocket(one: SocketPlace, other: SocketPlace): boolean {
  return (
    one.protocol === other.protocol &&
    one.listen.host === other.listen.host &&
    one.listen.port === other.listen.port
  );
}
