import { z } from "zod";
import { filterSchema } from "./filter-schema.ts";
import { listenerSchema, maxIfindex } from "./listener-schema.ts";
import { routeSchema } from "./route-schema.ts";
import {
  type AdminListen,
  type HostPort,
  parseAdminListen,
  parseListenAddress,
} from "./scalars.ts";
import {
  block,
  blockOf,
  choice,
  duration,
  filePath,
  listOf,
  memorySize,
  name,
  reference,
  schemaNotes,
  textOf,
  upstreamAddress,
  wholeNumber,
} from "./schema-parts.ts";

/** Per-CPU maps hold a value for each worker: what bounds them. */
export const maxWorkers = 128;

const workers = z.union([wholeNumber(1, maxWorkers), z.literal("auto")]);
schemaNotes.add(workers, { noun: `a whole number from 1 to ${maxWorkers}, or auto` });

export const upstreamSchema = block({
  addresses: listOf(upstreamAddress)
    .min(1)
    .max(64)
    .optional()
    .describe(
      "Where it answers: address:port or name:port. Names are looked up at the start and at each reload.",
    ),
  echo: z
    .literal(true)
    .optional()
    .describe("Instead of addresses: the built-in upstream that sends back what it receives."),
});

const ifindex = z
  .string()
  .refine((text) => /^[1-9][0-9]{0,9}$/.test(text) && Number(text) <= maxIfindex, {
    error: `a port's number is a whole number from 1 to ${maxIfindex}`,
  });
schemaNotes.add(ifindex, { noun: "a port's number" });

const folderPath = z
  .string()
  .min(1)
  .max(4096)
  .meta({ examples: ["/var/lib/weir"] });
schemaNotes.add(folderPath, { noun: "a path" });

const listenOrOff = textOf<HostPort | "off">(
  "an address and port, or off",
  "127.0.0.1:9464",
  (text) => (text === "off" ? { ok: true, value: "off" as const } : parseListenAddress(text)),
);

const adminListen = textOf<AdminListen | "off">(
  "unix: and a path, an address and port, or off",
  "unix:/run/weir/admin.sock",
  parseAdminListen,
);

/** The whole config: keys, types, defaults and what each means. */
export const configSchema = block({
  version: z.literal(1).describe("Version of this format."),
  workers: workers
    .default(1)
    .describe("Threads that carry packets; auto: one for each available CPU."),
  memory: memorySize
    .prefault("512MiB")
    .describe("Most memory for packets and all maps together, from 1MiB to 2047MiB."),
  drain: choice(["refuse", "forward"])
    .default("refuse")
    .describe(
      "After SIGTERM or SIGINT. refuse: nothing new is taken, what runs may end within drainTimeout. forward: /ready says no, everything goes on, new sessions too, for drainTimeout.",
    ),
  drainTimeout: duration
    .prefault("30s")
    .describe(
      "How long open TCP connections have to end (drain: refuse), or everything goes on (drain: forward).",
    ),
  stateDir: folderPath
    .optional()
    .describe(
      "Folder in which maps with pin: true are kept across restarts. Relative to the config file.",
    ),
  log: block({
    level: choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
      .default("info")
      .describe("The least severe messages that are logged."),
  })
    .prefault({})
    .describe("Logging."),
  reload: block({
    watch: z
      .boolean()
      .default(false)
      .describe(
        "Reload when the config or a file that it names changes. Without it: on SIGHUP and weir reload only.",
      ),
  })
    .prefault({})
    .describe("When the config is read again while the proxy runs."),
  metrics: block({
    listen: listenOrOff
      .prefault("127.0.0.1:9464")
      .describe("Address and port of /metrics, /live and /ready, or off."),
  })
    .prefault({})
    .describe("The Prometheus endpoint."),
  admin: block({
    listen: adminListen
      .optional()
      .describe(
        "Where weir's own commands reach it: unix: and an absolute path, an address and port, or off. Without it: weir-UID/admin.sock in $XDG_RUNTIME_DIR or /tmp, for this user only.",
      ),
    tokenFile: filePath
      .optional()
      .describe(
        "A file with the token that clients must show. Needed where listen is an address and port, which anyone who reaches it could use. Relative to the config file.",
      ),
  })
    .prefault({})
    .describe("The control API."),
  upstreams: blockOf(name, upstreamSchema).prefault({}).describe("Where packets go, by name."),
  ports: blockOf(ifindex, reference)
    .default({})
    .describe(
      "What a redirect's number (ifindex) stands for: an upstream's name, or listener.peer for a peer of a tunnel in mode bridge. Any other number drops the packet.",
    ),
  routes: listOf(routeSchema)
    .default([])
    .describe("What bpf_fib_lookup finds. Nothing else follows them."),
  filters: blockOf(name, filterSchema).default({}).describe("Filters, by name."),
  listeners: listOf(listenerSchema)
    .min(1)
    .max(256)
    .describe("Where packets come in, and which filters they pass."),
});

/** With defaults, durations in milliseconds, sizes in bytes, addresses in parts. */
export type ConfigValues = z.output<typeof configSchema>;
