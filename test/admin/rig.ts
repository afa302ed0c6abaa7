import { request } from "node:http";
import { fileURLToPath } from "node:url";
import pino from "pino";
import { ControlClient } from "../../src/admin/client.ts";
import type { Control, SwapObject } from "../../src/admin/control.ts";
import { type AdminLimits, startAdminServer } from "../../src/admin/server.ts";
import { eventSources } from "../../src/cli/event-sources.ts";
import { onCommit } from "../../src/cli/followers.ts";
import { controlOf } from "../../src/cli/start-admin.ts";
import { ok } from "../../src/common/result.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { PinKeeper, pinsOf } from "../../src/config/pinned-maps.ts";
import { preparePlan } from "../../src/config/prepare-plan.ts";
import { LiveConfig } from "../../src/config/reload.ts";
import { EventPump } from "../../src/proxy/event-pump.ts";
import type { Address } from "../../src/proxy/plan.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { temporaryFolder } from "../support/processes.ts";

export const filtersFolder = fileURLToPath(new URL("../../filters/", import.meta.url));

/** Two filters before an upstream that nobody has to answer for, over UDP and TCP. */
export const configText = `version: 1
workers: 2
stateDir: state
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
ports: { 7: app }
filters:
  count: { object: ${filtersFolder}count-by-protocol.o }
  blocklist:
    object: ${filtersFolder}blocklist.o
    maps: { blocked: { entries: [{ key: 127.0.0.66/32, value: 1 }, { key: 203.0.113.0/24, value: 2 }] } }
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [count, blocklist], egress: [count] }
  - { name: tcp, protocol: tcp, listen: "127.0.0.1:0", upstream: app }
`;

export interface AdminRig {
  readonly client: ControlClient;
  readonly control: Control;
  readonly socket: string;
  /** The config's folder. */
  readonly folder: string;
  /** Puts another text in the config's file. */
  write(config: string): void;
  /** Where listeners are bound, in the config's order. */
  readonly addresses: readonly Address[];
  readonly events: EventPump;
  readonly errors: readonly unknown[];
  stop(): Promise<void>;
}

function tokenOf(token: string | undefined): { current(): string } | undefined {
  return token === undefined ? undefined : { current: () => token };
}

/** A proxy in this process, under a control API on a socket of its own. */
export async function startAdminRig(
  options: {
    config?: string;
    token?: string;
    limits?: AdminLimits;
    /** At a reload, when what maps hold has been settled and before workers run the next plan. */
    beforeCommit?: () => Promise<void>;
  } = {},
): Promise<AdminRig> {
  const folder = temporaryFolder();
  const config = loadConfig(folder.write("weir.yaml", options.config ?? configText));
  if (!config.ok) throw new Error(config.error.map(String).join("\n"));
  const prepared = await preparePlan(config.value);
  if (!prepared.ok) throw new Error(prepared.error.map(String).join("\n"));
  const proxy = await startProxy(prepared.value.plan, {
    onFault: () => {},
    onWorkerDied: (worker, cause) => {
      throw new Error(`worker ${worker} died: ${cause}`);
    },
  });
  if (!proxy.ok) throw proxy.error;
  const pump = new EventPump(eventSources(prepared.value));
  pump.start();
  const log = pino({ level: "silent" });
  const loaded = { config: config.value, prepared: prepared.value };
  const errors: unknown[] = [];
  const pins = new PinKeeper(pinsOf(prepared.value.filters));
  const lives = {
    reload: () => live.reload(),
    swap: (name: string, object: SwapObject | undefined) => live.swap(name, object),
    mapsMoving: () => live.mapsMoving,
  };
  const { control, follow } = controlOf(loaded, proxy.value, pump, log, lives, pins);
  const live = new LiveConfig({
    ...loaded,
    proxy: {
      apply: (plan, applied) =>
        proxy.value.apply(plan, {
          ...applied,
          beforeCommit: async () => {
            const settled = (await applied.beforeCommit?.()) ?? ok(undefined);
            await options.beforeCommit?.();
            return settled;
          },
        }),
    },
    followers: [
      onCommit((next) => pump.follow(eventSources(next.prepared, pump.sources))),
      onCommit(async (next) => {
        errors.push(...(await pins.follow(pinsOf(next.prepared.filters))));
      }),
      follow,
    ],
    echo: () => Promise.reject(new Error("no echo")),
    onReload: () => {},
  });
  const socket = `${folder.path}/admin.sock`;
  const server = await startAdminServer({
    listen: { path: socket },
    token: tokenOf(options.token),
    control,
    onError: (error) => errors.push(error),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  if (!server.ok) throw server.error;
  return {
    client: new ControlClient({ path: socket }),
    control,
    socket,
    folder: folder.path,
    write: (text) => void folder.write("weir.yaml", text),
    addresses: proxy.value.listeners.map(({ address }) => address),
    events: pump,
    errors,
    async stop() {
      await server.value.stop();
      await proxy.value.stop(0);
      errors.push(...(await pins.save()));
      pump.stop();
      folder.remove();
    },
  };
}

/** A request as written, and the answer as it came. */
export function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode!, headers: response.headers, text }),
      );
    });
    asked.on("error", reject);
    asked.end(body);
  });
}
