import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import type { QueueTally } from "../../../src/proxy/send-queue.ts";
import { SourcePorts } from "../../../src/proxy/tunnel/source-ports.ts";
import { cleanUp, onCleanUp, sendingSockets, udpSocket } from "../rig.ts";

afterEach(cleanUp);

const addressOf = (port: number) => ({ address: "127.0.0.1", port, socketName: undefined });

/** `fates`: what became of each datagram, in bytes as sent or the reason why not. */
async function sourcePorts(nowMs: () => number) {
  const lost: string[] = [];
  const fates: (string | number)[] = [];
  const tally: QueueTally = {
    forwarded: (_kind, frameBytes) => fates.push(frameBytes),
    dropped: (reason) => fates.push(reason),
  };
  const ports = new SourcePorts({
    sockets: await sendingSockets(),
    host: "127.0.0.5",
    family: 4,
    reusePort: false,
    idleTimeoutMs: 60_000,
    nowMs,
    onLost: (reason) => lost.push(reason),
  });
  onCleanUp(() => ports.close());
  const send = (port: number, payload: Buffer, to: ReturnType<typeof addressOf>) =>
    ports.send(port, payload, to, payload.length, tally);
  return { ports, send, lost, fates };
}

test("each datagram leaves from the port it is to come from, and 1,024 ports are kept", async () => {
  const { ports, send: sendFrom, lost, fates } = await sourcePorts(() => 0);
  const target = await udpSocket("127.0.0.1");
  const send = async (port: number): Promise<void> => {
    expect(sendFrom(port, Buffer.of(1, 2), addressOf(target.port))).toBe(undefined);
    expect((await target.next()).from).toMatchObject({ address: "127.0.0.5", port });
  };
  const first = 21_000;
  for (let i = 0; i < 1024; i++) await send(first + i);
  expect(ports.size).toBe(1024);
  // Used again, the first is not the least recently used one any more.
  await send(first);
  for (let i = 1024; i < 1100; i++) await send(first + i);
  expect(ports.size).toBe(1024);
  await send(first);
  expect(lost).toEqual([]);
  expect(fates).toEqual(new Array(1102).fill(2));
});

test("a port that cannot be bound is tried again after a second", async () => {
  let now = 0;
  const { send: sendFrom, fates } = await sourcePorts(() => now);
  const target = await udpSocket("127.0.0.1");
  const taken = createSocket("udp4").bind(0, "127.0.0.5");
  await once(taken, "listening");
  const { port } = taken.address();
  const send = () => sendFrom(port, Buffer.of(1), addressOf(target.port));
  const tried = send();
  expect(tried ?? fates[0]).toBe("send_failed");
  expect(send()).toBe("send_failed");
  await new Promise<void>((resolve) => taken.close(() => resolve()));
  now = 999;
  expect(send()).toBe("send_failed");
  now = 1000;
  expect(send()).toBe(undefined);
  expect((await target.next()).from.port).toBe(port);
});

test("nothing can come from port 0", async () => {
  const { ports, send } = await sourcePorts(() => 0);
  expect(send(0, Buffer.of(1), addressOf(9))).toBe("send_failed");
  expect(ports.size).toBe(0);
});
