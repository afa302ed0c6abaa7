import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { z } from "zod";
import type { filterReply, reloadReply } from "../admin/replies.ts";
import { ok } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { type ControlOptions, reportError, segment, withControl } from "./control-client.ts";
import { countText } from "./number-text.ts";
import { reloadText } from "./prog-control.ts";
import { type ExitCode, jsonText, type Terminal, table } from "./terminal.ts";

type Filter = z.output<typeof filterReply>;

const stateText = { live: "on", shadow: "shadow", promoted: "promoted" } as const;

/** `weir list`: one line a filter, as bpflist. */
export async function listFilters(options: ControlOptions, terminal: Terminal): Promise<ExitCode> {
  return withControl("list", options, terminal, async (client) => {
    const status = await client.get("/v1/status");
    if (!status.ok) return status;
    const filters = await client.get("/v1/filters");
    if (!filters.ok) return filters;
    const { pid } = status.value as { pid: number };
    const rows = (filters.value as Filter[]).flatMap(({ name, engine, programs, map_ids, state }) =>
      programs.map(({ filter, type, run_cnt, enabled, verdicts }) => ({
        pid,
        name: filter,
        filter: name,
        type,
        engine,
        run_cnt,
        dropped: verdicts.drop + verdicts.aborted,
        maps: map_ids.length,
        enabled,
        state,
      })),
    );
    if (options.json === true) terminal.out(jsonText(rows, options));
    else
      terminal.out(
        `${table([
          ["PID", "NAME", "TYPE", "ENGINE", "RUNS", "DROPPED", "MAPS", "STATE"],
          ...rows.map(({ name, type, engine, run_cnt, dropped, maps, enabled, state }) =>
            [
              pid,
              name,
              type,
              engine,
              run_cnt,
              dropped,
              maps,
              enabled ? stateText[state] : "disabled",
            ].map(String),
          ),
        ])}\n`,
      );
    return ok(undefined);
  });
}

/** `weir filter enable` and `disable`. */
export async function filterSet(
  action: "enable" | "disable",
  name: string,
  options: ControlOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  return withControl(`filter ${action}`, options, terminal, async (client) => {
    const done = await client.send("POST", `/v1/filters/${segment(name)}/${action}`);
    if (!done.ok) return done;
    if (options.json === true) terminal.out(jsonText(done.value, options));
    else terminal.out(`${name}: ${action}d\n`);
    return ok(undefined);
  });
}

/** `weir filter promote`. */
export async function filterPromote(
  name: string,
  options: ControlOptions & { readonly insteadOf?: string },
  terminal: Terminal,
): Promise<ExitCode> {
  return withControl("filter promote", options, terminal, async (client) => {
    const { insteadOf } = options;
    const body = insteadOf === undefined ? {} : { instead_of: insteadOf };
    const done = await client.send("POST", `/v1/filters/${segment(name)}/promote`, body);
    if (!done.ok) return done;
    if (options.json === true) terminal.out(jsonText(done.value, options));
    else
      terminal.out(
        `${name}: live, with its maps${insteadOf === undefined ? "" : `; ${insteadOf}: disabled`}\n` +
          "write shadow: false in the config: a restart goes by that\n",
      );
    return ok(undefined);
  });
}

/** `weir filter shadow [FILTER]`: what shadows say beside their chains. */
export async function filterShadow(
  name: string | undefined,
  options: ControlOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  return withControl("filter shadow", options, terminal, async (client) => {
    const path = name === undefined ? "/v1/filters" : `/v1/filters/${segment(name)}`;
    const filters = await client.get(path);
    if (!filters.ok) return filters;
    const rows = ([filters.value].flat() as Filter[]).flatMap(({ programs, state }) =>
      programs.flatMap(({ filter, shadow }) => {
        const asked = shadow.reduce((sum, { packets }) => sum + packets, 0);
        return shadow.map((pair) => ({ filter, state, ...pair, share: pair.packets / asked }));
      }),
    );
    if (options.json === true) terminal.out(jsonText(rows, options));
    else if (rows.length === 0) terminal.out("no shadow has been asked about a packet yet\n");
    else
      terminal.out(
        `${table(
          [
            ["FILTER", "LIVE", "SHADOW", "PACKETS", "SHARE"],
            ...rows.map(({ filter, live, shadow, packets, share }) => [
              filter,
              live,
              live === shadow ? "same" : shadow,
              countText(packets),
              `${(share * 100).toFixed(2)}%`,
            ]),
          ],
          new Set([3, 4]),
        )}\n`,
      );
    return ok(undefined);
  });
}

export interface SwapOptions extends ControlOptions {
  readonly program?: string;
  readonly undo?: boolean;
}

/** `weir filter swap FILTER OBJECT[:SECTION]`, or `--undo`. */
export async function filterSwap(
  name: string,
  given: string | undefined,
  options: SwapOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const { program, undo = false } = options;
  if ((given === undefined) !== undo || (undo && program !== undefined))
    return reportError(
      "filter swap",
      new UserError(
        "USAGE_SWAP",
        name,
        "expected an object file, or --undo alone",
        "weir filter swap FILTER OBJECT[:SECTION]",
      ),
      terminal,
    );
  const { object, section } = given === undefined ? {} : splitObject(given);
  return withControl("filter swap", options, terminal, async (client) => {
    // The proxy has a folder of its own.
    const body = { ...(object && { object: resolve(object) }), section, program };
    const done = await client.send("POST", `/v1/filters/${segment(name)}/swap`, body);
    if (!done.ok) return done;
    if (options.json === true) terminal.out(jsonText(done.value, options));
    else
      terminal.out(
        reloadText(
          done.value as z.output<typeof reloadReply>,
          `${name}: ${given ?? "as configured"},`,
        ),
      );
    return ok(undefined);
  });
}

/** A file's name may hold a colon itself. */
function splitObject(given: string): { object: string; section?: string } {
  const colon = given.lastIndexOf(":");
  if (colon <= 0 || existsSync(given)) return { object: given };
  return { object: given.slice(0, colon), section: given.slice(colon + 1) };
}
