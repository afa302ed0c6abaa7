import { afterEach, expect, test, vi } from "vitest";
import { compilePlan } from "../../src/proxy/compile-plan.ts";
import { DataWorker } from "../../src/proxy/data-worker.ts";
import type { PeerPlan, TunnelPlan } from "../../src/proxy/plan.ts";
import { TcpListener } from "../../src/proxy/tcp-listener.ts";
import { TunnelListener } from "../../src/proxy/tunnel/tunnel-listener.ts";
import { UdpListener } from "../../src/proxy/udp-listener.ts";
import { freePort } from "../support/processes.ts";
import { echoUpstream, PlanBench, silent } from "./plan-of.ts";
import { cleanUp, onCleanUp, value } from "./rig.ts";

afterEach(() => {
  vi.restoreAllMocks();
  return cleanUp();
});

/** Counts the turns of the event loop. */
function turnCounter(): { readonly now: number } {
  const turns = { now: 0 };
  let next: NodeJS.Immediate;
  const turn = (): void => {
    turns.now++;
    next = setImmediate(turn);
  };
  next = setImmediate(turn);
  onCleanUp(() => clearImmediate(next));
  return turns;
}

// Where workers share a port, one that is started again gets its part of what comes as soon as it is bound.
test("a worker that starts opens its listeners in the turn in which it binds them: nothing comes between", async () => {
  const peers: PeerPlan[] = ["a", "b"].map((name) => ({
    name,
    address: { host: "127.0.0.1", port: 9 },
  }));
  const healthCheck = { host: "127.0.0.1", port: await freePort() };
  const tunnel: TunnelPlan = { mode: "bridge", vnis: [], peers, mtu: 1500, firstLane: 0 };
  const plan = await new PlanBench().plan({
    upstreams: [await echoUpstream()],
    listeners: [
      {},
      { protocol: "tcp" },
      { protocol: "vxlan", upstream: undefined, tunnel },
      { protocol: "geneve", upstream: undefined, tunnel: { ...tunnel, healthCheck, firstLane: 2 } },
    ],
    filters: [{ assembly: "r0 = 2\nexit" }],
  });
  const turns = turnCounter();
  const seen: { what: string; turn: number }[] = [];
  for (const { prototype } of [UdpListener, TcpListener, TunnelListener]) {
    for (const what of ["listen", "open"] as const) {
      const real = prototype[what] as (this: unknown) => unknown;
      vi.spyOn(prototype as { listen(): unknown; open(): unknown }, what).mockImplementation(
        function (this: unknown) {
          seen.push({ what, turn: turns.now });
          return real.call(this);
        },
      );
    }
  }
  const compiled = value(await compilePlan(plan, 0));
  const events = { ...silent, onAccess: () => {}, onCrowded: () => {}, onTrace: () => {} };
  const worker = new DataWorker(compiled, 0, events);
  onCleanUp(() => worker.stop(0));
  value(await worker.prepare(compiled));
  await worker.commit(0);
  expect(seen.map(({ what }) => what).toSorted()).toEqual([
    ...Array(4).fill("listen"),
    ...Array(4).fill("open"),
  ]);
  expect(seen[0]!.turn).toBeGreaterThan(0);
  expect(new Set(seen.map(({ turn }) => turn)).size).toBe(1);
});
