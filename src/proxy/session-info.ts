import type { ListenerPlan } from "./plan.ts";

/** A session or connection as the control API tells it. */
export interface SessionInfo {
  readonly listener: string;
  readonly protocol: ListenerPlan["protocol"];
  /** `address:port`, IPv6 in brackets. */
  readonly client: string;
  /** Undefined for a connection whose SYN a filter dropped. */
  readonly destination: string | undefined;
  /** Since its last packet. */
  readonly idle_ms: number;
}
