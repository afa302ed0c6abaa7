import { z } from "zod";
import { tunnelProtocols } from "../packet/tunnel-header.ts";
import {
  addressRange,
  block,
  blockOf,
  choice,
  cidr,
  duration,
  ipAddress,
  listenAddress,
  listenerAddress,
  listOf,
  name,
  peerAddress,
  reference,
  schemaNotes,
  wholeNumber,
} from "./schema-parts.ts";

/** Interface numbers as the kernel's: positive ints. */
export const maxIfindex = 2_147_483_647;

export const chainItem = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_-]*(:[A-Za-z_.][\w.$]*)?$/, {
    error: () => `a chain names a filter, or a program of its object as "filter:program"`,
  })
  .meta({ examples: ["blocklist"] });
schemaNotes.add(chainItem, { noun: "a filter's name" });

const proxyProtocol = block({
  accept: choice(["off", "optional", "required"])
    .default("off")
    .describe(
      "Whether trusted clients begin their connections with a header, v1 (at most 107 bytes) or v2 (at most 4096, with all it carries; more is refused). Filters and upstreams then see whose connection it is. required also refuses all clients that are not trusted.",
    ),
  send: choice(["off", "v1", "v2"])
    .default("off")
    .describe("The header that upstreams get before the client's first byte."),
  trust: listOf(cidr)
    .prefault([])
    .describe("Proxies whose headers are believed, by address. Needed where accept is not off."),
});

/** A network's number, of 24 bits. RFC 7348 §5, RFC 8926 §3.4. */
const networkNumber = wholeNumber(0, 0xff_ff_ff);
const networkNumbers = z.union([networkNumber, listOf(networkNumber).min(1).max(64)]);
schemaNotes.add(networkNumbers, { noun: "a network's number, or a list of them" });

export const listenerSchema = block({
  name: name.describe("Its name in metrics and logs."),
  protocol: choice(["udp", "tcp", ...tunnelProtocols]).describe("What it speaks."),
  listen: listenerAddress.describe(
    "IP address and port it is bound to, IPv6 in brackets. Port 0: one that the system chooses. Tunnels may leave the port out: 4789 (vxlan), 6081 (geneve).",
  ),
  upstream: reference
    .optional()
    .describe("udp and tcp, required there: the upstream that packets and connections go to."),
  mode: choice(["bridge", "mirror", "gwlb"])
    .optional()
    .describe(
      "vxlan and geneve only. bridge: what comes from one of two peers goes to the other; mirror: filters count, nothing is sent; gwlb (geneve): packets go back to the AWS Gateway Load Balancer they came from. Without it: bridge.",
    ),
  vni: networkNumbers
    .optional()
    .describe(
      "vxlan and geneve only: the networks whose frames are taken, one number or a list. Without it: all.",
    ),
  peers: blockOf(name, peerAddress)
    .optional()
    .describe(
      "vxlan and geneve only: who may send frames, by name, and where frames to them go: address or address:port (IPv6 with a port in brackets). A bridge needs two or more; without it mirror and gwlb take frames from anyone.",
    ),
  mtu: wholeNumber(576, 65_535)
    .optional()
    .describe(
      "vxlan and geneve only: the longest IP packet on the way to peers, outer headers included. TCP frames that are longer are segmented; of others the sender is told. Without it: 1500, in mode gwlb 8568.",
    ),
  healthCheck: listenAddress
    .optional()
    .describe(
      "mode gwlb only: address and port where a load balancer's TCP or HTTP health checks are answered. Without it: none.",
    ),
  ingress: listOf(chainItem)
    .default([])
    .describe(
      'Filters for packets from the client, in order: a filter\'s name, or "filter:program" for another program of the same loaded object.',
    ),
  egress: listOf(chainItem)
    .default([])
    .describe("Filters for packets from the upstream, in order."),
  ifindex: wholeNumber(1, maxIfindex)
    .optional()
    .describe(
      "The number that a filter sees as ingress_ifindex, an expression as ifindex. Without it: from 1000 up, in the order of the list.",
    ),
  idleTimeout: duration
    .optional()
    .describe(
      "A session without packets in either direction ends after this, a tcp connection by RST on both sides. Without it: 1h for tcp, else 60s.",
    ),
  maxSessions: wholeNumber(1, 1_000_000)
    .default(16_384)
    .describe(
      "Sessions (udp) or connections (tcp) at once over all workers; at the limit the least recently used one of a worker that has its even share or more is ended (tcp: reset) to make room. Workers that open one at the same moment can pass the limit, by one for each worker but one, until the next is opened. An answer that comes after the end of a udp session can reach another client: the one whose session the system gives the freed port to.",
    ),
  maxSessionsPerSource: wholeNumber(1, 1_000_000)
    .optional()
    .describe(
      "Sessions (udp) or connections (tcp) at once from one IP address over all workers; more are dropped (tcp: reset). Without it: as many as maxSessions.",
    ),
  io: choice(["dgram", "mmsg", "auto"])
    .optional()
    .describe(
      "udp, vxlan and geneve only: how datagrams come and go. dgram: a system call each, anywhere. mmsg: many a system call, which takes about half the CPU (Linux on x64 or arm64, with the optional package koffi). auto: mmsg where it can be had, else dgram. Without it: dgram.",
    ),
  localAddress: ipAddress
    .optional()
    .describe(
      "udp on 0.0.0.0 or [::] only: the destination address that filters see. Without it: the first address of that family that is not loopback.",
    ),
  allowDestinations: listOf(addressRange)
    .prefault([])
    .describe(
      "Where a filter may send a packet by rewriting its destination, besides upstreams and ports: CIDR or CIDR:port.",
    ),
  proxyProtocol: proxyProtocol
    .optional()
    .describe("tcp only: the PROXY protocol of haproxy, nginx and cloud load balancers."),
  onDrop: choice(["reset", "close", "ignore"])
    .optional()
    .describe(
      "tcp only: what becomes of a connection whose SYN was dropped: reset it, close it, or hold it unread until its idle timeout. Without it: reset.",
    ),
  onSegmentDrop: choice(["reset", "discard"])
    .optional()
    .describe(
      "tcp only: what a dropped data segment does: reset the connection, or leave its bytes out. Without it: reset.",
    ),
});
