import { expect, test } from "vitest";
import type { Destination } from "../../src/proxy/destinations.ts";
import { UdpClients } from "../../src/proxy/udp-clients.ts";

const plan = { listen: { host: "127.0.0.1", port: 53 }, localAddress: "127.0.0.1" };
/** As many as a batch may have besides. */
const fewer = 1023;

function setUp() {
  const clients = new UdpClients<{ readonly destination: Destination }>(plan);
  const crowd = (count: number): void => {
    for (let i = 0; i < count; i++) clients.at(`192.0.2.${i >> 8}`, 1 + (i & 0xff));
  };
  return { clients, crowd };
}

for (const before of [0, 1, 512, 1022, 1023])
  test(`a client without a session stays the same while ${fewer} others come, behind ${before}`, () => {
    const { clients, crowd } = setUp();
    for (let i = 0; i < before; i++) clients.at("198.51.100.1", 1 + i);
    const client = clients.at("127.0.0.9", 4000);
    crowd(fewer);
    expect(clients.isCurrent(client)).toBe(true);
    expect(clients.at("127.0.0.9", 4000)).toBe(client);
  });

test("clients without sessions are forgotten when many others came", () => {
  const { clients, crowd } = setUp();
  const client = clients.at("127.0.0.9", 4000);
  crowd(3 * 1024);
  expect(clients.isCurrent(client)).toBe(false);
  expect(clients.at("127.0.0.9", 4000)).not.toBe(client);
});

test("a client whose sessions have ended is made anew, also where it was a stranger before", () => {
  const { clients, crowd } = setUp();
  const client = clients.at("127.0.0.9", 4000);
  crowd(fewer + 1);
  clients.hasSession(client);
  expect(clients.at("127.0.0.9", 4000)).toBe(client);
  clients.hasNone(client);
  expect(clients.isCurrent(client)).toBe(false);
  expect(clients.at("127.0.0.9", 4000)).not.toBe(client);
});

test("another plan's clients are made anew, but for those with sessions", () => {
  const { clients, crowd } = setUp();
  const client = clients.at("127.0.0.9", 4000);
  const known = clients.at("127.0.0.9", 4001);
  clients.hasSession(known);
  crowd(fewer);
  clients.follow({ ...plan, listen: { host: "127.0.0.2", port: 53 } });
  expect(clients.isCurrent(client)).toBe(false);
  // The IPv4 header's destination.
  const { template } = clients.at("127.0.0.9", 4000).toListener;
  expect([...template.subarray(30, 34)]).toEqual([127, 0, 0, 2]);
  expect(clients.at("127.0.0.9", 4001)).toBe(known);
});
