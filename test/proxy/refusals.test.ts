/** What becomes of datagrams for an upstream that is not there, and of their session. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { cleanUp, type Rig, startRig, udpIo, udpSocket, udpUpstream, until } from "./rig.ts";

afterEach(cleanUp);

/** An address of this machine where nobody is. */
async function nobody(): Promise<{ host: string; port: number }> {
  const { port } = await udpSocket();
  await cleanUp();
  return { host: "127.0.0.1", port };
}

const sum = (counts: Readonly<Record<string, number | undefined>>): number =>
  Object.values(counts).reduce<number>((total, count) => total + (count ?? 0), 0);

const isJudged = (rig: Rig, datagrams: number) => () => sum(rig.packets("ingress")) === datagrams;

/** All have gone; and once each: one that went twice would make room for one too many. */
async function haveEnded(rig: Rig): Promise<void> {
  await until(() => rig.counters.readCell(0, "sessions") <= 0);
  expect(rig.counters.readCell(0, "sessions")).toBe(0);
}

for (const { burst, equal } of [
  { burst: 60, equal: true },
  { burst: 60, equal: false },
  { burst: 400, equal: true },
])
  test(`a burst of ${burst} to an upstream that is not there, ${equal ? "" : "not "}of one length, is lost in sessions that end once`, async () => {
    const upstream = await nobody();
    const rig = await startRig("udp", {
      upstreams: [upstream],
      plan: { maxSessionsPerSource: 2 },
    });
    const client = await udpSocket();
    for (let i = 0; i < burst; i++)
      client.send(Buffer.alloc(equal ? 100 : 1 + (i % 50)), rig.address);
    await until(isJudged(rig, burst));
    await haveEnded(rig);
    // Those that the kernel took and those that it did not.
    expect(rig.drops("ingress")).toEqual({ upstream_unreachable: burst });

    await udpUpstream("", upstream.host, upstream.port);
    const clients = await Promise.all([1, 2, 3].map(() => udpSocket()));
    for (const one of clients.slice(0, 2)) {
      one.send("in", rig.address);
      expect(await one.text()).toBe("in");
    }
    clients[2]!.send("out", rig.address);
    await until(() => rig.drops("ingress").source_limit === 1);
    expect(rig.counters.readCell(0, "sessions")).toBe(2);
  });

test("a burst to an upstream that has answered and is gone ends the session, and no more than 14 go uncounted", async () => {
  const upstream = createSocket("udp4");
  upstream.on("message", (payload, { port, address }) => upstream.send(payload, port, address));
  upstream.bind(0, "127.0.0.1");
  await once(upstream, "listening");
  const { port } = upstream.address();
  const rig = await startRig("udp", { upstreams: [{ host: "127.0.0.1", port }] });
  const client = await udpSocket();
  client.send("in", rig.address);
  expect(await client.text()).toBe("in");
  upstream.close();
  await once(upstream, "close");
  const burst = 200;
  for (let i = 0; i < burst; i++) client.send("x", rig.address);
  await until(isJudged(rig, 1 + burst));
  await haveEnded(rig);
  expect(Object.keys(rig.drops("ingress"))).toEqual(["upstream_unreachable"]);
  const counted = sum(rig.drops("ingress"));
  expect(counted).toBeLessThanOrEqual(burst);
  expect(counted).toBeGreaterThanOrEqual(udpIo === "mmsg" ? burst : burst - 14);
});

test("a session that is evicted and whose last datagrams are refused as it closes ends once", async () => {
  const upstream = await nobody();
  const rig = await startRig("udp", { upstreams: [upstream], plan: { maxSessions: 1 } });
  const [one, other] = [await udpSocket(), await udpSocket()];
  // In batches: more than one, so that the session waits with some as the other's comes.
  const burst = 30;
  for (let i = 0; i < burst; i++) one.send("x", rig.address);
  other.send("x", rig.address);
  await until(isJudged(rig, burst + 1));
  await haveEnded(rig);
  const drops = rig.drops("ingress");
  if (udpIo === "mmsg") {
    expect(drops).toEqual({ upstream_unreachable: burst + 1 });
    expect(rig.counters.readCell(0, "sessions_evicted_total")).toBe(1);
  } else expect(drops).not.toHaveProperty("upstream_error");
});
