import { isDeepStrictEqual } from "node:util";
import type { DropReason } from "../../common/drop-reason.ts";
import { err, type Result } from "../../common/result.ts";
import { UserError } from "../../common/user-error.ts";
import { frameOffset } from "../../engine/packet-slot.ts";
import type { Counters } from "../../filter/counters.ts";
import type { PartialSum } from "../../packet/checksum.ts";
import { repairPartialChecksum } from "../../packet/checksum-repair.ts";
import { ethernet } from "../../packet/ethernet.ts";
import { flowHash } from "../../packet/flow-hash.ts";
import { SLOT_BYTES } from "../../runtime/wasm/layout.ts";
import type { Client } from "../access-log.ts";
import type { Arrivals, ListenerSocket } from "../datagram-socket.ts";
import { dgramSendingSockets } from "../dgram-sending-socket.ts";
import { dgramSockets } from "../dgram-socket.ts";
import { listenError } from "../listen-error.ts";
import type { Listener, ListenerParts, ListenerSettings } from "../listener.ts";
import { addressFamily } from "../local-address.ts";
import type { Address, TunnelPlan, TunnelProtocol } from "../plan.ts";
import type { SessionInfo } from "../session-info.ts";
import { SessionLedger } from "../session-ledger.ts";
import { type Forwarded, type PacketTally, Tally } from "../tally.ts";
import { Arrival, type OuterSource } from "./arrival.ts";
import { type Encapsulation, encapsulationOf } from "./encapsulation.ts";
import type { HealthCheck } from "./health-check.ts";
import { TunnelLanes } from "./lanes.ts";
import { type Peer, PeerTable } from "./peers.ts";
import { SourcePorts } from "./source-ports.ts";
import { SuperFrames } from "./super-frames.ts";
import { TooBigReplies } from "./too-big-replies.ts";
import { TunnelEgress } from "./tunnel-egress.ts";
import { TunnelJudge, type TunnelJudgement } from "./tunnel-judge.ts";
import { replyBytes, replyDatagram, type TunnelClient, UpstreamFlows } from "./upstream-flows.ts";

/** An outer source, and the peer that it is; undefined: a stranger. */
interface Source extends OuterSource {
  readonly peer: Peer | undefined;
  /** The peers that it was looked for among. */
  readonly table: PeerTable;
}

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
  readonly #protocol: TunnelProtocol;
  /** Of what came together, by its place. */
  readonly #arrivals: Arrival[] = [];
  readonly #reply: Arrival;
  readonly #superFrames: SuperFrames;
  /** Sums what lies in packet slots. */
  readonly #sum: PartialSum | undefined;
  readonly #tooBig: TooBigReplies;
  readonly #bridge: TunnelEgress;
  readonly #upstreams: UpstreamFlows;
  #sources: SourcePorts | undefined;
  #healthCheck: HealthCheck | undefined;
  readonly #socket: ListenerSocket<Source>;
  #port = 0;
  #isOpen = false;
  /** The most that a filter made a frame longer: super-frames are cut so that this fits behind. */
  #grownBytes = 0;

  constructor(parts: ListenerParts, protocol: TunnelProtocol, plan: TunnelPlan) {
    const { counters, index, clock } = parts;
    this.#parts = parts;
    this.#plan = plan;
    this.#peers = peersOf(parts, plan);
    this.#received = new Tally(counters, index, "ingress");
    this.#replied = new Tally(counters, index, "egress");
    this.#lanes = this.#lanesOf(counters, plan);
    this.#protocol = protocol;
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
    this.#reply = new Arrival(protocol);
    this.#tooBig = new TooBigReplies(() => clock.nowMs());
    const { batches, sums } = parts;
    const sending = batches ?? dgramSendingSockets;
    this.#bridge = new TunnelEgress(protocol, plan, this.#peers, this.#lanes, sending, (reason) =>
      this.#received.lost(reason),
    );
    this.#superFrames = new SuperFrames(parts);
    if (batches !== undefined)
      this.#sum = (bytes, from, to, initial = 0) =>
        initial + sums.internetSum(bytes.byteOffset + from, bytes.byteOffset + to);
    const tallies = { received: this.#received, replied: this.#replied };
    this.#upstreams = new UpstreamFlows(parts, tallies, {
      onReply: (client, payload, tally) => this.#onReply(client, payload, tally),
    });
    const family = addressFamily(parts.plan.listen.host) === 4 ? 4 : 6;
    this.#socket = (batches ?? dgramSockets).listener<Source>(
      family,
      {
        onDatagrams: (arrivals) => this.#onDatagrams(arrivals),
        peer: (address, port) => this.#source(address, port),
        isCurrent: (source) => source.table === this.#peers,
        onError: () => this.#parts.counters.receiveError(this.#parts.index, "socket_error"),
      },
      datagramOffset(protocol),
    );
    parts.peerPorts.attach(index, this.#bridge);
  }

  async listen(): Promise<Result<Address, UserError>> {
    const { plan, reusePort, cpu } = this.#parts;
    const bound = await this.#socket.bind(plan.listen, reusePort);
    if (!bound.ok) return err(listenError(plan, bound.error));
    this.#port = bound.value.port;
    if (this.#plan.mode === "bridge") {
      const opened = await this.#bridge.open(plan.listen.host);
      if (!opened.ok) return this.#refused(listenError(plan, opened.error));
    }
    if (this.#plan.mode === "gwlb") this.#sources = this.#sourcePorts();
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
    return bound;
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
    const { io = "dgram" } = this.#parts.plan;
    if ((plan.io ?? "dgram") !== io) return keep(`io ${io} stays`);
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
    this.#lanes = this.#lanesOf(counters, tunnel);
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
    this.#isOpen = false;
    await this.#healthCheck?.close();
    this.#upstreams.close();
    this.#bridge.close();
    this.#sources?.close();
    await this.#socket.close();
  }

  async #refused(error: UserError): Promise<Result<never, UserError>> {
    await this.stop();
    return err(error);
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

  #lanesOf(counters: Counters, plan: TunnelPlan): TunnelLanes {
    return new TunnelLanes(counters, plan, (reason) => this.#received.lost(reason));
  }

  #source(address: string, port: number): Source {
    const table = this.#peers;
    const answers =
      this.#plan.mode === "gwlb" ? { address, port: this.#port, socketName: undefined } : undefined;
    return {
      address,
      port,
      socketName: undefined,
      answers,
      peer: table.find(address, port),
      table,
    };
  }

  /** Frames that came together are judged together, but for those that end here or are cut first. */
  #onDatagrams({ count, payloads, peers }: Arrivals<Source>): void {
    if (!this.#isOpen) return;
    let first = 0;
    for (let i = 0; i < count; i++) {
      const arrival = this.#arrivals[i] ?? new Arrival(this.#protocol);
      this.#arrivals[i] = arrival;
      const datagram = payloads[i]!;
      const problem = this.#read(arrival, datagram, peers[i]!);
      const isWhole = problem === undefined && !this.#isSuperFrame(arrival);
      if (isWhole) continue;
      this.#carryAll(first, i);
      first = i + 1;
      if (problem === undefined) this.#carrySegments(arrival);
      else this.#dropped(peers[i]!, problem, datagram.length);
    }
    this.#carryAll(first, count);
  }

  /** Reads tunnel header and frame; the reason where the datagram is refused. */
  #read(arrival: Arrival, datagram: Buffer, from: Source): DropReason | undefined {
    const { peer } = from;
    if (peer === undefined) return "tunnel_unknown_peer";
    const header = this.#encapsulation;
    const bad = header.bind(datagram, datagram.length);
    if (bad !== undefined) return bad;
    const { mode } = this.#plan;
    const { vni } = header;
    if (!takes(this.#plan, vni)) return "tunnel_unknown_vni";
    peer.heard = true;
    arrival.take(datagram, header.payloadAt);
    arrival.vni = vni;
    arrival.etherType = header.etherType;
    arrival.peer = peer;
    arrival.outer = from;
    arrival.slot = this.#slotOf(datagram);
    this.#lanes.of(peer, vni).received(datagram.length - arrival.payloadAt);
    const problem = arrival.bindFrame();
    // Mirrored packets may be cut short: what is there is for the filters to read.
    if (problem !== undefined && (mode !== "mirror" || arrival.frameBytes < shortestFrame(arrival)))
      return problem;
    if (mode === "bridge") arrival.hash = flowHash(datagram, arrival.payloadAt, arrival.frame);
    return undefined;
  }

  /** The packet slot that a datagram came into; -1: none. */
  #slotOf(datagram: Buffer): number {
    const { arena, slots } = this.#parts;
    const at = arena.offsetOf(datagram);
    return at < 0 ? -1 : slots.slotAt(at);
  }

  /** Longest datagram that may go in, so that it goes out however much filters add. */
  get #roomThroughFilters(): number {
    return this.#bridge.room - this.#grownBytes;
  }

  #isSuperFrame(arrival: Arrival): boolean {
    const most = this.#roomThroughFilters;
    return (
      this.#plan.mode === "bridge" &&
      arrival.datagram.length > most &&
      this.#superFrames.bind(arrival, most)
    );
  }

  /** Cuts what a network card should have cut, and carries each segment as if it had come alone. */
  #carrySegments(arrival: Arrival): void {
    const { frameBytes } = arrival;
    const hasRoom = this.#superFrames.carry(arrival, this.#ingress, () => this.#carry(arrival));
    if (!hasRoom) this.#dropped(arrival, "no_packet_slot", frameBytes);
  }

  /** Carries the frames from number `first` up to `end` of those that came together. */
  #carryAll(first: number, end: number): void {
    if (first === end) return;
    const { mode } = this.#plan;
    const arrivals = this.#arrivals;
    const judge = this.#ingress;
    const isTogether = end - first > 1 && arrivals[first]!.slot >= 0 && judge.canBatch;
    for (let i = first; i < end; i++) {
      const arrival = arrivals[i]!;
      const { datagram, slot } = arrival;
      if (mode === "bridge") repairPartialChecksum(datagram, arrival.frame, this.#sum);
      if (slot >= 0 && datagram.length > this.#roomThroughFilters) arrival.keepQuote();
      if (isTogether) judge.prepare(arrival);
    }
    if (isTogether) judge.together(arrivals[first]!.slot, SLOT_BYTES, end - first);
    else judge.apart();
    for (let i = first; i < end; i++) this.#carry(arrivals[i]!);
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
    judgement: TunnelJudgement,
    kind: Forwarded,
    egress: TunnelEgress,
    peer: number,
  ): void {
    const { datagram, frameBytes, route } = judgement;
    this.#learnGrowth(arrival, datagram);
    const dropped = egress.deliver(peer, datagram, arrival, route);
    if (dropped === undefined) this.#received.forwarded(kind, frameBytes);
    else {
      this.#dropped(arrival, dropped, frameBytes);
      if (dropped === "mtu_exceeded") this.#tellTooBig(arrival, judgement, egress.excess);
    }
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
  #return(arrival: Arrival, judgement: TunnelJudgement, kind: "pass" | "tx"): void {
    const { datagram, frameBytes } = judgement;
    if (this.#plan.mode === "mirror") {
      this.#dropped(arrival, "tunnel_mirror_only", frameBytes);
      return;
    }
    this.#learnGrowth(arrival, datagram);
    // What came the way may go it; a filter may have made it longer.
    const excess = datagram.length - Math.max(arrival.datagram.length, this.#bridge.room);
    if (excess > 0) {
      this.#dropped(arrival, "mtu_exceeded", frameBytes);
      this.#tellTooBig(arrival, judgement, excess);
      return;
    }
    const dropped = this.#sendBack(arrival, datagram);
    if (dropped === undefined) this.#received.forwarded(kind, frameBytes);
    else this.#dropped(arrival, dropped, frameBytes);
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

/**
 * Where in a slot a datagram is received: its frame then lies where frames do. GENEVE's may have an
 * Ethernet header put in front.
 */
function datagramOffset(protocol: TunnelProtocol): number {
  const missingBytes = protocol === "geneve" ? ethernet.headerBytes : 0;
  return frameOffset + missingBytes - encapsulationOf(protocol).headerBytes(0);
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
