import { loadConfig, parseConfig } from "../config/load-config.ts";
import { preparePlan } from "../config/prepare-plan.ts";
import { maxConfigBytes } from "../config/read-yaml.ts";
import { unresolvedText } from "../config/resolve-upstreams.ts";
import { createMetrics } from "../metrics/registry.ts";
import type { ListenerPlan, ProxyPlan } from "../proxy/plan.ts";
import { reportConfigErrors } from "./config-errors.ts";
import { hostPort } from "./host-port.ts";
import { metricSources } from "./metric-sources.ts";
import { type ExitCode, exitCodes, type Terminal, table } from "./terminal.ts";
import { readToken } from "./token-file.ts";
import { version } from "./version.ts";

export interface CheckOptions {
  readonly config: string;
  readonly json?: boolean;
}

/** The config of a file, or for `-` of standard input: its relative paths start at the working folder. */
async function configOf(
  file: string,
  { environment, input }: Terminal,
): Promise<ReturnType<typeof loadConfig>> {
  if (file !== "-") return loadConfig(file, environment);
  let text = "";
  // One that is too long is refused as such, however much would follow.
  for await (const chunk of input()) {
    text += chunk;
    if (text.length > maxConfigBytes) break;
  }
  return parseConfig(text, "standard input", environment);
}

/**
 * `weir check`: all that `weir run` does up to the first socket. It needs no network: of a name that
 * cannot be looked up here it warns. Objects are loaded, maps made and
 * filled, programs accepted, metrics bound; then it says what would run.
 */
export async function check(options: CheckOptions, terminal: Terminal): Promise<ExitCode> {
  const config = await configOf(options.config, terminal);
  if (!config.ok) return reportConfigErrors(config.error, terminal, options);
  const { admin, tokenFilePlace } = config.value;
  const { listen, tokenFile } = admin;
  const token =
    listen === "off" || tokenFile === undefined ? undefined : readToken(tokenFile, tokenFilePlace);
  if (token?.ok === false) return reportConfigErrors([token.error], terminal, options);
  // Nothing is sent: any address stands for the built-in echo's.
  const echo = { host: "127.0.0.1", port: 7 };
  const prepared = await preparePlan(config.value, { echo });
  if (!prepared.ok) return reportConfigErrors(prepared.error, terminal, options);
  const metrics = createMetrics({
    version,
    sources: metricSources(prepared.value, () => 0),
    process: undefined,
    now: Date.now,
    onSkip: () => {},
  });
  if (!metrics.ok) return reportConfigErrors([metrics.error], terminal, options);

  const { plan, filters, arena, fallbacks, ioFallbacks, unresolved } = prepared.value;
  for (const name of unresolved) terminal.error(`weir check: ${unresolvedText(name)}\n`);
  for (const { listener, reason } of ioFallbacks)
    terminal.error(`weir check: listener ${listener}: io: auto is dgram here: ${reason}\n`);
  for (const { filter, refusal } of fallbacks)
    terminal.error(
      `weir check: filter ${filter} runs on the interpreter: ${refusal.where}: ${refusal.what}\n`,
    );
  const names = (indexes: readonly number[]): string[] =>
    indexes.map((index) => plan.filters[index]!.name);
  const listeners = plan.listeners.map((listener) => ({
    name: listener.name,
    protocol: listener.protocol,
    listen: hostPort(listener.listen.host, listener.listen.port),
    upstream: beyond(listener, plan),
    ingress: names(listener.ingress),
    egress: names(listener.egress),
  }));
  const programs = plan.filters.map(({ name, engine, program, shadow }) => ({
    filter: name,
    program: program.name,
    type: program.type,
    instructions: program.instructions.length,
    engine,
    // A column of its own only where there is something to tell.
    ...(plan.filters.some((one) => one.shadow === true)
      ? { state: shadow === true ? "shadow" : "live" }
      : {}),
  }));
  const maps = filters.flatMap((filter) =>
    filter.maps.map(({ handle, source }) => ({
      filter: filter.name,
      map: handle.name,
      type: handle.type,
      entries: source.count,
      capacity: handle.maxEntries,
    })),
  );
  const summary = { file: options.config, listeners, programs, maps, memory: arena.usedBytes };
  terminal.out(options.json === true ? `${JSON.stringify(summary)}\n` : text(summary));
  return exitCodes.done;
}

/** Where a listener's packets go: its upstream, or a tunnel's mode and peers. */
function beyond({ upstream, tunnel }: ListenerPlan, { upstreams }: ProxyPlan): string {
  if (upstream !== undefined) return upstreams[upstream]!.name;
  const peers = tunnel?.peers.map(({ name }) => name) ?? [];
  return `${tunnel?.mode}: ${peers.length === 0 ? "any peer" : peers.join(", ")}`;
}

interface Summary {
  readonly file: string;
  readonly listeners: readonly Readonly<Record<string, unknown>>[];
  readonly programs: readonly Readonly<Record<string, unknown>>[];
  readonly maps: readonly Readonly<Record<string, unknown>>[];
  readonly memory: number;
}

function text({ file, listeners, programs, maps, memory }: Summary): string {
  const parts = [listeners, programs, maps].filter((rows) => rows.length > 0).map(rowsText);
  const mebibytes = (memory / 1_048_576).toFixed(1);
  return `${parts.join("\n")}\n${file}: ok, ${mebibytes} MiB of memory for packets and maps\n`;
}

function rowsText(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const headings = Object.keys(rows[0] as object);
  const cells = rows.map((row) =>
    headings.map((heading) => {
      const cell = row[heading];
      return Array.isArray(cell) ? cell.join(" → ") || "-" : String(cell);
    }),
  );
  return `${table([headings, ...cells])}\n`;
}
