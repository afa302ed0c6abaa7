import { readFile } from "node:fs/promises";
import type { ListenerPlan } from "./plan.ts";

/** Open files this process may have; undefined where the system does not tell (only Linux does). */
export async function openFileLimit(): Promise<number | undefined> {
  let limits: string;
  try {
    limits = await readFile("/proc/self/limits", "utf8");
  } catch {
    return undefined;
  }
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? undefined : Number(soft);
}

/** Files an open session holds: a connected socket, for TCP the client's too. */
const filesPerSession = { udp: 1, tcp: 2, vxlan: 1, geneve: 1 } as const;

/**
 * The listener with `maxSessions` lowered so that the sessions of all `listeners` together take at
 * most half of `openFiles`.
 */
export function withinFileLimit(
  listener: ListenerPlan,
  listeners: number,
  openFiles: number,
): ListenerPlan {
  const files = openFiles / 2 / listeners;
  const most = Math.max(1, Math.floor(files / filesPerSession[listener.protocol]));
  return listener.maxSessions <= most ? listener : { ...listener, maxSessions: most };
}
