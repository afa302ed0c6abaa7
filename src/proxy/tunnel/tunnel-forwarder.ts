import type { DropReason } from "../../common/drop-reason.ts";
import { ok, type Result } from "../../common/result.ts";
import { shortfall } from "../../filter/broadcasts.ts";
import type { Counters } from "../../filter/counters.ts";
import type { Broadcast } from "../../filter/verdict.ts";
import type { TunnelProtocol } from "../../packet/tunnel-header.ts";
import type { Client } from "../access-log.ts";
import { dgramSendingSockets } from "../dgram-sending-socket.ts";
import type { ListenerParts, ListenerSettings } from "../listener.ts";
import { addressFamily } from "../local-address.ts";
import type { TunnelPlan } from "../plan.ts";
import type { SessionInfo } from "../session-info.ts";
import { SessionLedger } from "../session-ledger.ts";
import { type Forwarded, type PacketTally, Tally } from "../tally.ts";
import { Arrival } from "./arrival.ts";
import { TunnelLanes } from "./lanes.ts";
import type { Peer, PeerTable } from "./peers.ts";
import { SourcePorts } from "./source-ports.ts";
import { TooBigReplies } from "./too-big-replies.ts";
import { type Delivered, TunnelEgress } from "./tunnel-egress.ts";
import type { TunnelJudge, TunnelJudgement } from "./tunnel-judge.ts";
import { replyBytes, replyDatagram, type TunnelClient, UpstreamFlows } from "./upstream-flows.ts";

/** What a filter can grow a frame by, at most: the slot's room. More is never learned. */
const maxGrownBytes = 256;

/**
 * What becomes of a tunnel's frames that have been judged: to a peer, back, to an upstream, or nowhere;
 * and of what upstreams answer. Each frame is counted here once.
 */
export class TunnelForwarder {
  #parts: ListenerParts;
  #plan: TunnelPlan;
  #peers: PeerTable;
  #lanes: TunnelLanes;
  readonly #received: Tally;
  readonly #replied: Tally;
  /** Judges what upstreams answer. */
  readonly #egress: TunnelJudge;
  readonly #reply: Arrival;
  readonly #tooBig: TooBigReplies;
  readonly #bridge: TunnelEgress;
  readonly #upstreams: UpstreamFlows;
  #sources: SourcePorts | undefined;
  /** The most that a filter made a frame longer: super-frames are cut so that this fits behind. */
  #grownBytes = 0;

  constructor(
    parts: ListenerParts,
    protocol: TunnelProtocol,
    plan: TunnelPlan,
    peers: PeerTable,
    egress: TunnelJudge,
  ) {
    const { counters, index, clock } = parts;
    this.#parts = parts;
    this.#plan = plan;
    this.#peers = peers;
    this.#egress = egress;
    this.#received = new Tally(counters, index, "ingress");
    this.#replied = new Tally(counters, index, "egress");
    this.#lanes = this.#lanesOf(counters, plan);
    this.#reply = new Arrival(protocol);
    this.#tooBig = new TooBigReplies(() => clock.nowMs());
    const sending = parts.batches ?? dgramSendingSockets;
    this.#bridge = new TunnelEgress(protocol, plan, peers, this.#lanes, sending, (reason) =>
      this.#received.lost(reason),
    );
    const tallies = { received: this.#received, replied: this.#replied };
    this.#upstreams = new UpstreamFlows(parts, tallies, {
      onReply: (client, payload, tally) => this.#onReply(client, payload, tally),
    });
    parts.peerPorts.attach(index, this.#bridge);
  }

  /** Opens what it sends from. */
  async open(): Promise<Result<undefined, NodeJS.ErrnoException>> {
    const { mode } = this.#plan;
    if (mode === "bridge") return this.#bridge.open(this.#parts.plan.listen.host);
    if (mode === "gwlb") this.#sources = this.#sourcePorts();
    return ok(undefined);
  }

  /** Goes on as another plan says: `tunnel`, with `peers`. `successor` is what a peer has become. */
  follow(
    settings: ListenerSettings,
    tunnel: TunnelPlan,
    peers: PeerTable,
    successor: (client: TunnelClient) => Peer | undefined,
  ): void {
    const { plan, index, counters, peerPorts } = settings;
    this.#parts = { ...this.#parts, ...settings };
    this.#plan = tunnel;
    this.#peers = peers;
    this.#lanes = this.#lanesOf(counters, tunnel);
    this.#upstreams.follow(settings, successor);
    this.#received.follow(counters, index);
    this.#replied.follow(counters, index);
    this.#bridge.follow(tunnel, peers, this.#lanes);
    this.#sources?.follow(plan.idleTimeoutMs);
    peerPorts.attach(index, this.#bridge);
  }

  makeRoom(): void {
    this.#upstreams.makeRoom();
  }

  sessions(): IterableIterator<SessionInfo> {
    return this.#upstreams.sessions();
  }

  close(): void {
    this.#upstreams.close();
    this.#bridge.close();
    this.#sources?.close();
  }

  /** A frame of `frameBytes` came from a peer, in a network that the tunnel takes. */
  heard(peer: Peer, vni: number, frameBytes: number): void {
    this.#lanes.of(peer, vni).received(frameBytes);
  }

  /** Longest datagram that may go to filters, so that it goes out however much they add. */
  get roomThroughFilters(): number {
    return this.#bridge.room - this.#grownBytes;
  }

  /** A frame that ends here, for the reason that is returned. `from` is its outer source. */
  drop(from: Client, reason: DropReason, frameBytes: number): DropReason {
    this.#logDrop(from, reason);
    this.#received.dropped(reason, frameBytes);
    return reason;
  }

  /** Does with a frame what its judgement says; the reason where that came to nothing. */
  forward(arrival: Arrival, judgement: TunnelJudgement): Delivered {
    const { verdict, frameBytes } = judgement;
    switch (verdict.kind) {
      case "drop":
      case "aborted":
        this.#logDrop(arrival, verdict.reason);
        this.#received.ended(verdict, frameBytes);
        return undefined;
      case "pass":
        return this.#pass(arrival, judgement);
      case "tx":
        return this.#plan.mode === "bridge"
          ? this.#toPeer(arrival, judgement, "tx", this.#bridge, arrival.peer.index)
          : this.#return(arrival, judgement, "tx");
      case "redirect":
        return verdict.broadcast === undefined
          ? this.#redirect(arrival, judgement, verdict.ifindex)
          : this.#toAll(arrival, judgement, verdict.broadcast);
    }
  }

  #pass(arrival: Arrival, judgement: TunnelJudgement): Delivered {
    const { mode } = this.#plan;
    if (mode === "mirror") {
      this.#received.forwarded("pass", judgement.frameBytes);
      return undefined;
    }
    if (mode === "gwlb") return this.#return(arrival, judgement, "pass");
    if (this.#peers.all.length === 2)
      return this.#toPeer(arrival, judgement, "pass", this.#bridge, 1 - arrival.peer.index);
    // Among more peers only a filter knows where a frame belongs.
    return this.drop(arrival, "tunnel_no_destination", judgement.frameBytes);
  }

  /** To each port of a broadcast, counted each; the last reason where it came to nothing at all. */
  #toAll(arrival: Arrival, judgement: TunnelJudgement, broadcast: Broadcast): Delivered {
    const { frameBytes } = judgement;
    if (this.#plan.mode === "mirror") return this.drop(arrival, "tunnel_mirror_only", frameBytes);
    const missing = shortfall(broadcast);
    let reason = missing && this.drop(arrival, missing, frameBytes);
    let isSent = false;
    for (const port of broadcast.ports) {
      const dropped = this.#redirect(arrival, judgement, port);
      if (dropped === undefined) isSent = true;
      else reason = dropped;
    }
    return isSent ? undefined : reason;
  }

  #redirect(arrival: Arrival, judgement: TunnelJudgement, ifindex: number): Delivered {
    const { frameBytes, datagram } = judgement;
    if (this.#plan.mode === "mirror") return this.drop(arrival, "tunnel_mirror_only", frameBytes);
    const port = this.#parts.peerPorts.find(ifindex);
    if (port !== undefined)
      return this.#toPeer(arrival, judgement, "redirect", port.egress, port.peer);
    const upstream = this.#parts.destinations.port(ifindex);
    const reason =
      upstream === undefined
        ? "redirect_unknown_port"
        : this.#upstreams.send(arrival, datagram, upstream);
    return reason === undefined ? undefined : this.drop(arrival, reason, frameBytes);
  }

  #toPeer(
    arrival: Arrival,
    judgement: TunnelJudgement,
    kind: Forwarded,
    egress: TunnelEgress,
    peer: number,
  ): Delivered {
    const { datagram, frameBytes, route } = judgement;
    this.#learnGrowth(arrival, datagram);
    const dropped = egress.deliver(peer, datagram, arrival, route);
    if (dropped === undefined) this.#received.forwarded(kind, frameBytes);
    else {
      this.drop(arrival, dropped, frameBytes);
      if (dropped === "mtu_exceeded") this.#tellTooBig(arrival, judgement, egress.excess);
    }
    return dropped;
  }

  #learnGrowth(arrival: Arrival, datagram: Uint8Array): void {
    const grown = datagram.length - arrival.datagram.length;
    if (grown > this.#grownBytes) this.#grownBytes = Math.min(grown, maxGrownBytes);
  }

  /**
   * ICMP to the sender: its packet was `excess` bytes too long. Not where a filter has written over
   * what came, and nobody could know that it would come to be too long: the next time it is known.
   */
  #tellTooBig(arrival: Arrival, { isRewritten }: TunnelJudgement, excess: number): void {
    const isGone = isRewritten && arrival.slot >= 0;
    // A segment's frame is still the super-frame's.
    if (!isGone) arrival.bindFrame();
    const quoted = isGone ? arrival.quote : arrival.datagram;
    if (quoted === undefined) return;
    const answer = this.#tooBig.answer(arrival, quoted, excess);
    if (answer === undefined) return;
    if (this.#plan.mode === "bridge") this.#bridge.deliver(arrival.peer.index, answer, arrival);
    else this.#sendBack(arrival, answer);
  }

  /** Where there is no bridge, what goes out goes back to where it came from. */
  #return(arrival: Arrival, judgement: TunnelJudgement, kind: "pass" | "tx"): Delivered {
    const { datagram, frameBytes } = judgement;
    if (this.#plan.mode === "mirror") return this.drop(arrival, "tunnel_mirror_only", frameBytes);
    this.#learnGrowth(arrival, datagram);
    // What came the way may go it; a filter may have made it longer.
    const excess = datagram.length - Math.max(arrival.datagram.length, this.#bridge.room);
    if (excess > 0) {
      this.drop(arrival, "mtu_exceeded", frameBytes);
      this.#tellTooBig(arrival, judgement, excess);
      return "mtu_exceeded";
    }
    const dropped = this.#sendBack(arrival, datagram);
    if (dropped === undefined) this.#received.forwarded(kind, frameBytes);
    else this.drop(arrival, dropped, frameBytes);
    return dropped;
  }

  /** Outer addresses swapped, both UDP ports kept: from the port it came from, to our own number. */
  #sendBack(arrival: Arrival, datagram: Uint8Array): DropReason | undefined {
    const { outer, payloadAt, peer, vni } = arrival;
    if (this.#sources === undefined || outer.answers === undefined) return "shutting_down";
    const frameBytes = datagram.length - payloadAt;
    const lane = this.#lanes.of(peer, vni);
    return this.#sources.send(outer.port, datagram, outer.answers, frameBytes, lane);
  }

  #onReply(client: TunnelClient, payload: Uint8Array, tally: PacketTally): void {
    const bytes = replyBytes(client, payload);
    if (bytes > this.#bridge.room) {
      tally.dropped("mtu_exceeded", bytes - client.header.length);
      return;
    }
    const reply = this.#reply;
    reply.take(replyDatagram(client, payload), client.header.length);
    reply.vni = client.vni;
    reply.etherType = client.etherType;
    reply.peer = client.peer;
    reply.outer = client.outer;
    reply.hash = client.hash;
    const { verdict, datagram, frameBytes } = this.#egress.judge(reply);
    if (verdict.kind === "drop" || verdict.kind === "aborted") {
      this.#egress.settled(undefined);
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
    this.#egress.settled(dropped);
    if (dropped === undefined) tally.forwarded("pass", frameBytes);
    else tally.dropped(dropped, frameBytes);
  }

  #logDrop(from: Client, reason: DropReason): void {
    const { accessLog, plan } = this.#parts;
    SessionLedger.dropOf(accessLog, plan, from, reason);
  }

  #lanesOf(counters: Counters, plan: TunnelPlan): TunnelLanes {
    return new TunnelLanes(counters, plan, (reason) => this.#received.lost(reason));
  }

  #sourcePorts(): SourcePorts {
    const { plan, clock, reusePort, batches } = this.#parts;
    return new SourcePorts({
      sockets: batches ?? dgramSendingSockets,
      family: addressFamily(plan.listen.host) === 4 ? 4 : 6,
      host: plan.listen.host,
      reusePort,
      idleTimeoutMs: plan.idleTimeoutMs,
      nowMs: () => clock.nowMs(),
      onLost: (reason) => this.#received.lost(reason),
    });
  }
}
