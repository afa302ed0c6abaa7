/**
 * A proxy's whole life in a process of its own: it must end without being told to. Run by
 * supervisor.test.ts.
 */
import { fileURLToPath } from "node:url";
import { stackBytes } from "../../src/engine/engine.ts";
import { counterBytes } from "../../src/filter/counters.ts";
import { startEcho } from "../../src/proxy/echo.ts";
import type { ListenerPlan } from "../../src/proxy/plan.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { compileRuntime } from "../../src/runtime/instantiate.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { placesFrom } from "../support/counter-places.ts";
import { cleanUp, TcpClient, udpSocket, value } from "./rig.ts";

/** What it prints once it has carried packets and stopped everything. */
export const lifeOutput = "echoed and stopped\n";

if (process.argv[1] === fileURLToPath(import.meta.url)) await live();

async function live(): Promise<void> {
  const echo = await startEcho();
  const arena = value(Arena.create(4 * 1024 * 1024));
  const shape = { listeners: 2, filters: 0, addresses: 1 };
  const listener: Omit<ListenerPlan, "name" | "protocol"> = {
    listen: { host: "127.0.0.1", port: 0 },
    ifindex: 1000,
    upstream: 0,
    ingress: [],
    egress: [],
    idleTimeoutMs: 60_000,
    maxSessions: 10,
    localAddress: "127.0.0.1",
    onDrop: "reset",
    onSegmentDrop: "reset",
  };
  const proxy = value(
    await startProxy(
      {
        memory: arena.memory,
        runtime: await compileRuntime(),
        workers: [
          {
            stack: value(arena.allocate(stackBytes, "stack")),
            slots: value(arena.allocate(SLOT_BYTES, "slot")),
            slotCount: 1,
            counters: placesFrom(value(arena.allocate(counterBytes(shape), "counters")), shape),
          },
        ],
        filters: [],
        listeners: [
          { ...listener, name: "udp", protocol: "udp" },
          { ...listener, name: "tcp", protocol: "tcp" },
        ],
        upstreams: [{ name: "echo", addresses: [echo.address] }],
        ports: [],
      },
      { onFault: () => {}, onWorkerDied: () => {} },
    ),
  );

  const [udp, tcp] = proxy.listeners;
  const datagrams = await udpSocket();
  datagrams.send("datagram", udp!.address);
  const stream = new TcpClient(tcp!.address);
  stream.write("stream");
  if ((await datagrams.text()) !== "datagram" || (await stream.text(6)) !== "stream")
    throw new Error("no echo");

  // A session, a connection and idle timers are open now.
  await proxy.stop(0);
  await echo.stop();
  await cleanUp();
  process.stdout.write(lifeOutput);
}
