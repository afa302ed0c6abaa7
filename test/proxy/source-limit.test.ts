import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { cleanUp, startRig, TcpClient, tcpEcho, udpSocket, udpUpstream, until } from "./rig.ts";

afterEach(cleanUp);

test("a source has at most maxSessionsPerSource UDP sessions; those it has go on, others have their own", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    plan: { maxSessionsPerSource: 2 },
  });
  const [one, two, three] = await Promise.all([1, 2, 3].map(() => udpSocket()));
  for (const client of [one!, two!]) {
    client.send("in", rig.address);
    expect(await client.text()).toBe("in");
  }
  three!.send("out", rig.address);
  await until(() => rig.drops("ingress").source_limit === 1);
  const other = await udpSocket("127.0.0.2");
  for (const client of [one!, other]) {
    client.send("on", rig.address);
    expect(await client.text()).toBe("on");
  }
  expect(rig.counters.readCell(0, "sessions")).toBe(3);
  expect(upstream.received).toBe(4);
});

test("a UDP session that ends makes room for another of its source", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    plan: { maxSessionsPerSource: 1, idleTimeoutMs: 20 },
  });
  const [one, two] = [await udpSocket(), await udpSocket()];
  one.send("a", rig.address);
  expect(await one.text()).toBe("a");
  await until(() => rig.counters.readCell(0, "sessions") === 0);
  two.send("b", rig.address);
  expect(await two.text()).toBe("b");
});

test("a source has at most maxSessionsPerSource TCP connections; more are reset and counted as dropped SYNs", async () => {
  const echo = await tcpEcho();
  const rig = await startRig("tcp", { upstreams: [echo], plan: { maxSessionsPerSource: 2 } });
  const through = async (client: TcpClient): Promise<void> => {
    client.write("x");
    expect(await client.text(1)).toBe("x");
  };
  const [one, two] = [new TcpClient(rig.address), new TcpClient(rig.address)];
  await Promise.all([through(one), through(two)]);
  expect(await new TcpClient(rig.address).over).toBe("ECONNRESET");
  expect(rig.drops("ingress")).toMatchObject({ source_limit: 1 });
  // Ethernet, IPv4, TCP with the MSS option.
  expect(rig.counters.readBytes(0, "ingress", "drop")).toBe(14 + 20 + 20 + 4);
  expect(rig.counters.readCell(0, "sessions_total")).toBe(2);
  await through(new TcpClient(rig.address, { localAddress: "127.0.0.2" }));
  one.socket.end();
  await once(one.socket, "close");
  await until(() => rig.counters.readCell(0, "sessions") === 2);
  await through(new TcpClient(rig.address));
});
