import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { compileExpression } from "../cbpf/compile-expression.ts";
import type { ClassicProgram } from "../cbpf/instruction.ts";
import type { LinkType } from "../cbpf/link-type.ts";
import { maxChainedHeaders } from "../cbpf/translate.ts";
import { toHex } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import {
  type CapturedFrame,
  type CapturedTunnel,
  CaptureReader,
  type CaptureRecord,
  type RedirectTarget,
} from "../filter/capture-ring.ts";
import type { CaptureOrder } from "../filter/capture-tap.ts";
import { directions, verdictKinds } from "../filter/verdict.ts";
import { readTunnelHeader } from "../packet/tunnel-header.ts";
import { formatEndpoint } from "../proxy/endpoint.ts";
import { leastSnapLength, mostPerSecond, mostSnapLength } from "./capture-limits.ts";
import { CaptureRings } from "./capture-rings.ts";
import type { Control } from "./control.ts";
import { filterOf, filterState } from "./filter-routes.ts";
import type { Inventory } from "./inventory.ts";
import { type CaptureRow, captureRow } from "./replies.ts";
import { type AnyRoute, streaming } from "./route.ts";

type TunnelRow = NonNullable<Exclude<CaptureRow, { lost: number }>["tunnel"]>;

/** Captures at a time: each costs every packet its questions, and memory for its rings. */
const maxCaptures = 4;
/** How often rings are looked into. */
const pollMs = 20;
/** Records handed on at a time. */
const recordsAtOnce = 256;

/** In place of a filter's name: no filter can have it. */
const anyShadow = "*";

const defaultPerSecond = 5000;
const defaultSnapLength = 65_536;

const wholeText = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .refine((text) => Number(text) >= least && Number(text) <= most, {
      error: `expected a whole number from ${least} to ${most}`,
    });

let captures = 0;
let lastCapture = 0;
/** At most those of `maxCaptures`: a capture is over when nobody uses its rings. */
const rings = new CaptureRings();

export const captureRoutes: readonly AnyRoute[] = [
  streaming({
    method: "GET",
    path: "/v1/capture",
    id: "streamCapture",
    summary: "Packets at the entry and exit of chains, with their verdicts, as they come",
    parameters: z.strictObject({}),
    query: z.strictObject({
      listener: z.string().optional(),
      filter: z.string().optional().describe("Only packets that this filter was asked about."),
      direction: z.enum(directions).optional(),
      verdict: z
        .enum(verdictKinds)
        .optional()
        .describe(
          "As metrics count it: a frame that a tunnel dropped after its filters is a drop.",
        ),
      shadow: z
        .string()
        .optional()
        .describe(
          "Only packets on which a shadow's verdict is another than its chain's: this filter's, or with * any's.",
        ),
      expression: z
        .string()
        .max(65_536)
        .optional()
        .describe("In the language of pcap-filter(7), about the frame as it came."),
      snap_length: wholeText(leastSnapLength, mostSnapLength)
        .optional()
        .describe("Bytes of a frame that are kept."),
      per_second: wholeText(1, mostPerSecond)
        .optional()
        .describe(
          "Packets a second and worker that are recorded at most; others are counted lost.",
        ),
    }),
    row: captureRow,
    handle: async ({ control, query, signal }) => {
      const inventory = control.inventory();
      const wanted = orderOf(inventory, query);
      if (!wanted.ok) return wanted;
      if (captures >= maxCaptures)
        return err(
          new UserError(
            "CAPTURE_LIMIT",
            "capture",
            `${maxCaptures} captures are under way`,
            "end one of them",
          ),
        );
      captures++;
      const { workers } = inventory.parts.plan;
      return ok(capture(control, { ...wanted.value, rings: rings.take(workers.length) }, signal));
    },
  }),
];

type Query = Readonly<Partial<Record<"listener" | "filter" | "shadow" | "expression", string>>> &
  Pick<Partial<CaptureOrder>, "direction" | "verdict"> & {
    readonly snap_length?: string | undefined;
    readonly per_second?: string | undefined;
  };

function orderOf(
  inventory: Inventory,
  query: { readonly [Key in keyof Query]: Query[Key] | undefined },
): Result<Omit<CaptureOrder, "rings">, UserError> {
  if (query.listener !== undefined) {
    const listener = inventory.listener(query.listener);
    if (!listener.ok) return listener;
  }
  if (query.filter !== undefined) {
    const filters = inventory.chained(query.filter);
    if (!filters.ok) return filters;
  }
  if (query.shadow === anyShadow && !hasShadow(inventory))
    return err(
      new UserError(
        "FILTER_NOT_SHADOW",
        "filters",
        "none is a shadow",
        "give one shadow: true in the config, or capture with filter",
      ),
    );
  if (query.shadow !== undefined && query.shadow !== anyShadow) {
    const shadow = filterOf(inventory, query.shadow);
    if (!shadow.ok) return shadow;
    if (filterState(inventory, shadow.value) !== "shadow")
      return err(
        new UserError(
          "FILTER_NOT_SHADOW",
          `filter ${query.shadow}`,
          "is live: it differs from its chain on no packet",
          "name one that weir list shows as a shadow, or capture with filter",
        ),
      );
  }
  let expression: ClassicProgram | undefined;
  if (query.expression !== undefined) {
    const linkType: LinkType = "EN10MB";
    // Without loops: it runs on the packet path.
    const compiled = compileExpression(query.expression, {
      linkType,
      linuxExtensions: true,
      maxChainedHeaders,
    });
    if (!compiled.ok) return compiled;
    expression = compiled.value;
  }
  return ok({
    id: ++lastCapture,
    snapLength: Number(query.snap_length ?? defaultSnapLength),
    perSecond: Number(query.per_second ?? defaultPerSecond),
    listener: query.listener,
    verdict: query.verdict,
    direction: query.direction,
    filter: query.filter,
    shadow: query.shadow === anyShadow ? "" : query.shadow,
    expression,
  });
}

function hasShadow(inventory: Inventory): boolean {
  return inventory.parts.filters.some((filter) => filterState(inventory, filter) === "shadow");
}

/** Rows until the client goes. An empty batch at once: the capture is on. */
async function* capture(
  control: Control,
  order: CaptureOrder,
  signal: AbortSignal,
): AsyncGenerator<CaptureRow[]> {
  const readers = order.rings.map((ring) => new CaptureReader(ring));
  let lost = 0;
  try {
    // A worker that is down takes part once it is back.
    for (const worker of readers.keys())
      await control.ask(worker, { kind: "start_capture", order });
    yield [{ lost: 0 }];
    while (!signal.aborted) {
      const rows: CaptureRow[] = [];
      for (const [worker, reader] of readers.entries()) {
        for (let i = 0; i < recordsAtOnce; i++) {
          const record = reader.next();
          if (record === undefined) break;
          rows.push(rowOf(worker, record));
        }
      }
      const nowLost = readers.reduce((all, reader) => all + reader.lost, 0);
      if (nowLost > lost) rows.push({ lost: nowLost - lost });
      lost = nowLost;
      if (rows.length > 0) yield rows;
      // The client has gone: the loop's condition tells.
      else await delay(pollMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    const free: SharedArrayBuffer[] = [];
    for (const [worker, ring] of order.rings.entries()) {
      const stopped = await control.ask(worker, { kind: "stop_capture", id: order.id });
      // One that is down may be on its way back, and write until it is told.
      if (stopped.ok) free.push(ring);
    }
    rings.giveBack(free);
    captures--;
  }
}

function rowOf(worker: number, record: CaptureRecord): CaptureRow {
  const { reason, filter, exit, tunnel, shadow } = record;
  return {
    seconds: record.seconds,
    nanoseconds: record.nanoseconds,
    worker,
    listener: record.listener,
    direction: record.direction,
    verdict: record.verdict,
    ...(reason === undefined ? {} : { reason }),
    ...targetOf(record),
    ...(filter === undefined ? {} : { filter }),
    ...(shadow === undefined
      ? {}
      : {
          shadow: {
            filter: shadow.filter,
            verdict: shadow.verdict,
            ...targetOf(shadow),
          },
        }),
    ...(tunnel === undefined ? {} : { tunnel: tunnelRow(tunnel) }),
    entry: frameOf(record.entry),
    ...(exit === undefined ? {} : { exit: frameOf(exit) }),
  };
}

function targetOf({ ifindex, ports }: RedirectTarget): { ifindex?: number; ports?: number[] } {
  if (ports !== undefined) return { ports: [...ports] };
  return ifindex === undefined ? {} : { ifindex };
}

function tunnelRow(tunnel: CapturedTunnel): TunnelRow {
  const { protocol, peer, vni, far, own, header } = tunnel;
  const { flags, etherType, options } = readTunnelHeader(protocol, header);
  return {
    protocol,
    ...(peer === undefined ? {} : { peer }),
    vni,
    outer: formatEndpoint(far.address, far.port),
    own: formatEndpoint(own.address, own.port),
    flags,
    ether_type: etherType,
    ...(protocol === "vxlan"
      ? {}
      : {
          options: options.map(({ optionClass, type, name, data }) => ({
            class: optionClass,
            type,
            ...(name === undefined ? {} : { name }),
            data: toHex(data),
          })),
        }),
    header: toHex(header),
  };
}

function frameOf({ length, data }: CapturedFrame): { length: number; data: string } {
  return { length, data: toHex(data) };
}
