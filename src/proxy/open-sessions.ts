import type { AccessLine } from "./access-log.ts";

type Start = Extract<AccessLine, { kind: "start" }>;

/** Sessions that are remembered at most: of more than that the oldest end without a line. */
const maxSessions = 65_536;

/**
 * The sessions whose start one worker has had logged and whose end it has not. If it dies, nobody
 * else can tell that they ended. What they carried died with it, as do the lines of its last batch.
 */
export class OpenSessions {
  readonly #started = new Map<string, { readonly line: Start; readonly atMs: number }>();

  /** Takes note of lines that the worker told. */
  follow(lines: readonly AccessLine[], nowMs: number): void {
    for (const line of lines) {
      if (line.kind === "end") this.#started.delete(line.session);
      if (line.kind !== "start") continue;
      this.#started.set(line.session, { line, atMs: nowMs });
      if (this.#started.size <= maxSessions) continue;
      const [oldest] = this.#started.keys();
      this.#started.delete(oldest!);
    }
  }

  /** The worker has died: the ends of its sessions, each told once. */
  died(nowMs: number): AccessLine[] {
    const lines = [...this.#started.values()].map(
      ({ line: { kind: _, ...line }, atMs }): AccessLine => ({
        ...line,
        kind: "lost",
        reason: "worker_died",
        durationMs: Math.round(nowMs - atMs),
      }),
    );
    this.#started.clear();
    return lines;
  }
}
