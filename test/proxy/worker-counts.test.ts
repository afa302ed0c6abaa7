import { afterEach, expect, test } from "vitest";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { progressOf } from "../../src/proxy/worker-counts.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { echoUpstream, PlanBench, stopping } from "./plan-of.ts";
import { cleanUp, udpSocket, value } from "./rig.ts";

afterEach(cleanUp);

const hasBatches = (await socketCallsProblem()) === undefined;

// A batch's packets are counted at its end, and each may take as long as a run may: a worker that goes
// through one must not look as if it stood still.
test.each(hasBatches ? (["dgram", "mmsg"] as const) : (["dgram"] as const))(
  "a worker's progress tells of the slot that it judges, beside the packets that it has judged: io: %s",
  async (io) => {
    const bench = new PlanBench();
    const made = await bench.plan({
      upstreams: [await echoUpstream()],
      listeners: [{}],
      filters: [{ assembly: "r0 = 2\nexit", engine: "jit" }],
    });
    const plan = { ...made, listeners: made.listeners.map((one) => ({ ...one, io })) };
    const options = { onFault: () => {}, onWorkerDied: () => {} };
    const proxy = stopping(value(await startProxy(plan, options)));
    const client = await udpSocket();
    client.send("x", proxy.listeners[0]!.address);
    await client.text();
    const { slots, slotCount } = plan.workers[0]!;
    const progress = progressOf(plan, 0);
    expect(progress).toBeGreaterThanOrEqual(
      slots + bench.counters[0]!.readPackets(0, "ingress", "pass"),
    );
    expect(progress).toBeLessThan(slots + slotCount * SLOT_BYTES);
  },
);
