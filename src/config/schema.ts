import { z } from "zod";
import { filterSchema } from "./filter-schema.ts";
import { listenerSchema, maxIfindex } from "./listener-schema.ts";
import { routeSchema } from "./route-schema.ts";
import {
  type AdminListen,
  type HostPort,
  parseAdminListen,
  parseDuration,
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

const durationOrOff = textOf<number | "off">("a duration, or off", "30s", (text) =>
  text === "off" ? { ok: true, value: "off" as const } : parseDuration(text),
);

const fraction = z.number().min(0).max(1);
schemaNotes.add(fraction, { noun: "a number from 0 to 1" });

const ejection = block({
  failures: wholeNumber(0, 1000)
    .default(3)
    .describe("Failures in a row after which it is left out. 0: never."),
  time: duration.prefault("10s").describe("For how long."),
});

const healthCheck = block({
  type: choice(["tcp", "http"])
    .default("tcp")
    .describe("tcp: it takes a connection. http: it answers GET with a status from 200 to 399."),
  interval: duration.prefault("5s").describe("Time from one check of an address to the next."),
  timeout: duration.prefault("2s").describe("A check that takes longer has failed."),
  path: z
    .string()
    .regex(/^\/[!-~]*$/, { error: () => "a path begins with / and has no spaces" })
    .max(2048)
    .default("/")
    .meta({ examples: ["/healthz"] })
    .describe("http only: what is asked for."),
  host: z
    .string()
    .regex(/^[!-~]+$/, { error: () => "a Host header has no spaces" })
    .max(255)
    .optional()
    .meta({ examples: ["app.example"] })
    .describe(
      "http only: the Host header. Without it: the name or address as it is written, and the port that is asked, unless that is 80.",
    ),
  proxyProtocol: choice(["off", "v1", "v2"])
    .optional()
    .describe(
      "The PROXY protocol header that a check begins with, as the proxy's own connection (v1 UNKNOWN, v2 LOCAL). Needed, if only as off, where a listener sends one to these addresses. Without it: none.",
    ),
  port: wholeNumber(1, 65_535)
    .optional()
    .describe("Where to check. Without it: the address's own port."),
  healthyAfter: wholeNumber(1, 100)
    .default(2)
    .describe("Checks in a row that bring an address back that was down."),
  unhealthyAfter: wholeNumber(1, 100)
    .default(3)
    .describe("Failed checks in a row after which an address is down."),
});

export const upstreamSchema = block({
  addresses: listOf(upstreamAddress)
    .min(1)
    .max(64)
    .optional()
    .describe(
      "Where it answers: address:port or name:port. A name is all its addresses (IPv4 ones, if it has any).",
    ),
  echo: z
    .literal(true)
    .optional()
    .describe("Instead of addresses: the built-in upstream that sends back what it receives."),
  balance: choice(["round_robin", "client_hash"])
    .default("round_robin")
    .describe(
      "Where new sessions and connections go: to one address after another, or by the client's IP address, always to the same one while that can be used.",
    ),
  connectTimeout: duration
    .prefault("10s")
    .describe(
      "A TCP connection that is not there after this has failed; another address is tried.",
    ),
  ejection: ejection
    .prefault({})
    .describe(
      "Leaves an address out that fails: connections refused or timed out, datagrams refused. Each worker finds so for itself, and never leaves out the last address.",
    ),
  healthCheck: healthCheck
    .optional()
    .describe(
      "Asks each address whether it is there. What is down gets nothing new, unless all are down. Without it: nobody asks.",
    ),
  resolveInterval: durationOrOff
    .prefault("30s")
    .describe(
      "Names are looked up again after this. Sessions to addresses that stay go on; a name whose lookup fails keeps its addresses; one that has none yet is tried again after a second, then less and less often. off: at the start and at each reload only, and until there is an address.",
    ),
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
      "After SIGTERM or SIGINT. refuse: nothing new is taken; TCP connections may end within drainTimeout (then they are reset), and datagrams be answered within its first 5s. forward: /ready says no, everything goes on, new sessions too, for drainTimeout.",
    ),
  drainTimeout: duration
    .prefault("30s")
    .describe(
      "How long open TCP connections have to end and datagrams to be answered (5s at most; drain: refuse), or everything goes on (drain: forward).",
    ),
  stateDir: folderPath
    .optional()
    .describe(
      "Folder in which pinned maps are kept across restarts: those with pin: true, and those of weir map pin. Relative to the config file.",
    ),
  log: block({
    level: choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
      .default("info")
      .describe("The least severe messages that are logged."),
  })
    .prefault({})
    .describe("Logging."),
  accessLog: block({
    sessions: choice(["off", "sampled", "all"])
      .default("off")
      .describe("Sessions and connections whose start and end are logged."),
    sample: fraction.default(0.01).describe("The share of them that sampled logs, from 0 to 1."),
    drops: z
      .boolean()
      .default(false)
      .describe("Log dropped packets, at most 100 a second on each worker."),
  })
    .prefault({})
    .describe("Log lines of sessions and drops, of level info. No payload is ever logged."),
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
        "A file with the token that clients must show. Needed where listen is an address and port, which anyone who reaches it could use. Read again when it changes. Relative to the config file.",
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
