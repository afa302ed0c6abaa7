/** What holds of UDP listeners with `io: dgram` holds with `io: mmsg`: the same tests, in batches. */
import { describe, expect, onTestFinished, test } from "vitest";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";

process.env.WEIR_TEST_IO = "mmsg";
const problem = await socketCallsProblem();

describe.skipIf(problem !== undefined)(`in batches${problem ? ` (${problem})` : ""}`, async () => {
  for (const file of [
    "udp-listener",
    "udp-verdicts",
    "rewrites",
    "tc-verdicts",
    "access-log",
    "source-limit",
    "upstreams",
    "frames",
    "fuzz",
    "apply",
  ])
    await import(`./${file}.test.ts`);

  test("the sockets of a worker that died are closed: the next one has its address, and dies of the same", async () => {
    const { PlanBench, echoUpstream, stopping } = await import("./plan-of.ts");
    const { cleanUp, udpSocket, until, value } = await import("./rig.ts");
    onTestFinished(cleanUp);
    const plan = await new PlanBench().plan({ upstreams: [await echoUpstream()], listeners: [{}] });
    // Stands in for a bug: packet slots outside the arena.
    const workers = plan.workers.map((worker) => ({ ...worker, slots: 2 ** 30 }));
    const causes: string[] = [];
    const started = await startProxy(
      { ...plan, workers },
      {
        onFault: () => {},
        onWorkerDied: () => {},
        onWorkerRestart: (_, cause) => causes.push(cause),
      },
    );
    const proxy = stopping(value(started));
    const client = await udpSocket();
    const timer = setInterval(() => client.send("x", proxy.listeners[0]!.address), 20);
    await until(() => causes.length === 2);
    clearInterval(timer);
    for (const cause of causes) expect(cause).toContain("RangeError: no such memory");
  });

  test("sockets that are closed leave nobody behind who waits for the thread's end", async () => {
    const { cleanUp, startRig, udpSocket, udpUpstream } = await import("./rig.ts");
    onTestFinished(cleanUp);
    const waiting = process.listenerCount("exit");
    const { address } = await udpUpstream();
    const { address: listen, listener } = await startRig("udp", { upstreams: [address] });
    const client = await udpSocket();
    client.send("x", listen);
    expect(await client.text()).toBe("x");
    expect(process.listenerCount("exit")).toBe(waiting + 1);
    await listener.stop(0);
    expect(process.listenerCount("exit")).toBe(waiting);
  });
});
