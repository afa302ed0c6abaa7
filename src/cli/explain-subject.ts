import { z } from "zod";
import type { ControlClient } from "../admin/client.ts";
import type { filterReply, listenerReply } from "../admin/replies.ts";
import { decodeRoute, routeJson } from "../admin/route-json.ts";
import { u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Config, FilterConfig } from "../config/config.ts";
import type { NetworkParts } from "../engine/network.ts";
import type { ProgramSlot } from "../filter/program-arrays.ts";
import type { TracedFilter } from "../filter/trace-bench.ts";
import type { NestedMap } from "../filter/trace-maps.ts";
import { type Direction, verdictKinds } from "../filter/verdict.ts";
import { holdsMaps } from "../object/map-rules.ts";
import { type LiveFilter, loadLive, splitItem } from "./live-filter.ts";

/** Which chain is meant. */
export interface ChainChoice {
  readonly listener?: string | undefined;
  /** This filter alone. */
  readonly filter?: string | undefined;
  readonly direction: Direction;
}

/** A chain to explain with: its filters, and the listener's number. */
export interface ChainSubject {
  readonly filters: readonly TracedFilter[];
  readonly ifindex: number;
  readonly cpus: number;
  readonly network: NetworkParts;
}

const defaultIfindex = 1;

/** The chain as a config describes it. */
export function configSubject(
  config: Config,
  options: ChainChoice,
): Result<ChainSubject, UserError> {
  const chain = chainOf(
    config.listeners.map((listener) => ({
      name: listener.name,
      ifindex: listener.ifindex,
      chain: listener[options.direction].map(({ filter, program }) => `${filter}:${program}`),
    })),
    config.filters.map(({ name }) => name),
    options,
  );
  if (!chain.ok) return chain;
  const filters: TracedFilter[] = [];
  for (const item of chain.value.chain) {
    const [name, program] = splitItem(item);
    const filter = config.filters.find((one) => one.name === name)!;
    if (options.filter === undefined && filter.shadow) continue;
    filters.push(tracedConfig(filter, item, program ?? filter.programs[0].name));
  }
  const network = {
    listeners: [chain.value.ifindex, ...config.listeners.map(({ ifindex }) => ifindex)],
    ports: config.ports.map(({ ifindex }) => ifindex),
    routes: config.routes,
  };
  return ok({ filters, ifindex: chain.value.ifindex, cpus: config.workers, network });
}

function tracedConfig(filter: FilterConfig, name: string, program: string): TracedFilter {
  const { object, contents, tailCalls, match, continueOn } = filter;
  const slots = tailCalls.slots.flatMap((of, map) =>
    of.map(
      ({ index, program: number }): ProgramSlot => ({
        map,
        index,
        program: tailCalls.programs[number - 1]!.name,
      }),
    ),
  );
  return {
    name: name.endsWith(`:${filter.programs[0].name}`) ? filter.name : name,
    object,
    program,
    match,
    continueOn,
    contents: contents.map((entries, map) =>
      holdsMaps(object.maps[map]!.type)
        ? []
        : Array.from(entries, ({ key, value }) => ({ key, values: [value] })),
    ),
    slots,
    nested: contents.flatMap((entries, map) =>
      holdsMaps(object.maps[map]!.type)
        ? Array.from(entries, ({ key, value }): NestedMap => ({ map, key, inner: u32le(value, 0) }))
        : [],
    ),
  };
}

interface NamedChain {
  readonly name: string;
  readonly ifindex: number;
  /** As chains name them. */
  readonly chain: readonly string[];
}

/** The chain that the options mean: a listener's, or one filter alone. */
function chainOf(
  listeners: readonly NamedChain[],
  filters: readonly string[],
  { listener, filter }: ChainChoice,
): Result<NamedChain, UserError> {
  if (filter !== undefined) {
    if (filters.includes(splitItem(filter)[0])) {
      // As if the packet had come to a listener that asks it.
      const asking =
        listeners.find(({ name }) => name === listener) ??
        listeners.find(({ chain }) =>
          chain.some((item) => splitItem(item)[0] === splitItem(filter)[0]),
        );
      return ok({
        name: filter,
        ifindex: asking?.ifindex ?? defaultIfindex,
        chain: [filter],
      });
    }
    return err(
      new UserError(
        "FILTER_UNKNOWN",
        `filter ${filter}`,
        "there is no such filter",
        `there are ${filters.join(", ") || "none"}`,
      ),
    );
  }
  const named =
    listener === undefined && listeners.length === 1
      ? listeners[0]
      : listeners.find(({ name }) => name === listener);
  if (named !== undefined) return ok(named);
  return err(
    new UserError(
      listener === undefined ? "USAGE_LISTENER" : "LISTENER_UNKNOWN",
      listener === undefined ? "--listener" : `listener ${listener}`,
      listener === undefined ? "not given, and there are several" : "there is no such listener",
      `name one with --listener: ${listeners.map(({ name }) => name).join(", ")}, or a filter with --filter`,
    ),
  );
}

/** What of the settings is needed here; they come from the proxy. */
const settingsShape = z.looseObject({
  workers: z.int().min(1),
  ports: z.record(z.string(), z.string()),
  routes: z.array(routeJson).transform((routes) => routes.map(decodeRoute)),
  filters: z.array(
    z.looseObject({
      name: z.string(),
      programs: z.array(z.string()).min(1),
      continue_on: z.array(z.enum(verdictKinds)),
      match: z
        .object({ onMatch: z.enum(["pass", "drop"]), onMiss: z.enum(["pass", "drop"]) })
        .optional(),
    }),
  ),
});

/** The chain of a running proxy, with what its maps hold now. */
export async function liveSubject(
  client: ControlClient,
  options: ChainChoice,
): Promise<Result<ChainSubject, UserError>> {
  const answers: unknown[] = [];
  for (const path of ["/v1/listeners", "/v1/filters", "/v1/config"]) {
    const answer = await client.get(path);
    if (!answer.ok) return answer;
    answers.push(answer.value);
  }
  const [listeners, filters] = answers as [
    z.output<typeof listenerReply>[],
    z.output<typeof filterReply>[],
  ];
  const settings = settingsShape.parse(answers[2]);
  const chain = chainOf(
    listeners.map(({ name, ifindex, ...one }) => ({
      name,
      ifindex,
      chain: one[options.direction],
    })),
    filters.map(({ name }) => name),
    options,
  );
  if (!chain.ok) return chain;
  // A disabled program is not asked, and a shadow decides nothing.
  const deciding = new Set(
    filters.flatMap(({ programs, state }) =>
      programs.flatMap((one) => (one.enabled && state !== "shadow" ? one.filter : [])),
    ),
  );
  const objects = new Map<string, LiveFilter>();
  const traced: TracedFilter[] = [];
  for (const item of chain.value.chain) {
    if (options.filter === undefined && !deciding.has(item)) continue;
    const [name, program] = splitItem(item);
    const loaded = objects.has(name)
      ? ok(objects.get(name)!)
      : await loadLive(client, name, filters.find((one) => one.name === name)!);
    if (!loaded.ok) return loaded;
    objects.set(name, loaded.value);
    const configured = settings.filters.find((one) => one.name === name)!;
    traced.push({
      name: item,
      ...loaded.value,
      program: program ?? configured.programs[0]!,
      match: configured.match,
      continueOn: configured.continue_on,
    });
  }
  const network = {
    listeners: [chain.value.ifindex, ...listeners.map(({ ifindex }) => ifindex)],
    ports: Object.keys(settings.ports).map(Number),
    routes: settings.routes,
  };
  return ok({ filters: traced, ifindex: chain.value.ifindex, cpus: settings.workers, network });
}
