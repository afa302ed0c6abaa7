import { dropReasons } from "../common/drop-reason.ts";
import type { EngineKind } from "../engine/engine.ts";
import { type Counters, receiveErrors, runBounds } from "../filter/counters.ts";
import { filterRuns, shadowPairs } from "../filter/shadow-pairs.ts";
import { type Direction, directions, verdictKinds } from "../filter/verdict.ts";
import type { ProgramType } from "../object/object-spec.ts";
import { type MetricFamily, type MetricType, renderLabels, writeHistogram } from "./exposition.ts";
import type { MapMetric } from "./map-binding.ts";
import type { MapSource } from "./map-source.ts";

/** What a loaded config has to be measured. Replaced as a whole on reload. */
export interface MetricSources {
  /** Names, by the index that counters use. */
  readonly listeners: readonly string[];
  /** The listeners' protocols, and what carries datagrams of those that have any. Absent: not told. */
  readonly listenerKinds?: readonly {
    readonly protocol: string;
    readonly io: string | undefined;
  }[];
  /** Addresses of all upstreams, by the index that counters use. */
  readonly addresses: readonly { readonly upstream: string; readonly address: string }[];
  /** Names of upstreams that have no address yet, and their ports. Absent: none. */
  readonly missing?: readonly { readonly upstream: string; readonly address: string }[];
  /** Upstreams with host names. Absent: none. */
  readonly named?: readonly string[];
  /** Peers and networks of all tunnels, by the index that counters use. Absent: no tunnels. */
  readonly lanes?: readonly {
    readonly listener: string;
    readonly peer: string;
    readonly vni: string;
  }[];
  /** Datagrams that the kernel dropped because nobody read in time, besides those that workers count. */
  readonly kernelDrops: (listener: number) => number;
  /** By the index that counters use. */
  readonly filters: readonly FilterInfo[];
  /** Each worker's, read where the worker writes them. */
  readonly counters: readonly Counters[];
  readonly maps: readonly {
    readonly filter: string;
    readonly map: string;
    readonly source: MapSource;
  }[];
  readonly mapMetrics: readonly MapMetric[];
  /** Maps that filters write events into. Absent: there are none. */
  readonly events?: readonly EventCounts[];
}

/** What has become of the events of one map. */
export interface EventCounts {
  readonly filter: string;
  readonly map: string;
  /** Read. */
  readonly total: () => number;
  /** Found no room. */
  readonly lost: () => number;
}

export interface FilterInfo {
  /** As chains name it: `filter`, or `filter:program`. */
  readonly name: string;
  readonly engine: EngineKind;
  readonly type: ProgramType;
  /** The program's tag, as the kernel forms it: 16 hex digits. */
  readonly tag: string;
  /** The config has it as a shadow. Absent: it is live. */
  readonly isCandidate?: boolean;
}

/** One value under labels that are rendered once. */
interface Cell {
  readonly labels: string;
  read(): number;
}

/** What the data workers count: packets, drops, filters' verdicts, sessions. */
export function trafficFamilies(sources: MetricSources): readonly MetricFamily[] {
  const { listeners, filters, counters } = sources;
  const sum = (read: (worker: Counters) => number): number => {
    let total = 0;
    for (const worker of counters) total += read(worker);
    return total;
  };
  const byListener = listeners.map((name, listener) => ({ name, listener }));
  const byVerdict = byListener.flatMap(({ name, listener }) =>
    directions.flatMap((direction) =>
      verdictKinds.map((verdict) => ({
        labels: renderLabels(["listener", "direction", "verdict"], [name, direction, verdict]),
        packets: () => sum((worker) => worker.readPackets(listener, direction, verdict)),
        bytes: () => sum((worker) => worker.readBytes(listener, direction, verdict)),
      })),
    ),
  );
  const drops = byListener.flatMap(({ name, listener }) =>
    directions.flatMap((direction) =>
      dropReasons.map((reason) => ({
        labels: renderLabels(["listener", "direction", "reason"], [name, direction, reason]),
        read: () => sum((worker) => worker.readDrops(listener, direction, reason)),
      })),
    ),
  );
  const verdicts = filters.map((filter, index) =>
    verdictKinds.map((verdict) => ({
      labels: renderLabels(["filter", "verdict"], [filter.name, verdict]),
      read: () => sum((worker) => worker.readFilterVerdicts(index, verdict)),
    })),
  );
  const labelled = (name: string): string => renderLabels(["listener"], [name]);
  return [
    family(
      "weir_packets_total",
      "Packets judged, by verdict",
      "counter",
      byVerdict.map(({ labels, packets }) => ({ labels, read: packets })),
    ),
    family(
      "weir_bytes_total",
      "Bytes of the frames judged, by verdict",
      "counter",
      byVerdict.map(({ labels, bytes }) => ({ labels, read: bytes })),
    ),
    runTimeFamily(sources),
    {
      name: "weir_drops_total",
      help: "Packets that went no further, by reason; a reason is listed once it has occurred",
      type: "counter",
      collect(out) {
        for (const { labels, read } of drops) {
          const value = read();
          // Most reasons never occur, and there is a series of each for every listener and direction.
          if (value !== 0) out.sample(labels, value);
        }
      },
    },
    family(
      "weir_filter_runs_total",
      "Runs of a filter",
      "counter",
      filters.map(({ name }, index) => ({
        labels: renderLabels(["filter"], [name]),
        read: () => filterRuns(counters, index),
      })),
    ),
    family("weir_filter_verdicts_total", "Verdicts of a filter", "counter", verdicts.flat()),
    shadowFamily(sources),
    family(
      "weir_filter_info",
      "Filters loaded: their engine, program type and tag; always 1",
      "gauge",
      filters.map(({ name, engine, type, tag }) => ({
        labels: renderLabels(["filter", "engine", "type", "tag"], [name, engine, type, tag]),
        read: () => 1,
      })),
    ),
    family(
      "weir_listener_info",
      "Listeners: their protocol, and what carries their datagrams; always 1",
      "gauge",
      (sources.listenerKinds ?? []).map(({ protocol, io }, listener) => ({
        labels:
          io === undefined
            ? renderLabels(["listener", "protocol"], [listeners[listener]!, protocol])
            : renderLabels(["listener", "protocol", "io"], [listeners[listener]!, protocol, io]),
        read: () => 1,
      })),
    ),
    family(
      "weir_sessions",
      "Sessions open now",
      "gauge",
      byListener.map(({ name, listener }) => ({
        labels: labelled(name),
        read: () => sum((worker) => worker.readCell(listener, "sessions")),
      })),
    ),
    family(
      "weir_sessions_total",
      "Sessions opened",
      "counter",
      byListener.map(({ name, listener }) => ({
        labels: labelled(name),
        read: () => sum((worker) => worker.readCell(listener, "sessions_total")),
      })),
    ),
    family(
      "weir_sessions_evicted_total",
      "Sessions ended to make room for others at the listener's maxSessions",
      "counter",
      byListener.map(({ name, listener }) => ({
        labels: labelled(name),
        read: () => sum((worker) => worker.readCell(listener, "sessions_evicted_total")),
      })),
    ),
    family(
      "weir_receive_errors_total",
      "Packets that could not be received, by reason",
      "counter",
      byListener.flatMap(({ name, listener }) =>
        receiveErrors.map((reason) => ({
          labels: renderLabels(["listener", "reason"], [name, reason]),
          read: () =>
            (reason === "kernel_dropped" ? sources.kernelDrops(listener) : 0) +
            sum((worker) => worker.readReceiveErrors(listener, reason)),
        })),
      ),
    ),
    upstreamFamily(sources),
    ...tunnelFamilies(sources),
  ];
}

/** What each peer of a tunnel sent and was sent, by network. */
function tunnelFamilies({ lanes = [], counters }: MetricSources): readonly MetricFamily[] {
  const names = ["listener", "peer", "vni", "direction"];
  const cells = (
    read: (worker: Counters, lane: number, direction: Direction) => number,
  ): readonly Cell[] =>
    lanes.flatMap(({ listener, peer, vni }, lane) =>
      directions.map((direction) => ({
        labels: renderLabels(names, [listener, peer, vni, direction]),
        read: () => counters.reduce((sum, worker) => sum + read(worker, lane, direction), 0),
      })),
    );
  return [
    family(
      "weir_tunnel_frames_total",
      "Frames that came from a tunnel's peer (ingress) or were sent to it (egress), by network",
      "counter",
      cells((worker, lane, direction) => worker.readLaneFrames(lane, direction)),
    ),
    family(
      "weir_tunnel_bytes_total",
      "Bytes of those frames, without tunnel headers",
      "counter",
      cells((worker, lane, direction) => worker.readLaneBytes(lane, direction)),
    ),
  ];
}

/** What shadows say beside their chains. Of a shadow's 25 pairs most never occur. */
function shadowFamily({ filters, counters }: MetricSources): MetricFamily {
  const shadows = filters.flatMap(({ name, isCandidate }, index) =>
    isCandidate === true ? [{ name, index }] : [],
  );
  return {
    name: "weir_shadow_verdicts_total",
    help: "Packets a shadow was asked about, by its chain's verdict and its own; a pair is listed once it has occurred",
    type: "counter",
    collect(out) {
      for (const { name, index } of shadows)
        for (const { live, shadow, packets } of shadowPairs(counters, index))
          out.sample(renderLabels(["filter", "live", "shadow"], [name, live, shadow]), packets);
    },
  };
}

/** How long filters run, from the runs that workers timed. */
function runTimeFamily({ filters, counters }: MetricSources): MetricFamily {
  const labels = filters.map(({ name }) => renderLabels(["filter"], [name]));
  return {
    name: "weir_filter_run_seconds",
    help: "Time a run of a filter took, of a random sample of about one run in 128",
    type: "histogram",
    collect(out) {
      for (const [filter, text] of labels.entries()) {
        const counts = new Array<number>(runBounds.length).fill(0);
        let [count, seconds] = [0, 0];
        for (const worker of counters) {
          let below = 0;
          for (const [bucket, runs] of worker.readFilterRuns(filter).entries()) {
            below += runs;
            if (bucket < counts.length) counts[bucket]! += below;
          }
          count += below;
          seconds += worker.readFilterRunSum(filter);
        }
        writeHistogram(out, text, runBounds, counts, seconds, count);
      }
    },
  };
}

/** Whether each upstream answers: as health checks say, else as the worker that tried it last found. */
function upstreamFamily({ addresses, missing = [], counters }: MetricSources): MetricFamily {
  const nothing = missing.map(({ upstream, address }) => ({
    labels: renderLabels(["upstream", "address"], [upstream, address]),
    read: () => 0,
  }));
  return family(
    "weir_upstream_up",
    "1 if an upstream's address is up by its health check, or without one took the last connection or answered; 0 if not; 1 before it is tried; a name without an address is an address that is not",
    "gauge",
    addresses
      .map(({ upstream, address }, index) => ({
        labels: renderLabels(["upstream", "address"], [upstream, address]),
        read: () => {
          const checked = counters[0]?.readChecked(index);
          if (checked === "up" || checked === "down") return checked === "up" ? 1 : 0;
          let last = 0;
          for (const worker of counters) {
            const heard = worker.readUpstream(index);
            if (Math.abs(heard) > Math.abs(last)) last = heard;
          }
          return last < 0 ? 0 : 1;
        },
      }))
      .concat(nothing),
  );
}

/** How full each map is, and what metrics of maps left out. */
export function mapFamilies(sources: MetricSources): readonly MetricFamily[] {
  const { maps, mapMetrics, events = [] } = sources;
  const cells = maps.map(({ filter, map, source }) => ({
    labels: renderLabels(["filter", "map"], [filter, map]),
    source,
  }));
  return [
    family(
      "weir_map_info",
      "1 for each map of a filter, with its type",
      "gauge",
      maps.map(({ filter, map, source }) => ({
        labels: renderLabels(["filter", "map", "type"], [filter, map, source.handle.type]),
        read: () => 1,
      })),
    ),
    family(
      "weir_map_entries",
      "Entries in a filter's map",
      "gauge",
      cells.map(({ labels, source }) => ({ labels, read: () => source.count })),
    ),
    family(
      "weir_map_capacity",
      "Entries a filter's map can hold",
      "gauge",
      cells.map(({ labels, source }) => ({ labels, read: () => source.handle.maxEntries })),
    ),
    family(
      "weir_events_total",
      "Events that filters wrote into a perf_event_array or ringbuf, and that were read",
      "counter",
      events.map(({ filter, map, total }) => ({
        labels: renderLabels(["filter", "map"], [filter, map]),
        read: total,
      })),
    ),
    family(
      "weir_events_lost_total",
      "Events of filters that found no room in a perf_event_array or ringbuf",
      "counter",
      events.map(({ filter, map, lost }) => ({
        labels: renderLabels(["filter", "map"], [filter, map]),
        read: lost,
      })),
    ),
    family(
      "weir_metric_series_dropped_total",
      "Map entries left out of scrapes because their metric had its most series",
      "counter",
      mapMetrics.map((metric) => ({
        labels: renderLabels(["metric"], [metric.family.name]),
        read: () => metric.dropped,
      })),
    ),
  ];
}

/** A family whose series are known beforehand. */
export function family(
  name: string,
  help: string,
  type: MetricType,
  cells: readonly Cell[],
): MetricFamily {
  return {
    name,
    help,
    type,
    collect(out) {
      for (const { labels, read } of cells) out.sample(labels, read());
    },
  };
}
