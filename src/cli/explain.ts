import { createReadStream, existsSync } from "node:fs";
import { z } from "zod";
import type { ControlClient } from "../admin/client.ts";
import type { filterReply, listenerReply } from "../admin/replies.ts";
import { decodeRoute, routeJson } from "../admin/route-json.ts";
import { parseHex, u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { Config, FilterConfig } from "../config/config.ts";
import { loadConfig } from "../config/load-config.ts";
import type { NetworkParts } from "../engine/network.ts";
import type { ProgramSlot } from "../filter/program-arrays.ts";
import { TraceBench, type TraceBenchOptions, type TracedFilter } from "../filter/trace-bench.ts";
import type { NestedMap } from "../filter/trace-maps.ts";
import { verdictKinds } from "../filter/verdict.ts";
import { holdsMaps } from "../maps/map-rules.ts";
import { packetLine } from "../packet/packet-line.ts";
import { readCapture } from "../pcap/read-capture.ts";
import { reportConfigErrors } from "./config-errors.ts";
import { type ControlOptions, reportError, withControl } from "./control-client.ts";
import { type LiveFilter, loadLive, splitItem } from "./live-filter.ts";
import { printTrace } from "./prog-trace.ts";
import { systemReason } from "./read-text.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

export interface ExplainOptions extends ControlOptions {
  /** A config to explain with, instead of the running proxy. */
  readonly config?: string;
  readonly listener?: string;
  readonly filter?: string;
  readonly direction: "ingress" | "egress";
  /** Which packet of a capture file, from 0. */
  readonly packet: string;
  readonly brief?: boolean;
}

/** A chain to explain with: its filters, and the listener's number. */
interface Subject {
  readonly filters: readonly TracedFilter[];
  readonly ifindex: number;
  readonly cpus: number;
  readonly network: NetworkParts;
}

const defaultIfindex = 1;

/**
 * `weir explain`: why a packet is passed or dropped. It runs through the chain once more, in the
 * interpreter, on a copy of the maps: of the running proxy's, or of those a config describes.
 */
export async function explain(
  given: string,
  options: ExplainOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const packet = await packetOf(given, options.packet);
  if (!packet.ok) return reportError("explain", packet.error, terminal);
  const run = async (subject: Subject): Promise<Result<undefined, UserError>> => {
    const settings: TraceBenchOptions = {
      cpus: subject.cpus,
      network: subject.network,
      trace: (line) => terminal.error(`${line}\n`),
    };
    const bench = await TraceBench.create(subject.filters, settings);
    if (!bench.ok) return bench;
    const traced = bench.value.judge(packet.value, subject.ifindex, options.direction);
    if (!traced.ok) return traced;
    if (options.json !== true) terminal.out(`${packetLine(packet.value)}\n\n`);
    printTrace(traced.value, {}, options, terminal);
    return ok(undefined);
  };
  if (options.config !== undefined) {
    const config = loadConfig(options.config, terminal.environment);
    if (!config.ok) return reportConfigErrors(config.error, terminal);
    const subject = configSubject(config.value, options);
    const done = subject.ok ? await run(subject.value) : subject;
    return done.ok ? exitCodes.done : reportError("explain", done.error, terminal);
  }
  return withControl("explain", options, terminal, async (client) => {
    const subject = await liveSubject(client, options);
    return subject.ok ? run(subject.value) : subject;
  });
}

/** Hex, or a packet of a capture file. */
async function packetOf(given: string, index: string): Promise<Result<Uint8Array, UserError>> {
  const bytes = parseHex(given);
  if (bytes !== undefined && !existsSync(given)) return ok(bytes);
  if (!/^\d{1,9}$/.test(index))
    return err(
      new UserError("USAGE_PACKET", `--packet ${index}`, "expected a whole number from 0"),
    );
  let count = 0;
  try {
    for await (const packet of readCapture(createReadStream(given), given)) {
      if (count++ !== Number(index)) continue;
      if (packet.linkType === 1) return ok(packet.data);
      return err(
        new UserError(
          "CAPTURE_LINK_TYPE",
          `${given}, packet ${index}`,
          `is of link type ${packet.linkType}`,
          "filters see Ethernet frames: link type 1",
        ),
      );
    }
  } catch (error) {
    if (error instanceof UserError) return err(error);
    return err(new UserError("FILE_UNREADABLE", given.slice(0, 80), systemReason(error)));
  }
  return err(new UserError("CAPTURE_NO_PACKET", given, `has ${count} packets, no number ${index}`));
}

function configSubject(config: Config, options: ExplainOptions): Result<Subject, UserError> {
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
        : entries.map(({ key, value }) => ({ key, values: [value] })),
    ),
    slots,
    nested: contents.flatMap((entries, map) =>
      holdsMaps(object.maps[map]!.type)
        ? entries.map(({ key, value }): NestedMap => ({ map, key, inner: u32le(value, 0) }))
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
  { listener, filter }: ExplainOptions,
): Result<NamedChain, UserError> {
  if (filter !== undefined) {
    if (filters.includes(splitItem(filter)[0])) {
      // As if the packet had come to a listener that asks it.
      const asking =
        listeners.find(({ name }) => name === listener) ??
        listeners.find(({ chain }) => chain.some((item) => splitItem(item)[0] === filter));
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
      listener === undefined ? "explain" : `listener ${listener}`,
      listener === undefined ? "needs a chain" : "there is no such listener",
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

async function liveSubject(
  client: ControlClient,
  options: ExplainOptions,
): Promise<Result<Subject, UserError>> {
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
