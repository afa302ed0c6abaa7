import { ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Counters } from "../filter/counters.ts";
import { AddressStates } from "./address-states.ts";
import { type Destination, Destinations, upstreamsOf } from "./destinations.ts";
import type { ListenerSettings } from "./listener.ts";
import { type LoadedChains, loadChains, type WorkerParts } from "./load-chains.ts";
import type { CompiledPlan } from "./plan.ts";
import { SessionLimit } from "./session-limit.ts";
import { SourceTable } from "./source-table.ts";
import { PeerPorts } from "./tunnel/peer-ports.ts";

/**
 * A plan made ready on one worker: its programs in engines of their own, its counters, and what each
 * of its listeners is to do. A reload makes the next one beside it; nothing of it is shared but maps.
 */
export class Generation {
  readonly plan: CompiledPlan;
  readonly counters: Counters;
  /** By the plan's numbers. */
  readonly settings: readonly ListenerSettings[];
  /** Upstream addresses by name and key → the plan's number. */
  readonly #addresses = new Map<string, number>();
  readonly #states: AddressStates;

  private constructor(
    plan: CompiledPlan,
    loaded: LoadedChains,
    { worker, nowMs }: WorkerParts,
    onCrowded: (listener: string) => void,
  ) {
    const { counters, network, chain } = loaded;
    this.plan = plan;
    this.counters = counters;
    this.#states = new AddressStates(plan.upstreams, counters, nowMs);
    const upstreams = upstreamsOf(plan.upstreams, this.#states, worker);
    const peerPorts = new PeerPorts(plan.ports);
    this.settings = plan.listeners.map((listener, index) => ({
      plan: listener,
      index,
      ingress: chain(listener.ingress),
      egress: chain(listener.egress),
      destinations: new Destinations(plan, listener, upstreams),
      peerPorts,
      counters,
      network,
      sessionLimit: SessionLimit.of(plan, index, worker, onCrowded),
      sources: SourceTable.of(plan, listener, worker),
    }));
    const addresses = upstreams.flatMap((upstream) => upstream.addresses);
    for (const [index, address] of addresses.entries())
      this.#addresses.set(addressKey(address), index);
  }

  /**
   * Makes a plan ready for a worker, its programs compiled and warm. Packets of the generation in
   * force go on meanwhile. `onCrowded`: the workers have more sessions at a listener than they may.
   */
  static async create(
    plan: CompiledPlan,
    parts: WorkerParts,
    onCrowded: (listener: string) => void,
  ): Promise<Result<Generation, UserError>> {
    const chains = await loadChains(plan, parts);
    if (!chains.ok) return chains;
    await chains.value.warmUp();
    return ok(new Generation(plan, chains.value, parts, onCrowded));
  }

  /** Counts that a destination answered, or could not be reached: it may be another plan's. */
  heard(destination: Destination, up: boolean): void {
    const index = this.#addresses.get(addressKey(destination));
    if (index !== undefined) this.#states.heard(index, up);
  }
}

function addressKey({ upstream, key }: Destination): string {
  return `${upstream} ${key}`;
}
