import { afterEach, expect, test } from "vitest";
import type { DestinationRange } from "../../src/proxy/plan.ts";
import {
  cleanUp,
  type SlotFrame,
  startRig,
  TcpClient,
  tcpEcho,
  tcpUpstream,
  udpSocket,
  udpUpstream,
  until,
  xdp,
} from "./rig.ts";

afterEach(cleanUp);

/** Byte offsets in an IPv4 frame without IP options. */
const at = { source: 26, destination: 30, sourcePort: 34, destinationPort: 36, udpLength: 38 };
const udpPayload = 42;
const tcpPayload = 54;

function port(number: number): number[] {
  return [number >> 8, number & 0xff];
}

/** Resizes an IPv4 UDP frame as a careful program does: the headers' lengths agree. */
function resizeUdp(frame: SlotFrame, payloadBytes: number): void {
  frame.resize(udpPayload + payloadBytes);
  frame.write(16, port(20 + 8 + payloadBytes));
  frame.write(at.udpLength, port(8 + payloadBytes));
}

test("a rewritten payload is what goes out, to the upstream and to the client", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [
      xdp((frame) => {
        frame.write(udpPayload, Buffer.from("IN"));
        return 2;
      }),
    ],
    egress: [
      xdp((frame) => {
        frame.write(udpPayload + 2, Buffer.from("OUT"));
        return 2;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("abcdefg", rig.address);
  expect(await client.text()).toBe("INOUTfg");
  expect((await upstream.next()).payload.toString()).toBe("INcdefg");
});

for (const { name, bytes, arrives } of [
  { name: "shrunk to nothing", bytes: 0, arrives: "" },
  { name: "shrunk", bytes: 3, arrives: "abc" },
  { name: "grown", bytes: 8, arrives: "abcde\0\0\0" },
])
  test(`a datagram ${name} is forwarded so`, async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", {
      upstreams: [upstream.address],
      ingress: [
        xdp((frame) => {
          resizeUdp(frame, bytes);
          return 2;
        }),
      ],
    });
    const client = await udpSocket();
    client.send("abcde", rig.address);
    expect(await client.text()).toBe(arrives);
    // Counted as it came.
    expect(rig.counters.readBytes(0, "ingress", "pass")).toBe(udpPayload + 5);
  });

for (const { name, change, reason } of [
  {
    name: "cut shorter than its headers say",
    change: (frame: SlotFrame) => frame.resize(udpPayload + 1),
    reason: "frame_bad_length",
  },
  {
    name: "whose UDP length is below its header's",
    change: (frame: SlotFrame) => frame.write(at.udpLength, port(7)),
    reason: "frame_bad_length",
  },
  {
    name: "turned into ARP",
    change: (frame: SlotFrame) => frame.write(12, [0x08, 0x06]),
    reason: "not_routable",
  },
  {
    name: "turned into a fragment",
    change: (frame: SlotFrame) => frame.write(20, [0x20, 0x00]),
    reason: "not_routable",
  },
  {
    name: "turned into ICMP",
    change: (frame: SlotFrame) => frame.write(23, [1]),
    reason: "not_routable",
  },
  {
    name: "with another source address",
    change: (frame: SlotFrame) => frame.write(at.source, [127, 0, 0, 9]),
    reason: "source_not_allowed",
  },
  {
    name: "with another source port",
    change: (frame: SlotFrame) => frame.write(at.sourcePort, [0, 53]),
    reason: "source_not_allowed",
  },
  {
    name: "to an address nobody configured",
    change: (frame: SlotFrame) => frame.write(at.destination, [127, 0, 0, 9]),
    reason: "destination_not_allowed",
  },
])
  test(`a datagram ${name} is dropped: ${reason}`, async () => {
    const upstream = await udpUpstream();
    const rig = await startRig("udp", {
      upstreams: [upstream.address],
      ingress: [
        xdp((frame) => {
          change(frame);
          return 2;
        }),
      ],
    });
    const client = await udpSocket();
    client.send("abcde", rig.address);
    await until(() => rig.packets("ingress").drop === 1);
    expect(rig.drops("ingress")).toEqual({ [reason]: 1 });
    expect(upstream.received).toBe(0);
  });

test("a rewritten destination that is a configured upstream gets the datagram, and answers", async () => {
  const [usual, other] = [await udpUpstream("usual "), await udpUpstream("other ")];
  const rig = await startRig("udp", {
    upstreams: [usual.address, other.address],
    ingress: [
      xdp((frame) => {
        frame.write(at.destinationPort, port(other.address.port));
        return 2;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  expect(await client.text()).toBe("other x");
  expect(rig.packets("ingress")).toEqual({ pass: 1 });
});

for (const { name, range, allowed } of [
  { name: "its network", range: { host: "127.0.0.0", prefixLength: 8 }, allowed: true },
  { name: "all of IPv4", range: { host: "0.0.0.0", prefixLength: 0 }, allowed: true },
  { name: "an odd prefix", range: { host: "127.0.0.4", prefixLength: 31 }, allowed: true },
  { name: "another network", range: { host: "127.0.1.0", prefixLength: 24 }, allowed: false },
  { name: "its neighbours", range: { host: "127.0.0.6", prefixLength: 31 }, allowed: false },
  { name: "all of IPv6", range: { host: "::", prefixLength: 0 }, allowed: false },
  {
    name: "its network at another port",
    range: { host: "127.0.0.0", prefixLength: 8, port: 9 },
    allowed: false,
  },
])
  test(`a rewritten destination is ${allowed ? "let through" : "dropped"} where allowDestinations names ${name}`, async () => {
    const usual = await udpUpstream("usual ");
    const outside = await udpUpstream("outside ", "127.0.0.5");
    const rig = await startRig("udp", {
      plan: { allowDestinations: [range as DestinationRange] },
      upstreams: [usual.address],
      ingress: [
        xdp((frame) => {
          frame.write(at.destination, [127, 0, 0, 5]);
          frame.write(at.destinationPort, port(outside.address.port));
          return 2;
        }),
      ],
    });
    const client = await udpSocket();
    client.send("x", rig.address);
    if (allowed) expect(await client.text()).toBe("outside x");
    else {
      await until(() => rig.packets("ingress").drop === 1);
      expect(rig.drops("ingress")).toEqual({ destination_not_allowed: 1 });
      expect(outside.received + usual.received).toBe(0);
    }
  });

test("allowDestinations with a port lets that port through, and port 0 never", async () => {
  const usual = await udpUpstream("usual ");
  const outside = await udpUpstream("outside ", "127.0.0.5");
  let to = outside.address.port;
  const rig = await startRig("udp", {
    plan: { allowDestinations: [{ host: "127.0.0.5", prefixLength: 32 }] },
    upstreams: [usual.address],
    ingress: [
      xdp((frame) => {
        frame.write(at.destination, [127, 0, 0, 5]);
        frame.write(at.destinationPort, port(to));
        return 2;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  expect(await client.text()).toBe("outside x");
  to = 0;
  client.send("x", rig.address);
  await until(() => rig.packets("ingress").drop === 1);
  expect(rig.drops("ingress")).toEqual({ destination_not_allowed: 1 });
});

test("a redirect wins over a rewritten destination", async () => {
  const [usual, other] = [await udpUpstream("usual "), await udpUpstream("other ")];
  const rig = await startRig("udp", {
    upstreams: [usual.address, other.address],
    ports: [{ ifindex: 3, upstream: 1 }],
    ingress: [
      xdp((frame) => {
        frame.write(at.destination, [192, 0, 2, 1]);
        return frame.redirectTo(3);
      }),
    ],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  expect(await client.text()).toBe("other x");
});

test("XDP_TX answers the client whatever addresses the frame has by then", async () => {
  const upstream = await udpUpstream();
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    ingress: [
      xdp((frame) => {
        frame.write(at.source, [192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2]);
        frame.write(udpPayload, Buffer.from("Y"));
        return 3;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  expect(await client.text()).toBe("Y");
});

test("on egress the destination stays the client, whatever the frame says", async () => {
  const [upstream, other] = [await udpUpstream(), await udpSocket()];
  const rig = await startRig("udp", {
    upstreams: [upstream.address],
    egress: [
      xdp((frame) => {
        frame.write(at.destinationPort, port(other.port));
        return 2;
      }),
    ],
  });
  const client = await udpSocket();
  client.send("x", rig.address);
  expect(await client.text()).toBe("x");
  expect(other.received).toBe(0);
});

test("rewritten IPv6 payloads and destinations work as IPv4's", async () => {
  const [usual, other] = [await udpUpstream("usual ", "::1"), await udpUpstream("other ", "::1")];
  const rig = await startRig("udp", {
    plan: { listen: { host: "::1", port: 0 } },
    upstreams: [usual.address, other.address],
    ingress: [
      xdp((frame) => {
        frame.write(56, port(other.address.port));
        frame.write(62, Buffer.from("Z"));
        return 2;
      }),
    ],
  });
  const client = await udpSocket("::1");
  client.send("xyz", rig.address);
  expect(await client.text()).toBe("other Zyz");
});

function hasTcpData(frame: Uint8Array): boolean {
  return frame.length > 34 + (frame[46]! >> 4) * 4;
}

test("a stream's rewritten segments go out rewritten, longer or shorter, in order", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    ingress: [
      xdp((frame) => {
        const bytes = frame.bytes;
        if (!hasTcpData(bytes)) return 2;
        const text = Buffer.from(bytes.subarray(tcpPayload)).toString();
        const reply = text.startsWith("grow") ? `${text}!!!` : text.slice(0, 2);
        frame.resize(tcpPayload + reply.length);
        frame.write(16, port(40 + reply.length));
        frame.write(tcpPayload, Buffer.from(reply));
        return 2;
      }),
    ],
    egress: [
      xdp((frame) => {
        const bytes = frame.bytes;
        if (!hasTcpData(bytes)) return 2;
        frame.write(
          tcpPayload,
          Buffer.from(Buffer.from(bytes.subarray(tcpPayload)).toString().toUpperCase()),
        );
        return 2;
      }),
    ],
  });
  const client = new TcpClient(rig.address);
  client.write("grow ");
  expect(await client.text(8)).toBe("GROW !!!");
  client.write("shrink");
  expect(await client.text(10)).toBe("GROW !!!SH");
});

test("a SYN with a rewritten destination dials it, and segments rewritten alike go along", async () => {
  const usual = await tcpUpstream((socket) => socket.end("usual"));
  const other = await tcpEcho();
  const rig = await startRig("tcp", {
    upstreams: [usual, other],
    ingress: [
      xdp((frame) => {
        frame.write(at.destinationPort, port(other.port));
        return 2;
      }),
    ],
  });
  const client = new TcpClient(rig.address);
  client.socket.end("hello");
  expect(await client.over).toBe("end");
  expect(client.received.toString()).toBe("hello");
});

test("a SYN with a destination nobody configured is dropped", async () => {
  const upstream = await tcpEcho();
  const rig = await startRig("tcp", {
    upstreams: [upstream],
    ingress: [
      xdp((frame) => {
        frame.write(at.destination, [192, 0, 2, 1]);
        return 2;
      }),
    ],
  });
  const client = new TcpClient(rig.address);
  expect(await client.over).toBe("ECONNRESET");
  expect(rig.drops("ingress")).toEqual({ destination_not_allowed: 1 });
});

for (const { name, change, reason } of [
  {
    name: "to another upstream",
    change: (frame: SlotFrame, other: number) => frame.write(at.destinationPort, port(other)),
    reason: "redirect_midstream",
  },
  {
    name: "to an address nobody configured",
    change: (frame: SlotFrame) => frame.write(at.destination, [192, 0, 2, 1]),
    reason: "destination_not_allowed",
  },
  {
    name: "with another source",
    change: (frame: SlotFrame) => frame.write(at.sourcePort, [0, 1]),
    reason: "source_not_allowed",
  },
  {
    name: "turned into UDP",
    change: (frame: SlotFrame) => frame.write(23, [17]),
    reason: "frame_bad_length",
  },
])
  test(`a data segment ${name} breaks its connection: ${reason}`, async () => {
    const [usual, other] = [await tcpEcho(), await tcpEcho()];
    const rig = await startRig("tcp", {
      upstreams: [usual, other],
      ingress: [
        xdp((frame) => {
          if (hasTcpData(frame.bytes)) change(frame, other.port);
          return 2;
        }),
      ],
    });
    const client = new TcpClient(rig.address);
    client.write("hello");
    expect(await client.over).toBe("ECONNRESET");
    expect(rig.drops("ingress")).toEqual({ [reason]: 1 });
  });
