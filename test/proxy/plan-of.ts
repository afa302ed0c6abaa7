import { type EngineKind, stackBytes } from "../../src/engine/engine.ts";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import { assemble } from "../../src/isa/assembler.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import { batchSlots } from "../../src/proxy/batch-sockets.ts";
import { startEcho } from "../../src/proxy/echo.ts";
import type { ListenerPlan, PortPlan, ProxyPlan, UpstreamPlan } from "../../src/proxy/plan.ts";
import { type RunningProxy, startProxy } from "../../src/proxy/supervisor.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { compileRuntime } from "../../src/runtime/instantiate.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { placesFrom } from "../support/counter-places.ts";
import { onCleanUp, udpIo, value } from "./rig.ts";

interface PlanOptions {
  readonly upstreams: readonly UpstreamPlan[];
  readonly listeners: readonly Partial<ListenerPlan>[];
  readonly filters?: readonly {
    readonly assembly: string;
    readonly type?: ProgramType;
    readonly maps?: readonly MapHandle[];
    readonly engine?: EngineKind;
  }[];
  readonly ports?: readonly PortPlan[];
  readonly workers?: number;
}

const slotCount = 4 + batchSlots;

/** Places for more than any plan of a test has: equal numbers of several plans share counters. */
const shape = { listeners: 4, filters: 4, addresses: 4, lanes: 8 };

/** One proxy's memory, for as many plans as are applied to it. */
export class PlanBench {
  readonly arena = value(Arena.create(16 * 1024 * 1024));
  readonly counters: readonly Counters[];
  readonly #workers: ProxyPlan["workers"];

  constructor(workers = 1) {
    const { arena } = this;
    this.#workers = Array.from({ length: workers }, () => ({
      stack: value(arena.allocate(stackBytes, "stack")),
      slots: value(arena.allocate(SLOT_BYTES * slotCount, "slots")),
      slotCount,
      counters: placesFrom(value(arena.allocate(counterBytes(shape), "counters")), shape),
    }));
    this.counters = this.#workers.map((worker) => new Counters(arena.memory, worker.counters));
  }

  async plan(options: PlanOptions): Promise<ProxyPlan> {
    const filters = (options.filters ?? []).map(({ assembly, type, maps, engine }, i) => ({
      name: `filter${i}`,
      engine: engine ?? ("interpreter" as const),
      program: {
        name: `program${i}`,
        type: type ?? ("xdp" as const),
        instructions: value(assemble(assembly)),
        maps: maps ?? [],
      },
    }));
    return {
      memory: this.arena.memory,
      runtime: await compileRuntime(),
      workers: this.#workers,
      filters,
      listeners: options.listeners.map((listener, i) => ({
        name: `listener${i}`,
        protocol: "udp",
        listen: { host: "127.0.0.1", port: 0 },
        ifindex: 1000 + i,
        upstream: 0,
        ingress: filters.map((_, index) => index),
        egress: [],
        idleTimeoutMs: 60_000,
        maxSessions: 100,
        localAddress: "127.0.0.1",
        onDrop: "reset",
        onSegmentDrop: "reset",
        io: listener.protocol === "tcp" ? "dgram" : udpIo,
        ...listener,
      })),
      upstreams: options.upstreams,
      ports: options.ports ?? [],
    };
  }
}

export async function planOf(
  options: PlanOptions,
): Promise<{ plan: ProxyPlan; counters: readonly Counters[]; arena: Arena }> {
  const bench = new PlanBench(options.workers);
  const { counters, arena } = bench;
  return { plan: await bench.plan(options), counters, arena };
}

export async function echoUpstream(): Promise<UpstreamPlan> {
  const echo = await startEcho();
  onCleanUp(() => echo.stop());
  return { name: "echo", addresses: [echo.address] };
}

export const silent = { onFault: () => {}, onWorkerDied: () => {} };

/** A proxy that the end of the test stops. */
export function stopping(proxy: RunningProxy): RunningProxy {
  onCleanUp(() => proxy.stop(0));
  return proxy;
}

export async function running(plan: ProxyPlan): Promise<RunningProxy> {
  return stopping(value(await startProxy(plan, silent)));
}
