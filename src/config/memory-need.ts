import { stackBytes } from "../engine/engine.ts";
import { type CounterShape, counterBytes } from "../filter/counters.ts";
import { storageBytes } from "../maps/create-map.ts";
import type { MapSpec } from "../object/object-spec.ts";
import { batchSlots } from "../proxy/batch-sockets.ts";
import { allocationBytes, maxArenaBytes, reservedBytes } from "../runtime/arena.ts";
import { SLOT_BYTES } from "../runtime/wasm/layout.ts";
import { workerCount } from "./check-addresses.ts";
import type { FilterConfig } from "./config.ts";
import type { ProblemList } from "./problem-list.ts";
import type { ReadableConfig } from "./readable-parts.ts";
import { formatSize, quote } from "./scalars.ts";
import { isShared, sharedName } from "./shared-maps.ts";
import { isTunnel, networksOf } from "./tunnel.ts";

/**
 * Packets one worker can hold at once: a batch, with `io: mmsg`, and others, each of which is judged
 * before the next is read.
 */
export const slotsPerWorker = batchSlots + 6;

/** Arena bytes that a config takes, and who takes them. */
interface MemoryNeed {
  readonly bytes: number;
  /** Of the workers, whatever the filters. */
  readonly workerBytes: number;
  /** Of each filter's maps. */
  readonly filters: readonly { readonly name: string; readonly bytes: number }[];
}

/** What `preparePlan` will allocate, to the byte. */
export function memoryNeed(
  filters: readonly FilterConfig[],
  { listeners, addresses, lanes = 0 }: Omit<CounterShape, "filters">,
  workers: number,
): MemoryNeed {
  const programs = filters.reduce((sum, filter) => sum + filter.programs.length, 0);
  const shared = new Set<string>();
  const mapBytes = (map: MapSpec, filter: FilterConfig): number => {
    if (isShared(map, filter)) {
      if (shared.has(sharedName(map))) return 0;
      shared.add(sharedName(map));
    }
    return allocationBytes(storageBytes(map, workers));
  };
  const needs = filters.map((filter) => ({
    name: filter.name,
    bytes: filter.object.maps.reduce((sum, map) => sum + mapBytes(map, filter), 0),
  }));
  const workerBytes = workers * oneWorkerBytes({ listeners, filters: programs, addresses, lanes });
  const bytes = needs.reduce((sum, need) => sum + need.bytes, reservedBytes + workerBytes);
  return { bytes, workerBytes, filters: needs };
}

/** Tells before anything is allocated that `memory` is too small, and for what. */
export function checkMemory(
  config: ReadableConfig,
  filters: readonly FilterConfig[],
  memoryBytes: number,
  problems: ProblemList,
): void {
  const workers = workerCount(config.top.workers ?? 1);
  const addresses = [...config.upstreams.values()].reduce(
    (sum, upstream) => sum + (upstream.echo === true ? 1 : (upstream.addresses?.length ?? 0)),
    0,
  );
  const lanes = config.listeners
    .filter(({ protocol }) => isTunnel(protocol))
    .reduce(
      (sum, { peers, vni }) =>
        sum + Math.max(1, Object.keys(peers ?? {}).length) * Math.max(1, networksOf(vni).length),
      0,
    );
  const {
    bytes,
    workerBytes,
    filters: needs,
  } = memoryNeed(filters, { listeners: config.listeners.length, addresses, lanes }, workers);
  if (bytes <= memoryBytes) return;
  const [largest] = needs.toSorted((a, b) => b.bytes - a.bytes);
  const most =
    largest === undefined || largest.bytes < workerBytes
      ? `${formatSize(workerBytes)} of it for ${workers} worker${workers === 1 ? "" : "s"}`
      : `${formatSize(largest.bytes)} of it for the maps of filter ${quote(largest.name)}`;
  problems.value(
    "CONFIG_MEMORY",
    ["memory"],
    `${formatSize(memoryBytes)} is too little: ${formatSize(bytes)} are needed, ${most}`,
    bytes <= maxArenaBytes
      ? `write at least memory: ${formatSize(bytes)}`
      : `no more than 2047MiB are possible: lower max_entries, or use fewer workers`,
  );
}

/** Arena bytes of one worker: stack, packet slots, counters. */
function oneWorkerBytes(shape: CounterShape): number {
  return (
    allocationBytes(stackBytes) +
    allocationBytes(slotsPerWorker * SLOT_BYTES) +
    allocationBytes(counterBytes(shape))
  );
}
