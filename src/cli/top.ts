import { setTimeout as delay } from "node:timers/promises";
import type { z } from "zod";
import type { countersReply } from "../admin/replies.ts";
import { ok } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { verdictKinds } from "../filter/verdict.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import { type ExitCode, jsonText, type Terminal, table } from "./terminal.ts";

type Counted = z.output<typeof countersReply>;

export interface TopOptions extends ControlOptions {
  /** Seconds between two readings. */
  readonly interval: string;
  readonly once?: boolean;
}

/** `weir top`: what happens a second, by listener, filter and reason, until it is ended. */
export async function top(options: TopOptions, terminal: Terminal): Promise<ExitCode> {
  const seconds = Number(options.interval);
  if (!(seconds >= 0.1 && seconds <= 3600))
    return reportError(
      "top",
      new UserError(
        "USAGE_INTERVAL",
        `--interval ${options.interval}`,
        "expected seconds from 0.1 to 3600",
      ),
      terminal,
    );
  return withControl("top", options, terminal, async (client) => {
    let before = await client.get("/v1/counters");
    if (!before.ok) return before;
    for (;;) {
      await delay(seconds * 1000);
      const after = await client.get("/v1/counters");
      if (!after.ok) return after;
      const rates = ratesBetween(before.value as Counted, after.value as Counted);
      // On a terminal each picture takes the place of the one before; the cursor goes home.
      const clear = terminal.interactive && options.once !== true ? "\x1b[H\x1b[2J" : "";
      terminal.out(
        options.json === true ? jsonText(rates, options) : `${clear}${ratesText(rates)}`,
      );
      if (options.once === true) return ok(undefined);
      before = after;
    }
  });
}

/** Per second. What came with a reload between the two readings begins at 0. */
export function ratesBetween(before: Counted, after: Counted) {
  const seconds = Math.max(0.001, (after.at_ms - before.at_ms) / 1000);
  const rate = (now: number, then: number | undefined): number =>
    Math.max(0, now - (then ?? 0)) / seconds;
  const listeners = after.listeners.flatMap(({ name, sessions, directions }) =>
    directions.map(({ direction, packets, bytes, drops }) => {
      const old = before.listeners
        .find((one) => one.name === name)
        ?.directions.find((one) => one.direction === direction);
      const by = verdictKinds.map((kind) => rate(packets[kind], old?.packets[kind]));
      return {
        listener: name,
        direction,
        sessions,
        packets: by.reduce((all, one) => all + one, 0),
        bytes: verdictKinds.reduce((all, kind) => all + rate(bytes[kind], old?.bytes[kind]), 0),
        verdicts: Object.fromEntries(verdictKinds.map((kind, i) => [kind, by[i]!])),
        drops: Object.fromEntries(
          Object.entries(drops).map(([reason, count]) => [
            reason,
            rate(count, old?.drops[reason as keyof typeof drops]),
          ]),
        ),
      };
    }),
  );
  const filters = after.filters.map(({ name, run_cnt, verdicts }) => {
    const old = before.filters.find((one) => one.name === name);
    return {
      filter: name,
      runs: rate(run_cnt, old?.run_cnt),
      verdicts: Object.fromEntries(
        verdictKinds.map((kind) => [kind, rate(verdicts[kind], old?.verdicts[kind])]),
      ),
    };
  });
  return { seconds, listeners, filters };
}

function ratesText({ listeners, filters }: ReturnType<typeof ratesBetween>): string {
  const number = (value: number | undefined): string =>
    (value ?? 0) >= 100 ? (value ?? 0).toFixed(0) : (value ?? 0).toFixed(1);
  const verdicts = (by: Readonly<Record<string, number>>): string[] =>
    verdictKinds.map((kind) => number(by[kind]));
  const reasons = listeners.flatMap(({ listener, direction, drops }) =>
    Object.entries(drops)
      .filter(([, value]) => value > 0)
      .map(([reason, value]) => [listener, direction, reason, number(value)]),
  );
  const parts = [
    [
      ["LISTENER", "DIRECTION", "SESSIONS", "PACKETS/s", "BYTES/s", ...verdictKinds],
      ...listeners.map((row) => [
        row.listener,
        row.direction,
        String(row.sessions),
        number(row.packets),
        number(row.bytes),
        ...verdicts(row.verdicts),
      ]),
    ],
    [
      ["FILTER", "RUNS/s", ...verdictKinds],
      ...filters.map((row) => [row.filter, number(row.runs), ...verdicts(row.verdicts)]),
    ],
    [["LISTENER", "DIRECTION", "REASON", "DROPS/s"], ...reasons],
  ];
  return `${parts
    .filter((rows) => rows.length > 1)
    .map((rows) => table(rows))
    .join("\n\n")}\n`;
}
