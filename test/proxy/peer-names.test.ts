import { describe, expect, test } from "vitest";
import type { DatagramPeer } from "../../src/proxy/datagram-socket.ts";
import { PeerNames } from "../../src/proxy/peer-names.ts";
import { encodeSocketName } from "../../src/proxy/socket-name.ts";

/** Finds peers by their names, and tells how many words of a name it had to read. */
function setUp() {
  const names = new PeerNames<DatagramPeer>({
    peer: (address, port) => ({ address, port, socketName: undefined }),
    isCurrent: () => true,
  });
  const room = Buffer.alloc(28);
  const all = new Int32Array(room.buffer, room.byteOffset, 7);
  let reads = 0;
  const words = new Proxy(all, {
    get: (target, name) => {
      reads++;
      return Reflect.get(target, name, target);
    },
  });
  return {
    find: (name: Uint8Array) => {
      room.fill(0);
      room.set(name);
      reads = 0;
      return { peer: names.find(room, words, 0), reads };
    },
  };
}

/** What `mix` of one and the other is the same of, were its multiplier this. */
const guessed = 0xcc9e2d51;

function inverse(odd: number): number {
  let x = odd;
  for (let i = 0; i < 5; i++) x = Math.imul(x, 2 - Math.imul(odd, x));
  return x;
}

/** IPv4's: an address for each port that makes up for it. */
function ipv4Names(count: number): Uint8Array[] {
  const undo = inverse(guessed);
  return Array.from({ length: count }, (_, i) => {
    const name = Buffer.from(encodeSocketName({ host: "0.0.0.0", port: 1 + i }, 4));
    name.writeInt32LE(Math.imul(name.readInt32LE(0) ^ 0x1234_5678, undo), 4);
    return name;
  });
}

/** IPv6's: two words of the address that differ alike. */
function ipv6Names(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const name = Buffer.from(encodeSocketName({ host: "2001:db8::1", port: 53 }, 6));
    name.writeInt32LE(i, 8);
    name.writeInt32LE(i ^ 0x1234_5678, 12);
    return name;
  });
}

describe("peers by the names that the kernel writes", () => {
  for (const { family, names } of [
    { family: 4, names: ipv4Names(4_096) },
    { family: 6, names: ipv6Names(4_096) },
  ])
    test(`are found at once though senders chose their IPv${family} addresses to lie in one place`, () => {
      const { find } = setUp();
      const peers = names.map((name) => find(name).peer);
      expect(new Set(peers).size).toBe(names.length);
      const found = names.map(find);
      expect(found.map(({ peer }) => peer)).toEqual(peers);
      const reads = found.reduce((sum, one) => sum + one.reads, 0);
      // In one place it were some 2,000 names to look at for each.
      expect(reads / names.length).toBeLessThan(200);
    });

  test("are told apart by address, port, family and interface", () => {
    const { find } = setUp();
    const ends = [
      ["192.0.2.1", 53, 4],
      ["192.0.2.1", 54, 4],
      ["192.0.2.2", 53, 4],
      ["192.0.2.1", 53, 6],
      ["2001:db8::1", 53, 6],
      ["2001:db8::2", 53, 6],
      ["2001:db8:0:1::1", 53, 6],
      ["fe80::1%1", 53, 6],
      ["fe80::1%2", 53, 6],
    ] as const;
    const all = ends.map(([host, port, family]) => encodeSocketName({ host, port }, family));
    const peers = all.map((name) => find(name).peer);
    expect(new Set(peers).size).toBe(all.length);
    for (const [i, name] of all.entries()) expect(find(name).peer).toBe(peers[i]);
  });
});
