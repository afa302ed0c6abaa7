import { afterEach, expect, test } from "vitest";
import { maxBroadcastPorts } from "../../src/filter/broadcasts.ts";
import type { DestinationRange } from "../../src/proxy/plan.ts";
import { portMap } from "../support/flood.ts";
import {
  cleanUp,
  type HookFilter,
  type Rig,
  type SlotFrame,
  startRig,
  TcpClient,
  type TestFilter,
  tcpEcho,
  udpSocket,
  udpUpstream,
  until,
  xdp,
} from "./rig.ts";

afterEach(cleanUp);

/** xorshift32: the same numbers every run. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** The listener's own number in the rig. */
const own = 1000;

/** What broadcasts go to: nobody, one port, the same twice beside two that nobody has, more than are served. */
const portLists = [[], [2], [2, own, 2, 77], Array.from({ length: 33 }, () => 2)] as const;

const addressFields = [26, 30, 34, 36] as const;

/** What a vandal has seen and done. */
class Deeds {
  frames = 0;
  broadcasts = 0;
  /** Packets that its broadcasts may have made, beside one a frame. */
  copies = 0;
}

/**
 * What no careful program does: any return value, any bytes anywhere, any length, copies to all ports of a
 * map. `reachable` are ports on loopback that it aims at, so that a hole would be found.
 */
function vandal(
  random: (below: number) => number,
  reachable: readonly number[],
  deeds: Deeds,
): HookFilter {
  const maps = portLists.map((ports, i) => portMap(i % 2 === 0 ? "devmap" : "devmap_hash", ports));
  return xdp((frame, handles) => {
    deeds.frames++;
    for (let i = random(4); i > 0; i--) {
      switch (random(5)) {
        case 0:
          frame.write(random(frame.length), [random(256)]);
          break;
        case 1:
          // Headers are where it hurts.
          frame.write(random(Math.min(frame.length, 54)), [random(256)]);
          break;
        case 2:
          frame.resize(random(2048));
          break;
        case 3: {
          const field = addressFields[random(addressFields.length)]!;
          if (frame.length > field + 4)
            frame.write(
              field,
              Array.from({ length: 4 }, () => random(256)),
            );
          break;
        }
        case 4: {
          const port = reachable[random(reachable.length)]!;
          if (frame.length > 38) frame.write(36, [port >> 8, port & 0xff]);
        }
      }
    }
    switch (random(9)) {
      case 0:
        return random(2 ** 32 - 1);
      case 8: {
        const which = random(handles.length);
        const exclude = random(2) === 0;
        const ports = portLists[which]!.filter((port: number) => !exclude || port !== own);
        deeds.broadcasts++;
        // One more tells of those that are too many.
        deeds.copies += Math.max(0, Math.min(ports.length, maxBroadcastPorts + 1) - 1);
        return frame.broadcastTo(handles[which]!, exclude);
      }
      case 1:
        return frame.redirectTo(random(2) === 0 ? random(2 ** 31) : random(4));
      case 2:
      case 3:
      case 4:
      case 5:
        return 2;
      default:
        return random(6);
    }
  }, maps);
}

/** `filter`, but that frames pass as they are which `isSpared`. */
function sparing(filter: HookFilter, isSpared: (frame: SlotFrame) => boolean): TestFilter {
  return { ...filter, run: (frame, maps) => (isSpared(frame) ? 2 : filter.run(frame, maps)) };
}

function totals(
  rig: Rig,
  direction: "ingress" | "egress",
): { packets: number; ended: number; drops: number } {
  const packets = rig.packets(direction);
  const sum = (counts: Record<string, number>): number =>
    Object.values(counts).reduce((total, count) => total + count, 0);
  return {
    packets: sum(packets),
    ended: (packets.drop ?? 0) + (packets.aborted ?? 0),
    drops: sum(rig.drops(direction)),
  };
}

for (const { seed, allow } of [
  { seed: 1, allow: [] },
  { seed: 2, allow: [] },
  { seed: 3, allow: [{ host: "127.0.0.9", prefixLength: 32 }] },
] as { seed: number; allow: DestinationRange[] }[])
  test(`a filter that does anything to datagrams never sends where it may not (seed ${seed})`, async () => {
    const random = randomFrom(seed);
    const [upstream, port, forbidden] = [
      await udpUpstream(),
      await udpUpstream(),
      await udpSocket(),
    ];
    const reachable = [upstream.port, port.port, forbidden.port, 0];
    const [deeds, replied] = [new Deeds(), new Deeds()];
    const rig = await startRig("udp", {
      plan: { maxSessions: 8, allowDestinations: allow },
      upstreams: [upstream.address, port.address],
      ports: [{ ifindex: 2, upstream: 1 }],
      ingress: [vandal(random, reachable, deeds)],
      egress: [vandal(random, reachable, replied)],
    });
    const clients = await Promise.all(Array.from({ length: 12 }, () => udpSocket()));
    const rounds = 150;
    for (let round = 1; round <= rounds; round++) {
      for (const client of clients)
        client.send(Buffer.alloc(random(round % 20 === 0 ? 9000 : 200), round), rig.address);
      await until(() => deeds.frames >= round * clients.length);
    }
    const ingress = totals(rig, "ingress");
    expect(deeds.frames).toBe(rounds * clients.length);
    // A broadcast of what can be sent is a packet for each port, of what cannot one.
    expect(ingress.packets).toBeGreaterThan(deeds.frames);
    expect(ingress.packets).toBeLessThanOrEqual(deeds.frames + deeds.copies);
    // Each dropped packet has one reason. What the kernel refused later adds to them.
    const late = rig.drops("ingress").upstream_unreachable ?? 0;
    expect(ingress.drops - ingress.ended).toBeGreaterThanOrEqual(0);
    expect(ingress.drops - ingress.ended).toBeLessThanOrEqual(late);
    const egress = totals(rig, "egress");
    expect(egress.drops).toBe(egress.ended);
    // Replies go to the client alone: a broadcast of one is a packet that is dropped.
    expect(egress.packets).toBe(replied.frames);
    expect(Math.min(deeds.broadcasts, replied.broadcasts)).toBeGreaterThan(20);
    expect(forbidden.received).toBe(0);
    expect(rig.counters.readCell(0, "sessions")).toBeLessThanOrEqual(8);
    // Work was done: not everything was refused.
    expect(rig.packets("ingress").pass).toBeGreaterThan(100);
    expect(upstream.received + port.received).toBeGreaterThan(100);
  });

for (const { seed, onSegmentDrop } of [
  { seed: 4, onSegmentDrop: "reset" as const },
  { seed: 5, onSegmentDrop: "discard" as const },
  { seed: 6, onSegmentDrop: "discard" as const },
])
  test(`a filter that does anything to segments never dials where it may not (seed ${seed}, ${onSegmentDrop})`, async () => {
    const random = randomFrom(seed);
    const [upstream, port, forbidden] = [await tcpEcho(), await tcpEcho(), await tcpEcho()];
    let reached = 0;
    forbidden.server.on("connection", () => reached++);
    const reachable = [upstream.port, port.port, forbidden.port];
    const deeds = new Deeds();
    const mischief = vandal(random, reachable, deeds);
    // Handshakes mostly pass, else there would be few segments to spoil.
    const filter = sparing(mischief, (frame) => frame.length <= 58 && random(4) > 0);
    const rig = await startRig("tcp", {
      plan: {
        onSegmentDrop,
        maxSessions: 16,
        idleTimeoutMs: 300,
        onDrop: seed % 2 === 0 ? "reset" : "close",
      },
      upstreams: [upstream, port],
      ports: [{ ifindex: 2, upstream: 1 }],
      ingress: [filter],
      egress: [filter],
    });
    const rounds = 25;
    const perRound = 8;
    for (let round = 0; round < rounds; round++) {
      const clients = Array.from({ length: perRound }, () => new TcpClient(rig.address));
      for (const client of clients) {
        for (let i = random(4); i > 0; i--) client.write(Buffer.alloc(1 + random(5000), i));
        client.socket.end();
      }
      await until(() => rig.counters.readCell(0, "sessions_total") === (round + 1) * perRound);
    }
    await until(() => rig.counters.readCell(0, "sessions") === 0);
    for (const direction of ["ingress", "egress"] as const) {
      const { ended, drops } = totals(rig, direction);
      expect(drops).toBe(ended);
    }
    expect(totals(rig, "ingress").packets).toBeGreaterThan(rounds * perRound);
    expect(deeds.broadcasts).toBeGreaterThan(10);
    expect(reached).toBe(0);
  });
