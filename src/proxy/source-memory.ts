import { randomInt } from "node:crypto";
import type { ListenerPlan, ProxyPlan } from "./plan.ts";
import { sharesSocket } from "./same-socket.ts";
import { entriesIn, memoryWords, nameWords, SourceTable } from "./source-table.ts";

/** The memory for one listener's sources, empty: a table for each worker. */
export function sourceMemory(maxSessions: number, workers: number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(4 * memoryWords(entriesFor(maxSessions), workers));
  const words = new Int32Array(memory);
  for (let i = 0; i < nameWords; i++) words[i] = randomInt(2 ** 32);
  return memory;
}

/** A power of two, so that tables of `maxSessions` sources at most are half full at most. */
function entriesFor(maxSessions: number): number {
  return 2 ** Math.ceil(Math.log2(2 * (maxSessions + 1)));
}

/**
 * The plan with what several workers need to hold a source's limit together. A listener that keeps its
 * socket goes on in the memory that it has in the plan `before`, for as long as that is large enough.
 */
export function withSourceMemory(plan: ProxyPlan, before?: ProxyPlan): ProxyPlan {
  const workers = plan.workers.length;
  if (workers === 1) return plan;
  const listeners = plan.listeners.map((listener) => {
    const same = before?.listeners.find((one) => sharesSocket(one, listener));
    const mostSessions = Math.max(listener.maxSessions, same?.mostSessions ?? 0);
    if (listener.maxSessionsPerSource === undefined) return { ...listener, mostSessions };
    const memory = same?.sources;
    const isEnough = memory !== undefined && entriesIn(memory, workers) >= entriesFor(mostSessions);
    const sources = isEnough ? memory : sourceMemory(mostSessions, workers);
    return { ...listener, mostSessions, sources };
  });
  return { ...plan, listeners };
}

/** Takes out of a listener's memory what a worker had that has died. */
export function abandonSources(
  { workers }: ProxyPlan,
  { sources }: ListenerPlan,
  worker: number,
): void {
  if (sources !== undefined)
    new SourceTable(sources, { workers: workers.length, worker }).abandon();
}
