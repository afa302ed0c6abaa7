import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { parseHex, putU16be, toHex, u16be } from "../../../src/common/bytes.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { FrameView } from "../../../src/packet/frame-view.ts";
import { writeTcpFrame, writeUdpFrame } from "../../../src/packet/synthesis.ts";
import type { PeerPlan, TunnelPlan } from "../../../src/proxy/plan.ts";
import { Random } from "../../packet/random.ts";
import { freePort } from "../../support/processes.ts";
import {
  cleanUp,
  type Inbox,
  type Rig,
  type RigOptions,
  startRig,
  type TestFilter,
  udpSocket,
  udpUpstream,
  until,
  xdp,
} from "../rig.ts";

afterEach(cleanUp);

const hex = (text: string): Uint8Array => parseHex(text)!;
const vxlan = hex("0800000000002a00");
/** AWS's header and options over IPv4: endpoint, attachment, flow cookie. */
const aws = hex(`08000800 00000000 01080102 0000000000000abc 01080202 00000000000000de
  01080301 01020304`);

const flow = new Flow(
  "udp",
  { address: "10.0.0.1", port: 1000 },
  { address: "10.0.0.2", port: 53 },
);

/** An Ethernet frame of UDP with this payload. */
function udpFrame(payload: string | number): Uint8Array {
  const data =
    typeof payload === "number" ? new Uint8Array(payload).fill(120) : Buffer.from(payload);
  const bytes = new Uint8Array(flow.headerBytes + data.length);
  bytes.set(data, flow.headerBytes);
  writeUdpFrame(bytes, 0, flow, data.length);
  return bytes;
}

function under(header: Uint8Array, frame: Uint8Array): Uint8Array {
  return Buffer.concat([header, frame]);
}

/** A peer on this machine, told apart from others by its port. */
async function peerOf(name: string, host = "127.0.0.1"): Promise<Inbox & { plan: PeerPlan }> {
  const inbox = await udpSocket(host);
  return Object.assign(inbox, { plan: { name, address: { host, port: inbox.port } } });
}

/** A UDP port of 127.0.0.6 that was free a moment ago. */
async function freeUdpPort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, "127.0.0.6");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

type TunnelOptions = Partial<TunnelPlan> & {
  ingress?: readonly TestFilter[];
  egress?: readonly TestFilter[];
  more?: Partial<RigOptions>;
  listen?: { host: string; port: number };
};

function startTunnel(protocol: "vxlan" | "geneve", options: TunnelOptions): Promise<Rig> {
  const { ingress, egress, more, listen, ...tunnel } = options;
  return startRig(protocol, {
    upstreams: [],
    ...(ingress === undefined ? {} : { ingress }),
    ...(egress === undefined ? {} : { egress }),
    plan: {
      upstream: undefined,
      ...(listen === undefined ? {} : { listen }),
      tunnel: { mode: "bridge", vnis: [], peers: [], mtu: 1500, firstLane: 0, ...tunnel },
    },
    ...more,
  });
}

/** A bridge of two peers. */
async function startBridge(options: TunnelOptions = {}, protocol: "vxlan" | "geneve" = "vxlan") {
  const [left, right] = [await peerOf("left"), await peerOf("right")];
  const rig = await startTunnel(protocol, { peers: [left.plan, right.plan], ...options });
  return { rig, left, right };
}

const pass = xdp(() => 2);

describe("A bridge", () => {
  test("sends what comes from one peer to the other, byte for byte, both ways", async () => {
    const { rig, left, right } = await startBridge({ ingress: [pass], vnis: [7, 42] });
    const datagram = under(vxlan, udpFrame("there"));
    left.send(datagram, rig.address);
    expect(toHex((await right.next()).payload)).toBe(toHex(datagram));
    // Reserved bits are the sender's business.
    const back = under(hex("8800000100002a00"), udpFrame("back"));
    right.send(back, rig.address);
    expect(toHex((await left.next()).payload)).toBe(toHex(back));
    expect(rig.packets("ingress")).toEqual({ pass: 2 });
    // Lane of left and VNI 42: the second.
    expect(rig.counters.readLaneFrames(1, "ingress")).toBe(1);
    expect(rig.counters.readLaneFrames(1, "egress")).toBe(1);
    expect(rig.counters.readLaneBytes(3, "egress")).toBe(datagram.length - 8);
    expect(rig.counters.readLaneFrames(0, "ingress")).toBe(0);
  });

  test("sends a flow from one source port, and flows from several", async () => {
    const { rig, left, right } = await startBridge();
    const ports = new Set<number>();
    for (let client = 0; client < 64; client++) {
      const frame = udpFrame("x");
      frame[29] = client;
      left.send(under(vxlan, frame), rig.address);
      left.send(under(vxlan, frame), rig.address);
      const first = (await right.next()).from.port;
      expect((await right.next()).from.port).toBe(first);
      ports.add(first);
    }
    expect(ports.size).toBeGreaterThan(8);
    expect(ports.size).toBeLessThanOrEqual(16);
    expect(ports.has(rig.address.port)).toBe(false);
  });

  test("completes checksums before filters see them, and sends them on so", async () => {
    const seen: number[] = [];
    const filter = xdp((frame) => {
      seen.push(u16be(frame.bytes, 40));
      return 2;
    });
    const { rig, left, right } = await startBridge({ ingress: [filter] });
    const frame = udpFrame("checked");
    const right1 = u16be(frame, 40);
    // 10.0.0.1, 10.0.0.2, UDP, 15 bytes: the pseudo-header's sum.
    putU16be(frame, 40, 0x0a00 + 1 + 0x0a00 + 2 + 17 + 15);
    left.send(under(vxlan, frame), rig.address);
    expect(u16be((await right.next()).payload, 8 + 40)).toBe(right1);
    expect(seen).toEqual([right1]);
  });

  test("drops, answers and sends on as the filter left it", async () => {
    const filter = xdp((frame) => {
      const [what] = frame.bytes.slice(42);
      if (what === 0x64) return 1;
      frame.write(42, [0x41]);
      frame.resize(frame.length + 3);
      return what === 0x74 ? 3 : 2;
    });
    const { rig, left, right } = await startBridge({ ingress: [filter] });
    left.send(under(vxlan, udpFrame("drop")), rig.address);
    left.send(under(vxlan, udpFrame("tx")), rig.address);
    left.send(under(vxlan, udpFrame("pass")), rig.address);
    const tx = (await left.next()).payload;
    expect([tx.subarray(0, 8).toString("hex"), tx.subarray(50).toString()]).toEqual([
      toHex(vxlan),
      "Ax\0\0\0",
    ]);
    expect((await right.next()).payload.subarray(50).toString()).toBe("Aass\0\0\0");
    expect(rig.packets("ingress")).toEqual({ drop: 1, tx: 1, pass: 1 });
    expect(rig.drops("ingress")).toEqual({ filter_drop: 1 });
  });

  test("sends a frame with the new headers that an encapsulating filter put in front", async () => {
    const { rig, left, right } = await startBridge({
      // bpf_xdp_adjust_head by -20, then a mark in the first byte.
      ingress: [
        {
          type: "xdp",
          assembly:
            "r6 = r1\nr2 = -20\ncall 44\nr1 = *(u32 *)(r6 + 0)\nr2 = *(u32 *)(r6 + 4)\nr3 = r1\nr3 += 1\nif r3 > r2 goto +1\n*(u8 *)(r1 + 0) = 69\nr0 = 2\nexit",
        },
      ],
    });
    const frame = udpFrame("inside");
    left.send(under(vxlan, frame), rig.address);
    const { payload } = await right.next();
    expect(payload.length).toBe(8 + 20 + frame.length);
    expect([toHex(payload.subarray(0, 8)), payload[8]]).toEqual([toHex(vxlan), 69]);
    expect(toHex(payload.subarray(28))).toBe(toHex(frame));
  });

  test("cuts frames where a socket filter asks for it, down to an Ethernet header", async () => {
    const lengths = [20, 3];
    const { rig, left, right } = await startBridge({
      ingress: [{ type: "socket", run: () => lengths.shift()! }],
    });
    for (const length of [20, 14]) {
      left.send(under(vxlan, udpFrame("cut me")), rig.address);
      expect((await right.next()).payload.length).toBe(8 + length);
    }
  });

  test("shows a filter the number of the peer that a frame came from, and redirects to others", async () => {
    const peers = [await peerOf("a"), await peerOf("b"), await peerOf("c")];
    const rig = await startTunnel("vxlan", {
      peers: peers.map(({ plan }) => plan),
      ingress: [
        { type: "xdp", assembly: "r1 = *(u32 *)(r1 + 12)\nr1 += 1\nr2 = 0\ncall 23\nexit" },
      ],
      more: {
        ports: [
          { ifindex: 5, listener: 0, peer: 0 },
          { ifindex: 6, listener: 0, peer: 2 },
        ],
      },
    });
    const datagram = under(vxlan, udpFrame("from a"));
    peers[0]!.send(datagram, rig.address);
    expect(toHex((await peers[2]!.next()).payload)).toBe(toHex(datagram));
    // b is no port: its frames show the listener's number, and 1001 leads nowhere.
    peers[1]!.send(datagram, rig.address);
    await until(() => rig.drops("ingress").redirect_unknown_port === 1);
    expect(rig.packets("ingress")).toEqual({ redirect: 1, drop: 1 });
  });

  test("of three peers passes nothing by itself", async () => {
    const peers = [await peerOf("a"), await peerOf("b"), await peerOf("c")];
    const rig = await startTunnel("vxlan", { peers: peers.map(({ plan }) => plan) });
    peers[0]!.send(under(vxlan, udpFrame("where to?")), rig.address);
    await until(() => rig.drops("ingress").tunnel_no_destination === 1);
  });

  test("segments TCP super-frames, each judged alone, and leaves room for what filters add", async () => {
    let judged = 0;
    const grow = xdp((frame) => {
      judged++;
      frame.resize(frame.length + 20);
      return 2;
    });
    const { rig, left, right } = await startBridge({ ingress: [grow] });
    const stream = new Flow(
      "tcp",
      { address: "10.0.0.1", port: 1000 },
      { address: "10.0.0.2", port: 80 },
    );
    const super1 = new Uint8Array(54 + 9000);
    writeTcpFrame(
      super1,
      0,
      stream,
      { sequence: 5, acknowledgement: 1, flags: 0x18, window: 9 },
      9000,
    );
    left.send(under(vxlan, udpFrame("grows by 20")), rig.address);
    await right.next();
    left.send(under(vxlan, super1), rig.address);
    const view = new FrameView();
    let carried = 0;
    while (carried < 9000) {
      const { payload } = await right.next();
      // 1,500 less IP and UDP.
      expect(payload.length).toBeLessThanOrEqual(1472);
      expect(view.bind(payload, 8, payload.length)).toBe(undefined);
      carried += view.payloadLength;
    }
    expect(carried).toBe(9000);
    expect(judged).toBe(1 + Math.ceil(9000 / (1472 - 8 - 54 - 20)));
    expect(rig.drops("ingress")).toEqual({});
  });

  test("tells the sender of a packet that is too long, a hundred times a second at most", async () => {
    const { rig, left } = await startBridge();
    const datagram = under(vxlan, udpFrame(1460));
    for (let i = 0; i < 300; i++) left.send(datagram, rig.address);
    const { payload } = await left.next();
    const view = new FrameView();
    expect(view.bind(payload, 8, payload.length)).toBe(undefined);
    expect([view.protocol, u16be(payload, view.transportOffset + 6)]).toEqual([1, 1450]);
    await until(() => rig.drops("ingress").mtu_exceeded === 300);
    expect(rig.counters.readLaneFrames(0, "egress")).toBeGreaterThanOrEqual(100);
    expect(rig.counters.readLaneFrames(0, "egress")).toBeLessThanOrEqual(200);
  });

  test("sends datagrams to an upstream, and its answers back as frames of the host that was asked", async () => {
    const upstream = await udpUpstream("re: ");
    const seen: string[] = [];
    const { rig, left } = await startBridge({
      ingress: [xdp((frame) => frame.redirectTo(9))],
      egress: [
        xdp((frame) => {
          seen.push(Buffer.from(frame.bytes.slice(42)).toString());
          return 2;
        }),
      ],
      more: { upstreams: [upstream.address], ports: [{ ifindex: 9, upstream: 0 }] },
    });
    for (const text of ["one", "two"]) {
      const asked = udpFrame(text);
      left.send(under(vxlan, asked), rig.address);
      const { payload } = await left.next();
      const view = new FrameView();
      expect(view.bind(payload, 8, payload.length)).toBe(undefined);
      expect(payload.subarray(view.payloadOffset).toString()).toBe(`re: ${text}`);
      expect([
        view.sourceAddress(),
        view.sourcePort,
        view.destinationAddress(),
        view.destinationPort,
      ]).toEqual(["10.0.0.2", 53, "10.0.0.1", 1000]);
      expect(toHex(payload.subarray(8, 20))).toBe(
        toHex(asked.subarray(6, 12)) + toHex(asked.subarray(0, 6)),
      );
      expect(toHex(payload.subarray(0, 8))).toBe(toHex(vxlan));
    }
    expect(seen).toEqual(["re: one", "re: two"]);
    expect(rig.packets("ingress")).toEqual({ redirect: 2 });
    expect(rig.packets("egress")).toEqual({ pass: 2 });
    expect(rig.counters.readCell(0, "sessions")).toBe(1);
    const tcp = new Flow("tcp", { address: "10.0.0.1", port: 1 }, { address: "10.0.0.2", port: 2 });
    const segment = new Uint8Array(54);
    writeTcpFrame(segment, 0, tcp, { sequence: 5, acknowledgement: 1, flags: 2, window: 9 }, 0);
    left.send(under(vxlan, segment), rig.address);
    await until(() => rig.drops("ingress").not_routable === 1);
  });
});

describe("Bad input", () => {
  const frame = udpFrame("x");
  for (const { title, protocol, datagram, reason } of [
    {
      title: "nothing at all",
      protocol: "vxlan",
      datagram: new Uint8Array(0),
      reason: "tunnel_truncated",
    },
    {
      title: "half a header",
      protocol: "vxlan",
      datagram: vxlan.subarray(0, 5),
      reason: "tunnel_truncated",
    },
    {
      title: "flags without a VNI",
      protocol: "vxlan",
      datagram: under(hex("0000000000002a00"), frame),
      reason: "tunnel_bad_header",
    },
    {
      title: "another network",
      protocol: "vxlan",
      datagram: under(hex("0800000000002b00"), frame),
      reason: "tunnel_unknown_vni",
    },
    {
      title: "half an Ethernet header",
      protocol: "vxlan",
      datagram: under(vxlan, frame.subarray(0, 13)),
      reason: "frame_truncated",
    },
    {
      title: "half an IP header",
      protocol: "vxlan",
      datagram: under(vxlan, frame.subarray(0, 30)),
      reason: "frame_truncated",
    },
    {
      title: "an IP packet that claims more",
      protocol: "vxlan",
      datagram: under(vxlan, frame.subarray(0, 42)),
      reason: "frame_bad_length",
    },
    {
      title: "64 KiB of it",
      protocol: "vxlan",
      datagram: under(vxlan, udpFrame(65_400)),
      reason: "mtu_exceeded",
    },
    {
      title: "options beyond the packet",
      protocol: "geneve",
      datagram: hex("3f00655800002a00"),
      reason: "tunnel_truncated",
    },
    {
      title: "an option beyond the header",
      protocol: "geneve",
      datagram: under(hex("0100655800002a00 01080105"), frame),
      reason: "tunnel_bad_option",
    },
    {
      title: "a critical option",
      protocol: "geneve",
      datagram: under(hex("0140655800002a00 01088000"), frame),
      reason: "tunnel_critical_option",
    },
    {
      title: "a control packet",
      protocol: "geneve",
      datagram: under(hex("0080655800002a00"), frame),
      reason: "tunnel_control",
    },
    {
      title: "MPLS",
      protocol: "geneve",
      datagram: under(hex("0000884700002a00"), frame),
      reason: "tunnel_unknown_protocol",
    },
    {
      title: "IPv6 that is none",
      protocol: "geneve",
      datagram: under(hex("000086dd00002a00"), udpFrame(40).subarray(14)),
      reason: "frame_bad_header",
    },
  ] as const)
    test(`${title} over ${protocol} is dropped: ${reason}`, async () => {
      const { rig, left } = await startBridge({ ingress: [pass], vnis: [42] }, protocol);
      left.send(datagram, rig.address);
      await until(() => Object.keys(rig.drops("ingress")).length > 0);
      expect(rig.drops("ingress")).toEqual({ [reason]: 1 });
      expect(rig.packets("ingress")).toEqual({ drop: 1 });
    });

  test("a stranger's frames are dropped, on a peer's address and on others", async () => {
    const { rig } = await startBridge();
    for (const host of ["127.0.0.1", "127.0.0.9"])
      (await udpSocket(host)).send(under(vxlan, udpFrame("let me in")), rig.address);
    await until(() => rig.drops("ingress").tunnel_unknown_peer === 2);
  });

  test("a peer that is alone on its address may use any source port", async () => {
    const left = await peerOf("left", "127.0.0.2");
    const right = await peerOf("right", "127.0.0.3");
    const rig = await startTunnel("vxlan", { peers: [left.plan, right.plan] });
    (await udpSocket("127.0.0.2")).send(under(vxlan, udpFrame("flow")), rig.address);
    expect((await right.next()).payload.subarray(50).toString()).toBe("flow");
  });

  test("mutated datagrams are all counted, whatever they are", async () => {
    const { rig, left } = await startBridge({ ingress: [pass] }, "geneve");
    const random = new Random(10);
    const seeds = [
      under(aws, udpFrame("a").subarray(14)),
      under(hex("0000655800002a00"), udpFrame("b")),
    ];
    const total = 2000;
    for (let i = 0; i < total; i++) {
      const datagram = seeds[i % 2]!.slice(0, 1 + random.below(120));
      for (let changes = random.below(4); changes > 0; changes--)
        datagram[random.below(datagram.length)] = random.below(256);
      left.send(datagram, rig.address);
      if (i % 50 === 49)
        await until(
          () => Object.values(rig.packets("ingress")).reduce((a, b) => a + b, 0) === i + 1,
        );
    }
    expect(Object.keys(rig.drops("ingress")).length).toBeGreaterThan(4);
  });
});

describe("A mirror", () => {
  test("takes frames of anyone, cut short too, and sends nothing", async () => {
    const seen: number[] = [];
    const answers = [2, 3, 2, 2];
    const filter = xdp((frame) => {
      seen.push(frame.length);
      if (seen.length === 3) return frame.redirectTo(5);
      return answers[seen.length - 1]!;
    });
    const rig = await startTunnel("vxlan", { mode: "mirror", ingress: [filter] });
    const source = await udpSocket();
    for (let i = 0; i < 3; i++) source.send(under(vxlan, udpFrame("mirrored")), rig.address);
    source.send(under(vxlan, udpFrame("mirrored").subarray(0, 40)), rig.address);
    source.send(under(vxlan, udpFrame("mirrored").subarray(0, 13)), rig.address);
    await until(() => rig.drops("ingress").frame_truncated === 1);
    expect(seen).toEqual([50, 50, 50, 40]);
    expect(rig.packets("ingress")).toEqual({ pass: 2, drop: 3 });
    expect(rig.drops("ingress")).toEqual({ tunnel_mirror_only: 2, frame_truncated: 1 });
    expect(source.received).toBe(0);
  });
});

describe("A gateway load balancer's target", () => {
  /**
   * The load balancer has an address of its own: the answer comes from its own source port. So has the
   * target, where no other test's sockets have these ports.
   */
  const host = "127.0.0.6";
  async function startTarget(options: TunnelOptions = {}) {
    const port = await freeUdpPort();
    const balancer = await udpSocket("127.0.0.4", port);
    const rig = await startTunnel("geneve", {
      mode: "gwlb",
      listen: { host, port },
      peers: [{ name: "az1", address: { host: "127.0.0.4", port } }],
      ...options,
    });
    return { rig, balancer, port };
  }

  test("returns what passes with header and options byte for byte, both UDP ports kept", async () => {
    const frames: string[] = [];
    const { rig, balancer, port } = await startTarget({
      ingress: [
        xdp((frame) => {
          frames.push(toHex(frame.bytes.slice(0, 14)));
          return 2;
        }),
      ],
    });
    // A flow's source port; the answer must come from it, to the port that everything goes to.
    const flowSocket = await udpSocket("127.0.0.4");
    const packet = udpFrame("question").subarray(14);
    for (const options of [aws, hex("0300 0800 00000000 01320102 0102030405060708")]) {
      flowSocket.send(under(options, packet), rig.address);
      const { payload, from } = await balancer.next();
      expect(toHex(payload)).toBe(toHex(under(options, packet)));
      expect(from).toMatchObject({ address: host, port: flowSocket.port });
    }
    expect(port).toBe(rig.address.port);
    // The filter sees an Ethernet header, made from the addresses.
    expect(frames[0]).toBe("02040a00000202040a0000010800");
    expect(rig.packets("ingress")).toEqual({ pass: 2 });
  });

  test("returns nothing for a drop, and what a filter wrote for a pass", async () => {
    const { rig, balancer } = await startTarget({
      ingress: [
        xdp((frame) => {
          if (frame.bytes[42] === 0x64) return 1;
          frame.write(42, [0x41]);
          return 2;
        }),
      ],
    });
    const flowSocket = await udpSocket("127.0.0.4");
    for (const text of ["drop", "pass"])
      flowSocket.send(under(aws, udpFrame(text).subarray(14)), rig.address);
    const { payload } = await balancer.next();
    expect(toHex(payload.subarray(0, aws.length))).toBe(toHex(aws));
    expect(payload.subarray(aws.length + 28).toString()).toBe("Aass");
    expect(rig.packets("ingress")).toEqual({ drop: 1, pass: 1 });
    expect(balancer.received).toBe(1);
  });

  test("says so where a filter turned the packet into what is no IP", async () => {
    const toArp = xdp((frame) => {
      frame.write(12, [8, 6]);
      return 2;
    });
    const { rig } = await startTarget({ ingress: [toArp] });
    (await udpSocket("127.0.0.4")).send(under(aws, udpFrame("x").subarray(14)), rig.address);
    await until(() => rig.drops("ingress").not_routable === 1);
  });

  test("drops what it cannot return from the port it came from, and nothing else", async () => {
    const { rig, balancer } = await startTarget();
    const taken = await udpSocket(host);
    const packet = under(aws, udpFrame("x").subarray(14));
    (await udpSocket("127.0.0.4", taken.port)).send(packet, rig.address);
    await until(() => rig.drops("ingress").send_failed === 1);
    (await udpSocket("127.0.0.4")).send(packet, rig.address);
    await balancer.next();
  });

  test("answers TCP and HTTP health checks while it runs", async () => {
    const healthCheck = { host: "127.0.0.1", port: await freePort() };
    const { rig } = await startTarget({ healthCheck });
    const response = await fetch(`http://127.0.0.1:${healthCheck.port}/anything`);
    expect([response.status, await response.text()]).toEqual([200, "ok\n"]);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(healthCheck.port, "127.0.0.1", () => {
        socket.destroy();
        resolve();
      });
      socket.once("error", reject);
    });
    await rig.listener.stop(0);
    await expect(fetch(`http://127.0.0.1:${healthCheck.port}/`)).rejects.toThrow();
  });

  test("does not start where its health check cannot listen", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await expect(startTarget({ healthCheck: { host: "127.0.0.1", port } })).rejects.toThrow(
      /listener test, health check: cannot listen on tcp 127\.0\.0\.1:\d+: the address is in use/,
    );
    server.close();
  });
});
