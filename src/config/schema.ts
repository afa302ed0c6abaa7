import { z } from "zod";
import { filterSchema } from "./filter-schema.ts";
import { listenerSchema, maxIfindex } from "./listener-schema.ts";
import { type HostPort, parseListenAddress } from "./scalars.ts";
import {
  block,
  blockOf,
  choice,
  duration,
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
      "Where it answers: address:port or name:port. Names are looked up once, at the start.",
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

const listenOrOff = textOf<HostPort | "off">(
  "an address and port, or off",
  "127.0.0.1:9464",
  (text) => (text === "off" ? { ok: true, value: "off" as const } : parseListenAddress(text)),
);

/** The whole config: keys, types, defaults and what each means. */
export const configSchema = block(
  {
    version: z.literal(1).describe("Version of this format."),
    workers: workers
      .default(1)
      .describe("Threads that carry packets; auto: one for each available CPU."),
    memory: memorySize
      .prefault("512MiB")
      .describe("Most memory for packets and all maps together, from 1MiB to 2047MiB."),
    drainTimeout: duration
      .prefault("30s")
      .describe("After SIGTERM, open TCP connections have this long to end."),
    log: block({
      level: choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
        .default("info")
        .describe("The least severe messages that are logged."),
    })
      .prefault({})
      .describe("Logging."),
    metrics: block({
      listen: listenOrOff
        .prefault("127.0.0.1:9464")
        .describe("Address and port of /metrics, /live and /ready, or off."),
    })
      .prefault({})
      .describe("The Prometheus endpoint."),
    upstreams: blockOf(name, upstreamSchema).prefault({}).describe("Where packets go, by name."),
    ports: blockOf(ifindex, reference)
      .default({})
      .describe(
        "What a redirect's number (ifindex) stands for: an upstream's name, or listener.peer for a peer of a tunnel in mode bridge. Any other number drops the packet.",
      ),
    filters: blockOf(name, filterSchema).default({}).describe("Filters, by name."),
    listeners: listOf(listenerSchema)
      .min(1)
      .max(256)
      .describe("Where packets come in, and which filters they pass."),
  },
  ["admin", "stateDir", "drain", "routes"],
);

/** With defaults, durations in milliseconds, sizes in bytes, addresses in parts. */
export type ConfigValues = z.output<typeof configSchema>;
