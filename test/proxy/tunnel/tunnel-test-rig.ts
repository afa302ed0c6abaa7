/** What tests of tunnels share: datagrams, peers on this machine, listeners. */
import { parseHex } from "../../../src/common/bytes.ts";
import { Flow } from "../../../src/packet/flow.ts";
import { writeUdpFrame } from "../../../src/packet/synthesis.ts";
import type { PeerPlan, TunnelPlan } from "../../../src/proxy/plan.ts";
import {
  type Inbox,
  type Rig,
  type RigOptions,
  startRig,
  type TestFilter,
  udpSocket,
  xdp,
} from "../rig.ts";

export const hex = (text: string): Uint8Array => parseHex(text)!;
export const vxlan = hex("0800000000002a00");
/** AWS's header and options over IPv4: endpoint, attachment, flow cookie. */
export const aws = hex(`08000800 00000000 01080102 0000000000000abc 01080202 00000000000000de
  01080301 01020304`);

export const flow = new Flow(
  "udp",
  { address: "10.0.0.1", port: 1000 },
  { address: "10.0.0.2", port: 53 },
);

/** An Ethernet frame of UDP with this payload. */
export function udpFrame(payload: string | number): Uint8Array {
  const data =
    typeof payload === "number" ? new Uint8Array(payload).fill(120) : Buffer.from(payload);
  const bytes = new Uint8Array(flow.headerBytes + data.length);
  bytes.set(data, flow.headerBytes);
  writeUdpFrame(bytes, 0, flow, data.length);
  return bytes;
}

export function under(header: Uint8Array, frame: Uint8Array): Uint8Array {
  return Buffer.concat([header, frame]);
}

/** A peer on this machine, told apart from others by its port. */
export async function peerOf(
  name: string,
  host = "127.0.0.1",
): Promise<Inbox & { plan: PeerPlan }> {
  const inbox = await udpSocket(host);
  return Object.assign(inbox, { plan: { name, address: { host, port: inbox.port } } });
}

export type TunnelOptions = Partial<TunnelPlan> & {
  ingress?: readonly TestFilter[];
  egress?: readonly TestFilter[];
  more?: Partial<RigOptions>;
  listen?: { host: string; port: number };
};

export function startTunnel(protocol: "vxlan" | "geneve", options: TunnelOptions): Promise<Rig> {
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
export async function startBridge(
  options: TunnelOptions = {},
  protocol: "vxlan" | "geneve" = "vxlan",
) {
  const [left, right] = [await peerOf("left"), await peerOf("right")];
  const rig = await startTunnel(protocol, { peers: [left.plan, right.plan], ...options });
  return { rig, left, right };
}

export const pass = xdp(() => 2);
