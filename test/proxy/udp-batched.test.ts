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
    "broadcast",
    "access-log",
    "source-limit",
    "refusals",
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

  test("where filters are slow, sockets that are ready together have a turn each, and none a second before all had one", async () => {
    const { cleanUp, startRig, udpSocket, until, xdp } = await import("./rig.ts");
    onTestFinished(cleanUp);
    const upstream = await udpSocket();
    const sockets = 6;
    const asked: Awaited<ReturnType<typeof upstream.next>>[] = [];
    const answer = (number: number): void => {
      const { payload, from } = asked[number]!;
      upstream.send(payload, { host: from.address, port: from.port });
    };
    const judged: { turn: number; from: number }[] = [];
    let turn = 0;
    const { address } = await startRig("udp", {
      upstreams: [{ host: "127.0.0.1", port: upstream.port }],
      egress: [
        xdp((frame) => {
          const from = frame.bytes[42]!;
          judged.push({ turn, from });
          // One socket that always has more.
          if (from === 0 && judged.length < 2 * sockets) answer(0);
          const endMs = performance.now() + 3;
          while (performance.now() < endMs);
          return 2;
        }),
      ],
    });
    for (let i = 0; i < sockets; i++) {
      const client = await udpSocket();
      client.send(Buffer.of(i), address);
      asked.push(await upstream.next());
    }
    const countTurns = (): void => {
      turn++;
      if (judged.length < sockets + 1) setImmediate(countTurns);
    };
    setImmediate(countTurns);
    for (let i = 0; i < sockets; i++) answer(i);
    await until(() => judged.length > sockets);
    const first = judged.slice(0, sockets);
    expect(first.map(({ from }) => from).sort()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(new Set(first.map((one) => one.turn)).size).toBe(sockets);
    expect(judged[sockets]!.from).toBe(0);
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
