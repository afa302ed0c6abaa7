import type { Counters } from "../filter/counters.ts";
import type { EjectionPlan, UpstreamPlan } from "./plan.ts";

interface OneOf {
  readonly ejection: EjectionPlan | undefined;
  /** Numbers of all addresses of its upstream. */
  readonly siblings: readonly number[];
}

/**
 * Which addresses of a plan's upstreams are out, on one worker: those that health checks of the main
 * thread found down, and those that failed this worker several times in a row. All of it lies in the
 * counters' cells, by address, and so outlives reloads and the worker.
 */
export class AddressStates {
  readonly #counters: Counters;
  readonly #nowMs: () => number;
  /** By number. */
  readonly #addresses: readonly OneOf[];

  constructor(upstreams: readonly UpstreamPlan[], counters: Counters, nowMs: () => number) {
    this.#counters = counters;
    this.#nowMs = nowMs;
    const all: OneOf[] = [];
    for (const { addresses, ejection } of upstreams) {
      const first = all.length;
      const siblings = addresses.map((_, i) => first + i);
      for (const _ of addresses) all.push({ ejection, siblings });
    }
    this.#addresses = all;
  }

  isOut(address: number): boolean {
    return (
      this.#counters.readChecked(address) === "down" ||
      this.#counters.isEjected(address, this.#nowMs())
    );
  }

  /** Whether an address answered or could not be reached: too many failures in a row eject it. */
  heard(address: number, up: boolean): void {
    const counters = this.#counters;
    const nowMs = this.#nowMs();
    counters.upstream(address, up, nowMs);
    if (up) {
      counters.clearFailures(address);
      return;
    }
    const failures = counters.addFailure(address);
    const { ejection, siblings } = this.#addresses[address]!;
    if (ejection === undefined || failures < ejection.failures) return;
    // The last one standing is never left out.
    if (siblings.every((other) => other === address || this.isOut(other))) return;
    counters.clearFailures(address);
    counters.eject(address, nowMs + ejection.timeMs);
  }
}
