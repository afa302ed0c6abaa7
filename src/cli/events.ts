import type { ControlClient } from "../admin/client.ts";
import type { EventRow } from "../admin/replies.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { holdsEvents } from "../object/map-rules.ts";
import type { MapType } from "../object/object-spec.ts";
import { clockText } from "./clock-text.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import { referenceOf } from "./entry-words.ts";
import { type ExitCode, jsonText, type Terminal } from "./terminal.ts";

export interface EventOptions extends ControlOptions {
  readonly filter?: string;
  /** The struct that events are. */
  readonly type?: string;
  /** Events to take before it ends. */
  readonly count?: string;
}

/** `weir events [MAP]`, `weir map event_pipe MAP`: what filters write into ringbufs and perf_event_arrays, until it is ended. */
export async function events(
  command: "events" | "map event_pipe",
  words: readonly string[],
  options: EventOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  if (options.count !== undefined && !/^[1-9]\d{0,8}$/.test(options.count))
    return reportError(
      command,
      new UserError("USAGE_COUNT", `--count ${options.count}`, "expected a whole number above 0"),
      terminal,
    );
  const reference = words.length === 0 ? ok(undefined) : referenceOf(words);
  if (!reference.ok) return reportError(command, reference.error, terminal);
  const query = new URLSearchParams();
  for (const [name, value] of [
    ["filter", options.filter],
    ["map", reference.value],
    ["type", options.type],
  ] as const)
    if (value !== undefined) query.set(name, value);
  return withControl(command, options, terminal, async (client) => {
    const none = reference.value === undefined ? await withoutEvents(client) : undefined;
    if (none !== undefined) return err(none);
    const end = new AbortController();
    const onSignal = (): void => end.abort();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
    try {
      const rows = await client.stream(`/v1/events?${query}`, end.signal);
      if (!rows.ok) return rows;
      return await take(rows.value as AsyncGenerator<EventRow>, options, terminal, end);
    } finally {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
    }
  });
}

/** That no event can ever come: else it would be waited for in silence. */
async function withoutEvents(client: ControlClient): Promise<UserError | undefined> {
  const maps = await client.get("/v1/maps");
  if (!maps.ok) return maps.error;
  if ((maps.value as { readonly type: MapType }[]).some(({ type }) => holdsEvents(type)))
    return undefined;
  return new UserError(
    "EVENT_MAP",
    "filters",
    "none has a ringbuf or a perf_event_array, so no event can come",
    "see weir map list",
  );
}

async function take(
  rows: AsyncGenerator<EventRow>,
  options: EventOptions,
  terminal: Terminal,
  end: AbortController,
): Promise<Result<undefined, UserError>> {
  const most = Number(options.count ?? Number.POSITIVE_INFINITY);
  let count = 0;
  let lost = 0;
  let isOn = false;
  for await (const row of rows) {
    if ("lost" in row) {
      lost += row.lost;
      // The first line: what is written from now on is read.
      if (!isOn) terminal.error("reading events; Ctrl-C ends it\n");
      else terminal.error(lossText(row));
      isOn = true;
      continue;
    }
    terminal.out(options.json === true ? jsonText(row, options) : rowText(row));
    if (++count >= most) {
      end.abort();
      break;
    }
  }
  terminal.error(`${count} event${count === 1 ? "" : "s"} read, ${lost} lost\n`);
  return ok(undefined);
}

function lossText({ lost, filter, map }: EventRow & { readonly lost: number }): string {
  return map === undefined
    ? `${lost} lost: they came faster than they were read here\n`
    : `${lost} lost: the ring of ${filter}/${map} was full\n`;
}

function rowText(row: Exclude<EventRow, { lost: number }>): string {
  const { filter, map, cpu, value, rest } = row;
  const by = cpu === undefined ? "" : ` CPU ${String(cpu).padStart(2, "0")}`;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return `${clockText(row)} ${filter}/${map}${by} ${text}${rest === undefined ? "" : ` ${rest}`}\n`;
}
