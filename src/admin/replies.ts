import { z } from "zod";
import { dropReasons } from "../common/drop-reason.ts";
import { directions, verdictKinds } from "../filter/verdict.ts";
import { tunnelProtocols } from "../packet/tunnel-header.ts";
import { logLevels } from "./control.ts";

/** The shapes of what the API answers with; also what its client expects. */

export const problemReply = z.strictObject({
  error: z.strictObject({
    code: z.string().describe("Stable, for scripts."),
    where: z.string(),
    what: z.string(),
    fix: z.string().optional(),
  }),
});

const count = z.number().min(0);
const direction = z.enum(directions);
const verdict = z.enum(verdictKinds);
const reason = z.enum(dropReasons);
/** How many of each verdict. */
const byVerdict = z.strictObject(
  Object.fromEntries(verdictKinds.map((kind) => [kind, count])) as Record<
    (typeof verdictKinds)[number],
    typeof count
  >,
);
const byReason = z.partialRecord(reason, count);

export const statusReply = z.strictObject({
  version: z.string(),
  pid: z.int(),
  uptime_seconds: z.number(),
  workers: z.int(),
  config: z.string().describe("The config file, as it was given."),
  memory: z.strictObject({ used: z.int(), maximum: z.int() }).describe("Of the arena, in bytes."),
});

export const programReply = z.strictObject({
  id: z.int(),
  type: z.string(),
  name: z.string(),
  tag: z.string(),
  filter: z.string().describe("As chains name it: filter or filter:program."),
  engine: z.string(),
  bytes_xlated: z.int(),
  map_ids: z.array(z.int()),
  run_cnt: count.describe("0 for programs that only tail calls lead to: they are not counted."),
  object: z.string().describe("The file it came from, or the config."),
  section: z.string(),
});

export const xlatedRow = z.strictObject({
  slot: z.int().describe("Index of its first 8 bytes."),
  opcodes: z.string().describe("Its bytes in hex: 8, or 16 for those of two slots."),
  text: z.string(),
  function: z.string().optional().describe("Set where a function begins."),
  line: z
    .strictObject({ file: z.string(), line: z.int(), column: z.int(), text: z.string() })
    .optional()
    .describe("Set where the source line changes."),
});

export const mapReply = z.strictObject({
  id: z.int(),
  type: z.string(),
  name: z.string(),
  filter: z.string(),
  flags: z.int(),
  bytes_key: z.int(),
  bytes_value: z.int(),
  max_entries: z.int(),
  entries: z.int(),
  bytes_memlock: z.int().describe("What it takes of the arena."),
  frozen: z.boolean().describe("Nobody may write to it."),
  key: z.string().optional().describe("The C type of its keys, where known."),
  value: z.string().optional(),
  pinned: z.string().optional().describe("The file that keeps it across restarts, if one does."),
});

const typed = z.unknown().describe("Typed by BTF, or hex: and its bytes.");
export const entryReply = z.strictObject({
  key: typed
    .optional()
    .describe("Typed as values are. Queues, stacks and bloom filters have none."),
  value: typed.optional(),
  values: z.array(typed).optional().describe("Of per-CPU maps: one a worker."),
  inner_map: z
    .string()
    .optional()
    .describe("Of maps of maps: the map that is there, by name, or filter/name of another's."),
});
export const keyReply = z.strictObject({ key: typed });
export const doneReply = z.strictObject({ done: z.literal(true) });

const filterState = z.enum(["live", "shadow", "promoted"]);
const shadowPairs = z
  .array(z.strictObject({ live: verdict, shadow: verdict, packets: count }))
  .describe("As a shadow: how often which of its verdicts met which of a chain's. Those that did.");

export const filterReply = z.strictObject({
  name: z.string(),
  object: z.string(),
  engine: z.string(),
  enabled: z.boolean().describe("False where one of its programs is taken out of its chains."),
  state: filterState.describe(
    "shadow: it has no effect on its chains; promoted: live, though the config says shadow: true.",
  ),
  programs: z.array(
    z.strictObject({
      name: z.string(),
      filter: z.string(),
      id: z.int(),
      type: z.string(),
      enabled: z.boolean(),
      run_cnt: count,
      verdicts: byVerdict,
      shadow: shadowPairs,
    }),
  ),
  map_ids: z.array(z.int()),
});

export const listenerReply = z.strictObject({
  name: z.string(),
  protocol: z.string(),
  address: z.string(),
  io: z
    .enum(["dgram", "mmsg"])
    .optional()
    .describe("What carries its datagrams: of io: auto, what it came to. A TCP listener has none."),
  ifindex: z.int(),
  upstream: z.string().optional().describe("A tunnel has none."),
  tunnel: z
    .strictObject({
      mode: z.string(),
      vnis: z.array(z.int()).describe("None: all networks."),
      peers: z
        .array(z.strictObject({ name: z.string(), address: z.string() }))
        .describe("None: anyone."),
      mtu: z.int(),
    })
    .optional(),
  ingress: z.array(z.string()),
  egress: z.array(z.string()),
  sessions: z.int(),
});

export const sessionReply = z.strictObject({
  worker: z.int(),
  listener: z.string(),
  protocol: z.string(),
  client: z.string(),
  destination: z.string().optional(),
  idle_ms: z.number(),
});

export const countersReply = z.strictObject({
  at_ms: z.number().describe("Of a clock that never goes back."),
  listeners: z.array(
    z.strictObject({
      name: z.string(),
      sessions: z.int(),
      directions: z.array(
        z.strictObject({
          direction,
          packets: byVerdict,
          bytes: byVerdict,
          drops: byReason.describe("Those that have occurred."),
        }),
      ),
    }),
  ),
  filters: z.array(z.strictObject({ name: z.string(), run_cnt: count, verdicts: byVerdict })),
});

export const profileReply = z.strictObject({
  at_ms: z.number(),
  run_cnt: count,
  timed: count.describe("Runs that were timed: a random sample of about one in 128."),
  seconds: z.number().describe("What those took together."),
  buckets: z.array(
    z.strictObject({
      to: z.number().optional().describe("Upper bound in seconds; the last has none."),
      runs: count,
    }),
  ),
});

const names = z.array(z.string()).readonly();

export const reloadReply = z.strictObject({
  listeners: z.strictObject({ kept: names, opened: names, closed: names }),
  maps: z
    .strictObject({ kept: names, grown: names, fresh: names })
    .describe("As filter.map. Fresh ones began with what the config says."),
  promoted: names.describe("Filters live by promotion, though the config says shadow: true."),
  swapped: names.describe("Filters that run another object than the config names."),
  warnings: names.describe("What is done differently than the config says, where that is new."),
  duration_ms: z.number(),
});
export const logLevelReply = z.strictObject({ level: z.enum(logLevels) });
export const configReply = z.record(z.string(), z.unknown());
export const objectReply = z.record(z.string(), z.unknown());

const frame = z.strictObject({
  length: z.int(),
  data: z.string().describe("Its first bytes, in hex."),
});
const ports = z.array(z.int()).optional();
/** A captured packet, or how many were not captured since the last such line. */
export const captureRow = z.union([
  z.strictObject({
    seconds: z.int(),
    nanoseconds: z.int(),
    worker: z.int(),
    listener: z.string(),
    direction,
    verdict,
    reason: reason
      .optional()
      .describe("Why it was dropped. Where the verdict is no drop: after it, on its way out."),
    ifindex: z.int().optional().describe("Where a redirect leads."),
    ports: ports.describe("Where a broadcast leads, in place of ifindex."),
    filter: z
      .string()
      .optional()
      .describe("The filter that decided: the last one asked. Absent: none was."),
    shadow: z
      .strictObject({ filter: z.string(), verdict, ifindex: z.int().optional(), ports })
      .optional()
      .describe("A shadow that would have had it otherwise."),
    tunnel: z
      .strictObject({
        protocol: z.enum(tunnelProtocols),
        peer: z.string().optional().describe("Absent: a stranger."),
        vni: z.int(),
        outer: z
          .string()
          .describe("Outer address and port: where it came from, or where an answer goes."),
        own: z
          .string()
          .describe(
            "Weir's own address and port. Port 0: one of those that a bridge sends from. Address 0.0.0.0 or [::]: the listener's, to whichever it came.",
          ),
        flags: z.int().describe("VXLAN's first byte, GENEVE's second."),
        ether_type: z.int().describe("Of what the header says that follows; 25944: Ethernet."),
        options: z
          .array(
            z.strictObject({
              class: z.int(),
              type: z.int().describe("From 128 on: critical."),
              name: z.string().optional().describe("Of AWS's options."),
              data: z.string().describe("In hex."),
            }),
          )
          .optional()
          .describe("GENEVE's."),
        header: z.string().describe("The whole header as it came, in hex."),
      })
      .optional()
      .describe("What was around the frame."),
    entry: frame.describe("As it came to the chain."),
    exit: frame.optional().describe("As the filters left it, where they changed it."),
  }),
  z.strictObject({ lost: count.describe("Packets not recorded since the last such line.") }),
]);
/** An event, or how many were lost since the last such line. */
export const eventRow = z.union([
  z.strictObject({
    seconds: z.int().describe("When it was read: some 50 ms after it was written, at most."),
    nanoseconds: z.int(),
    filter: z.string(),
    map: z.string(),
    cpu: z
      .int()
      .optional()
      .describe("The worker that wrote it. A ringbuf, which all share, does not tell."),
    length: z.int().describe("Bytes of the event."),
    value: z.unknown().describe("By its struct, where that is known; else hex: and all bytes."),
    rest: z.string().optional().describe("hex: and the bytes that follow the struct."),
  }),
  z.strictObject({
    lost: count,
    reason: z.enum(["ring_full", "slow_reader"]),
    filter: z.string().optional().describe("Whose ring was full."),
    map: z.string().optional(),
  }),
]);
export type EventRow = z.output<typeof eventRow>;
export type CaptureRow = z.output<typeof captureRow>;
