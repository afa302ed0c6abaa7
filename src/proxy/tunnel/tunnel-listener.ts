import type { RemoteInfo, Socket } from "node:dgram";
import { isDeepStrictEqual } from "node:util";
import type { DropReason } from "../../common/drop-reason.ts";
import { err, ok, type Result } from "../../common/result.ts";
import { UserError } from "../../common/user-error.ts";
import { repairPartialChecksum } from "../../packet/checksum-repair.ts";
import { flowHash } from "../../packet/flow-hash.ts";
import { TcpSegments } from "../../packet/tcp-segmentation.ts";
import type { Client } from "../access-log.ts";
import { listenError } from "../listen-error.ts";
import type { Listener, ListenerParts, ListenerSettings } from "../listener.ts";
import { addressFamily } from "../local-address.ts";
import type { Address, TunnelPlan, TunnelProtocol } from "../plan.ts";
import type { SessionInfo } from "../session-info.ts";
import { SessionLedger } from "../session-ledger.ts";
import { type Forwarded, type PacketTally, Tally } from "../tally.ts";
import { Arrival } from "./arrival.ts";
import { bindSocket } from "./bind-socket.ts";
import { type Encapsulation, encapsulationOf } from "./encapsulation.ts";
import type { HealthCheck } from "./health-check.ts";
import { TunnelLanes } from "./lanes.ts";
import { PeerTable } from "./peers.ts";
import { SourcePorts } from "./source-ports.ts";
import { TooBigReplies } from "./too-big-replies.ts";
import { TunnelEgress } from "./tunnel-egress.ts";
import { TunnelJudge, type TunnelJudgement } from "./tunnel-judge.ts";
import { replyBytes, replyDatagram, type TunnelClient, UpstreamFlows } from "./upstream-flows.ts";

/** What a filter can grow a frame by, at most: the slot's room. More is never learned. */
const maxGrownBytes = 256;

/**
 * A UDP socket that VXLAN or GENEVE comes to, and the way of a frame:
 * datagram → peer → header → frame → ingress chain → verdict → peer, port, or nowhere.
 */
export class TunnelListener implements Listener {
  #parts: ListenerParts;
  #plan: TunnelPlan;
  #peers: PeerTable;
  #lanes: TunnelLanes;
  readonly #received: Tally;
  readonly #replied: Tally;
  readonly #encapsulation: Encapsulation;
  readonly #ingress: TunnelJudge;
  readonly #egress: TunnelJudge;
  readonly #arrival: Arrival;
  readonly #reply: Arrival;
  readonly #segments = new TcpSegments();
  readonly #tooBig: TooBigReplies;
  readonly #bridge: TunnelEgress;
  readonly #upstreams: UpstreamFlows;
  #sources: SourcePorts | undefined;
  #healthCheck: HealthCheck | undefined;
  #socket: Socket | undefined;
  #port = 0;
  #isOpen = false;
  /** The most that a filter made a frame longer: super-frames are cut so that this fits behind. */
  #grownBytes = 0;

  constructor(parts: ListenerParts, protocol: TunnelProtocol, plan: TunnelPlan) {
    const { counters, index, clock } = parts;
    this.#parts = parts;
    this.#plan = plan;
    this.#peers = peersOf(parts, plan);
    this.#lanes = new TunnelLanes(counters, plan);
    this.#received = new Tally(counters, index, "ingress");
    this.#replied = new Tally(counters, index, "egress");
    this.#encapsulation = encapsulationOf(protocol);
    const judging = {
      arena: parts.arena,
      slots: parts.slots,
      cpu: parts.cpu,
      captures: parts.captures,
      refreshClock: () => clock.refresh(),
      listener: parts.plan.name,
      host: parts.plan.listen.host,
    };
    this.#ingress = new TunnelJudge(parts.ingress, this.#encapsulation, {
      ...judging,
      direction: "ingress",
    });
    this.#egress = new TunnelJudge(parts.egress, this.#encapsulation, {
      ...judging,
      direction: "egress",
    });
    this.#arrival = new Arrival(protocol);
    this.#reply = new Arrival(protocol);
    this.#tooBig = new TooBigReplies(() => clock.nowMs());
    const lost = (reason: DropReason): void => this.#received.lost(reason);
    this.#bridge = new TunnelEgress(protocol, plan, this.#peers, this.#lanes, lost);
    const tallies = { received: this.#received, replied: this.#replied };
    this.#upstreams = new UpstreamFlows(parts, tallies, {
      onReply: (client, payload, tally) => this.#onReply(client, payload, tally),
    });
    parts.peerPorts.attach(index, this.#bridge);
  }

  async listen(): Promise<Result<Address, UserError>> {
    const { plan, reusePort, cpu } = this.#parts;
    const family = addressFamily(plan.listen.host) === 4 ? 4 : 6;
    const socket = await bindSocket(family, plan.listen.host, plan.listen.port, reusePort);
    if (!socket.ok) return err(listenError(plan, socket.error));
    this.#socket = socket.value;
    socket.value.on("error", () =>
      this.#parts.counters.receiveError(this.#parts.index, "socket_error"),
    );
    const { address, port } = socket.value.address();
    this.#port = port;
    if (this.#plan.mode === "bridge") {
      const opened = await this.#bridge.open(plan.listen.host);
      if (!opened.ok) return this.#refused(listenError(plan, opened.error));
    }
    if (this.#plan.mode === "gwlb") this.#sources = this.#sourcePorts(family);
    const { healthCheck } = this.#plan;
    // One of the workers answers for all: a worker that dies takes the process's readiness along.
    if (healthCheck !== undefined && cpu === 0) {
      // Most workers need no HTTP.
      const { HealthCheck } = await import("./health-check.ts");
      this.#healthCheck = new HealthCheck();
      const listening = await this.#healthCheck.listen(healthCheck);
      if (!listening.ok)
        return this.#refused(
          listenError(
            { name: `${plan.name}, health check`, protocol: "tcp", listen: healthCheck },
            listening.error,
          ),
        );
    }
    socket.value.on("message", (datagram, from) => {
      if (this.#isOpen) this.#onDatagram(datagram, from);
    });
    return ok({ host: address, port });
  }

  open(): void {
    this.#isOpen = true;
    this.#healthCheck?.open();
  }

  /** What it opened sockets for, it has for as long as it has its address. */
  refusal({ plan }: ListenerSettings): UserError | undefined {
    const before = this.#plan;
    const next = plan.tunnel;
    const keep = (what: string): UserError =>
      new UserError(
        "RELOAD_NEEDS_RESTART",
        `listener ${plan.name}`,
        `${what} for as long as the tunnel has its address`,
        "restart the proxy, or give the tunnel another port",
      );
    if (next?.mode !== before.mode) return keep(`mode ${before.mode} stays`);
    if (!isDeepStrictEqual(next.healthCheck, before.healthCheck))
      return keep("healthCheck stays as it is");
    const families = new Set(this.#peers.all.map(({ family }) => family));
    const other = new PeerTable(next.peers, () => 0).all.find(
      ({ family }) => !families.has(family),
    );
    if (next.mode === "bridge" && other !== undefined)
      return keep(`it has no socket for IPv${other.family}, which peer ${other.name} needs,`);
    return undefined;
  }

  follow(settings: ListenerSettings): void {
    const { plan, index, counters, peerPorts } = settings;
    const { tunnel } = plan;
    if (tunnel === undefined) throw new RangeError(`tunnel ${plan.name} has no plan`);
    const peers = peersOf(settings, tunnel);
    for (const before of this.#peers.all) {
      const after = peers.successor(before);
      if (after !== undefined) after.heard = before.heard;
    }
    this.#parts = { ...this.#parts, ...settings };
    this.#plan = tunnel;
    this.#peers = peers;
    this.#lanes = new TunnelLanes(counters, tunnel);
    this.#ingress.follow(settings.ingress, plan.name);
    this.#egress.follow(settings.egress, plan.name);
    this.#upstreams.follow(settings, ({ peer, vni }) =>
      takes(tunnel, vni) ? peers.successor(peer) : undefined,
    );
    this.#received.follow(counters, index);
    this.#replied.follow(counters, index);
    this.#bridge.follow(tunnel, peers, this.#lanes);
    this.#sources?.follow(plan.idleTimeoutMs);
    peerPorts.attach(index, this.#bridge);
  }

  makeRoom(): void {
    this.#upstreams.makeRoom();
  }

  /** Of hosts behind its peers with upstreams that filters redirect to. */
  sessions(): IterableIterator<SessionInfo> {
    return this.#upstreams.sessions();
  }

  /** Datagrams have no end to wait for: everything closes at once. */
  async stop(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    await this.#healthCheck?.close();
    this.#upstreams.close();
    this.#bridge.close();
    this.#sources?.close();
    if (socket === undefined) return;
    const closed = new Promise<void>((resolve) => socket.once("close", resolve));
    socket.close();
    await closed;
  }

  async #refused(error: UserError): Promise<Result<never, UserError>> {
    await this.stop();
    return err(error);
  }

  #sourcePorts(family: 4 | 6): SourcePorts {
    const { plan, clock, reusePort } = this.#parts;
    return new SourcePorts({
      family,
      host: plan.listen.host,
      reusePort,
      idleTimeoutMs: plan.idleTimeoutMs,
      nowMs: () => clock.nowMs(),
      onLost: (reason) => this.#received.lost(reason),
    });
  }

  #onDatagram(datagram: Buffer, from: RemoteInfo): void {
    const problem = this.#read(datagram, from);
    if (problem !== undefined) {
      this.#dropped(from, problem, datagram.length);
      return;
    }
    const arrival = this.#arrival;
    const { mode } = this.#plan;
    if (mode !== "bridge") this.#carry(arrival);
    else if (datagram.length > this.#roomThroughFilters && this.#isSuperFrame(arrival))
      this.#carrySegments(arrival);
    else {
      repairPartialChecksum(datagram, arrival.frame);
      this.#carry(arrival);
    }
  }

  /** Reads tunnel header and frame into `#arrival`; the reason where the datagram is refused. */
  #read(datagram: Buffer, from: RemoteInfo): DropReason | undefined {
    const peer = this.#peers.find(from.address, from.port);
    if (peer === undefined) return "tunnel_unknown_peer";
    const header = this.#encapsulation;
    const bad = header.bind(datagram, datagram.length);
    if (bad !== undefined) return bad;
    const { mode } = this.#plan;
    const vni = header.vni;
    if (!takes(this.#plan, vni)) return "tunnel_unknown_vni";
    peer.heard = true;
    const arrival = this.#arrival;
    arrival.datagram = datagram;
    arrival.payloadAt = header.payloadAt;
    arrival.vni = vni;
    arrival.etherType = header.etherType;
    arrival.peer = peer;
    arrival.address = from.address;
    arrival.port = from.port;
    this.#lanes.received(peer, vni, datagram.length - arrival.payloadAt);
    const problem = arrival.bindFrame();
    // Mirrored packets may be cut short: what is there is for the filters to read.
    if (problem !== undefined && (mode !== "mirror" || arrival.frameBytes < shortestFrame(arrival)))
      return problem;
    if (mode === "bridge") arrival.hash = flowHash(datagram, arrival.payloadAt, arrival.frame);
    return undefined;
  }

  /** Longest datagram that may go in, so that it goes out however much filters add. */
  get #roomThroughFilters(): number {
    return this.#bridge.room - this.#grownBytes;
  }

  #isSuperFrame({ datagram, payloadAt, frame }: Arrival): boolean {
    const most = this.#roomThroughFilters - payloadAt;
    return this.#segments.bind(datagram, payloadAt, frame, most);
  }

  /** Cuts what a network card should have cut, and carries each segment as if it had come alone. */
  #carrySegments(arrival: Arrival): void {
    const segments = this.#segments;
    const { datagram, payloadAt } = arrival;
    const header = datagram.subarray(0, payloadAt);
    const stride = this.#roomThroughFilters;
    const out = Buffer.allocUnsafeSlow(segments.count * stride);
    const count = segments.count;
    for (let i = 0; i < count; i++) {
      const at = i * stride;
      out.set(header, at);
      const length = segments.write(i, out, at + payloadAt);
      arrival.datagram = out.subarray(at, at + payloadAt + length);
      // A segment of a frame that was well-formed is so too.
      arrival.bindFrame();
      this.#carry(arrival);
    }
  }

  #carry(arrival: Arrival): void {
    const judgement = this.#ingress.judge(arrival);
    const { verdict, frameBytes } = judgement;
    switch (verdict.kind) {
      case "drop":
      case "aborted":
        this.#logDrop(arrival, verdict.reason);
        this.#received.ended(verdict, frameBytes);
        return;
      case "pass":
        this.#pass(arrival, judgement);
        return;
      case "tx":
        if (this.#plan.mode === "bridge")
          this.#toPeer(arrival, judgement, "tx", this.#bridge, arrival.peer.index);
        else this.#return(arrival, judgement, "tx");
        return;
      case "redirect":
        this.#redirect(arrival, judgement, verdict.ifindex);
    }
  }

  #pass(arrival: Arrival, judgement: TunnelJudgement): void {
    if (this.#plan.mode === "mirror") this.#received.forwarded("pass", judgement.frameBytes);
    else if (this.#plan.mode === "gwlb") this.#return(arrival, judgement, "pass");
    else if (this.#peers.all.length === 2)
      this.#toPeer(arrival, judgement, "pass", this.#bridge, 1 - arrival.peer.index);
    // Among more peers only a filter knows where a frame belongs.
    else this.#dropped(arrival, "tunnel_no_destination", judgement.frameBytes);
  }

  #redirect(arrival: Arrival, judgement: TunnelJudgement, ifindex: number): void {
    const { frameBytes, datagram } = judgement;
    if (this.#plan.mode === "mirror") {
      this.#dropped(arrival, "tunnel_mirror_only", frameBytes);
      return;
    }
    const port = this.#parts.peerPorts.find(ifindex);
    if (port !== undefined) {
      this.#toPeer(arrival, judgement, "redirect", port.egress, port.peer);
      return;
    }
    const upstream = this.#parts.destinations.port(ifindex);
    const reason =
      upstream === undefined
        ? "redirect_unknown_port"
        : this.#upstreams.send(arrival, datagram, upstream);
    if (reason !== undefined) this.#dropped(arrival, reason, frameBytes);
  }

  #toPeer(
    arrival: Arrival,
    { datagram, frameBytes, route }: TunnelJudgement,
    kind: Forwarded,
    egress: TunnelEgress,
    peer: number,
  ): void {
    const grown = datagram.length - arrival.datagram.length;
    if (grown > this.#grownBytes) this.#grownBytes = Math.min(grown, maxGrownBytes);
    const dropped = egress.deliver(peer, datagram, arrival, route);
    if (dropped === undefined) this.#received.forwarded(kind, frameBytes);
    else {
      this.#dropped(arrival, dropped, frameBytes);
      if (dropped === "mtu_exceeded") this.#tellTooBig(arrival, egress.excess);
    }
  }

  /** ICMP to the sender: its packet was `excess` bytes too long. */
  #tellTooBig(arrival: Arrival, excess: number): void {
    const answer = this.#tooBig.answer(arrival, excess);
    if (answer === undefined) return;
    if (this.#plan.mode === "bridge") this.#bridge.deliver(arrival.peer.index, answer, arrival);
    else this.#sendBack(arrival, answer);
  }

  /** Where there is no bridge, what goes out goes back to where it came from. */
  #return(arrival: Arrival, { datagram, frameBytes }: TunnelJudgement, kind: "pass" | "tx"): void {
    if (this.#plan.mode === "mirror") {
      this.#dropped(arrival, "tunnel_mirror_only", frameBytes);
      return;
    }
    // What came the way may go it; a filter may have made it longer.
    const excess = datagram.length - Math.max(arrival.datagram.length, this.#bridge.room);
    if (excess > 0) {
      this.#dropped(arrival, "mtu_exceeded", frameBytes);
      this.#tellTooBig(arrival, excess);
      return;
    }
    const dropped = this.#sendBack(arrival, datagram);
    if (dropped === undefined) this.#received.forwarded(kind, frameBytes);
    else this.#dropped(arrival, dropped, frameBytes);
  }

  /** Outer addresses swapped, both UDP ports kept: from the port it came from, to our own number. */
  #sendBack(arrival: Arrival, datagram: Uint8Array): DropReason | undefined {
    const { port, address, payloadAt, peer, vni } = arrival;
    if (this.#sources === undefined) return "shutting_down";
    const dropped = this.#sources.send(port, datagram, this.#port, address);
    if (dropped === undefined) this.#lanes.sent(peer, vni, datagram.length - payloadAt);
    return dropped;
  }

  #onReply(client: TunnelClient, payload: Uint8Array, tally: PacketTally): void {
    const bytes = replyBytes(client, payload);
    if (bytes > this.#bridge.room) {
      tally.dropped("mtu_exceeded", bytes - client.header.length);
      return;
    }
    const reply = this.#reply;
    reply.datagram = replyDatagram(client, payload);
    reply.payloadAt = client.header.length;
    reply.vni = client.vni;
    reply.etherType = client.etherType;
    reply.peer = client.peer;
    reply.address = client.address;
    reply.port = client.port;
    reply.hash = client.hash;
    const { verdict, datagram, frameBytes } = this.#egress.judge(reply);
    if (verdict.kind === "drop" || verdict.kind === "aborted") {
      tally.ended(verdict, frameBytes);
      return;
    }
    // Replies go to the client and nowhere else, so nothing can loop.
    const dropped =
      verdict.kind !== "pass"
        ? "not_routable"
        : this.#plan.mode === "bridge"
          ? this.#bridge.deliver(client.peer.index, datagram, reply)
          : this.#sendBack(reply, datagram);
    if (dropped === undefined) tally.forwarded("pass", frameBytes);
    else tally.dropped(dropped, frameBytes);
  }

  /** A frame that ends here. `from` is its outer source. */
  #dropped(from: Client, reason: DropReason, frameBytes: number): void {
    this.#logDrop(from, reason);
    this.#received.dropped(reason, frameBytes);
  }

  #logDrop(from: Client, reason: DropReason): void {
    const { accessLog, plan } = this.#parts;
    SessionLedger.dropOf(accessLog, plan, from, reason);
  }
}

function peersOf(
  { plan, index, peerPorts }: Pick<ListenerSettings, "plan" | "index" | "peerPorts">,
  tunnel: TunnelPlan,
): PeerTable {
  return new PeerTable(tunnel.peers, (peer) => peerPorts.numberOf(index, peer) ?? plan.ifindex);
}

/** Whether a tunnel takes frames of this network. */
function takes({ vnis }: TunnelPlan, vni: number): boolean {
  return vnis.length === 0 || vnis.includes(vni);
}

/** Of what filters see: an Ethernet header must be there to be read, or made from an IP header. */
function shortestFrame({ missingBytes }: Arrival): number {
  return missingBytes === 0 ? 14 : missingBytes + 40;
}
