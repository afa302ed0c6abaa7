import { expect, test } from "vitest";
import type { DatagramPeer } from "../../src/proxy/datagram-socket.ts";
import { RecentPeers } from "../../src/proxy/recent-peers.ts";

interface Peer extends DatagramPeer {
  isCurrent: boolean;
}

/** What the listener was asked for, and peers that it makes anew each time. */
function setUp() {
  const asked: string[] = [];
  const peers = new RecentPeers<Peer>({
    peer: (address, port) => {
      asked.push(`${address} ${port}`);
      return { address, port, socketName: undefined, isCurrent: true };
    },
    isCurrent: (peer) => peer.isCurrent,
  });
  return { asked, peers };
}

test("a peer is the same object each time, and the listener is asked for it once", () => {
  const { asked, peers } = setUp();
  const first = peers.find("127.0.0.1", 53);
  const other = peers.find("127.0.0.1", 54);
  expect(peers.find(["127.0.0", "1"].join("."), 53)).toBe(first);
  expect(peers.find("127.0.0.1", 54)).toBe(other);
  expect(asked).toEqual(["127.0.0.1 53", "127.0.0.1 54"]);
});

test("a peer that is no more the listener's is asked for again", () => {
  const { asked, peers } = setUp();
  const first = peers.find("::1", 53);
  first.isCurrent = false;
  const second = peers.find("::1", 53);
  expect(second).not.toBe(first);
  expect(peers.find("::1", 53)).toBe(second);
  expect(asked).toHaveLength(2);
});

for (const { name, address, port } of [
  { name: "another address has the same port", address: "127.0.0.2", port: 53 },
  { name: "another port shares its low bits", address: "127.0.0.1", port: 53 + 256 },
])
  test(`peers are told apart where ${name}`, () => {
    const { peers } = setUp();
    for (let i = 0; i < 3; i++) {
      expect(peers.find("127.0.0.1", 53)).toMatchObject({ address: "127.0.0.1", port: 53 });
      expect(peers.find(address, port)).toMatchObject({ address, port });
    }
  });
