import type { PreparedProxy } from "../config/prepare-plan.ts";
import { programTag } from "../engine/program-tag.ts";
import { Counters } from "../filter/counters.ts";
import { mapMetrics } from "../metrics/map-metric.ts";
import type { MetricSources } from "../metrics/own-metrics.ts";
import type { EventPump, EventSource } from "../proxy/event-pump.ts";
import { ioOf } from "../proxy/io-changes.ts";
import { laneNames } from "../proxy/tunnel/lanes.ts";
import { hostPort } from "./host-port.ts";

/** What the metrics of a prepared proxy are read from: its counters and maps, where they lie. */
export function metricSources(
  { plan, filters, unresolved }: PreparedProxy,
  kernelDrops: (listener: number) => number,
  events?: { readonly pump: EventPump; readonly sources: readonly EventSource[] },
): MetricSources {
  return {
    listeners: plan.listeners.map((listener) => listener.name),
    listenerKinds: plan.listeners.map((listener) => ({
      protocol: listener.protocol,
      io: ioOf(listener),
    })),
    addresses: plan.upstreams.flatMap(({ name, addresses }) =>
      addresses.map(({ host, port }) => ({ upstream: name, address: hostPort(host, port) })),
    ),
    missing: unresolved.flatMap(({ upstream, host, port, keeps }) =>
      keeps ? [] : [{ upstream, address: hostPort(host, port) }],
    ),
    named: plan.upstreams.flatMap(({ name, addresses }) => {
      const isNamed =
        addresses.some(({ names }) => names !== undefined) ||
        unresolved.some(({ upstream }) => upstream === name);
      return isNamed ? [name] : [];
    }),
    lanes: plan.listeners.flatMap(({ name, tunnel }) =>
      tunnel === undefined
        ? []
        : laneNames(tunnel).map(({ peer, vni }) => ({ listener: name, peer, vni })),
    ),
    kernelDrops,
    filters: plan.filters.map(({ name, engine, program, shadow }) => ({
      name,
      engine,
      type: program.type,
      tag: programTag(program.instructions),
      isCandidate: shadow === true,
    })),
    counters: plan.workers.map((worker) => new Counters(plan.memory, worker.counters)),
    maps: filters.flatMap((filter) =>
      filter.maps
        .filter((map) => map.dataSection === undefined)
        .map((map) => ({ filter: filter.name, map: map.name, source: map.source })),
    ),
    events: (events?.sources ?? []).map((source) => ({
      filter: source.filter,
      map: source.reader.handle.name,
      total: () => events!.pump.total(source),
      lost: () => events!.pump.lost(source),
    })),
    mapMetrics: filters.flatMap(({ metrics, maps, where }) => {
      if (metrics === undefined) return [];
      const bound = mapMetrics(metrics, maps, () => where);
      if (!bound.ok) throw new Error(`${where}: metrics were checked when the config was loaded`);
      return bound.value;
    }),
  };
}
