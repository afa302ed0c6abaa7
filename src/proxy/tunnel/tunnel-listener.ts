import { isDeepStrictEqual } from "node:util";
import type { DropReason } from "../../common/drop-reason.ts";
import { err, type Result } from "../../common/result.ts";
import { UserError } from "../../common/user-error.ts";
import { frameOffset } from "../../engine/packet-slot.ts";
import type { Direction } from "../../filter/verdict.ts";
import type { PartialSum } from "../../packet/checksum.ts";
import { isSoundSegment, repairPartialChecksum } from "../../packet/checksum-repair.ts";
import { ethernet } from "../../packet/ethernet.ts";
import { flowHash } from "../../packet/flow-hash.ts";
import type { TunnelProtocol } from "../../packet/tunnel-header.ts";
import { SLOT_BYTES } from "../../runtime/wasm/layout.ts";
import type { Arrivals, ListenerSocket } from "../datagram-socket.ts";
import { dgramSockets } from "../dgram-socket.ts";
import { listenError } from "../listen-error.ts";
import type { Listener, ListenerParts, ListenerSettings } from "../listener.ts";
import { addressFamily } from "../local-address.ts";
import type { Address, TunnelPlan } from "../plan.ts";
import type { SessionInfo } from "../session-info.ts";
import { Arrival, type OuterSource } from "./arrival.ts";
import { type Encapsulation, encapsulationOf } from "./encapsulation.ts";
import type { HealthCheck } from "./health-check.ts";
import { type Peer, PeerTable } from "./peers.ts";
import { SuperFrames } from "./super-frames.ts";
import { type OuterEnds, TunnelCapture } from "./tunnel-capture.ts";
import { TunnelForwarder } from "./tunnel-forwarder.ts";
import { TunnelJudge } from "./tunnel-judge.ts";

/** An outer source, and the peer that it is; undefined: a stranger. */
interface Source extends OuterSource {
  readonly peer: Peer | undefined;
  /** The peers that it was looked for among. */
  readonly table: PeerTable;
}

/**
 * A UDP socket that VXLAN or GENEVE comes to, and the way of a frame:
 * datagram → peer → header → frame → ingress chain → verdict → peer, port, or nowhere.
 */
export class TunnelListener implements Listener {
  #parts: ListenerParts;
  #plan: TunnelPlan;
  #peers: PeerTable;
  readonly #encapsulation: Encapsulation;
  readonly #ingress: TunnelJudge;
  readonly #egress: TunnelJudge;
  readonly #capture: TunnelCapture;
  readonly #forwarder: TunnelForwarder;
  readonly #protocol: TunnelProtocol;
  /** Of what came together, by its place. */
  readonly #arrivals: Arrival[] = [];
  readonly #superFrames: SuperFrames;
  /** Sums what lies in packet slots. */
  readonly #sum: PartialSum | undefined;
  readonly #healthCheck: HealthCheck | undefined;
  readonly #socket: ListenerSocket<Source>;
  #port = 0;
  #isOpen = false;

  /** `healthCheck` answers load balancers; undefined where the plan has none, or another worker's does. */
  constructor(
    parts: ListenerParts,
    protocol: TunnelProtocol,
    plan: TunnelPlan,
    healthCheck: HealthCheck | undefined,
  ) {
    const { clock } = parts;
    this.#parts = parts;
    this.#plan = plan;
    this.#healthCheck = healthCheck;
    this.#peers = peersOf(parts, plan);
    this.#protocol = protocol;
    this.#encapsulation = encapsulationOf(protocol);
    const judging = {
      arena: parts.arena,
      slots: parts.slots,
      cpu: parts.cpu,
      refreshClock: () => clock.refresh(),
      host: parts.plan.listen.host,
    };
    const captureOf = (direction: Direction, endsOf: (arrival: Arrival) => OuterEnds) =>
      new TunnelCapture(parts.captures, { listener: parts.plan.name, direction }, endsOf);
    this.#capture = captureOf("ingress", (arrival) => this.#endsOf(arrival));
    const replies = captureOf("egress", (reply) => this.#replyEndsOf(reply));
    const encapsulation = this.#encapsulation;
    this.#ingress = new TunnelJudge(parts.ingress, encapsulation, this.#capture, judging);
    this.#egress = new TunnelJudge(parts.egress, encapsulation, replies, judging);
    this.#forwarder = new TunnelForwarder(parts, protocol, plan, this.#peers, this.#egress);
    const { batches, sums } = parts;
    this.#superFrames = new SuperFrames(parts);
    if (batches !== undefined)
      this.#sum = (bytes, from, to, initial = 0) =>
        initial + sums.internetSum(bytes.byteOffset + from, bytes.byteOffset + to);
    const family = addressFamily(parts.plan.listen.host) === 4 ? 4 : 6;
    this.#socket = (batches ?? dgramSockets).listener<Source>(
      family,
      {
        onDatagrams: (arrivals) => this.#onDatagrams(arrivals),
        peer: (address, port) => this.#source(address, port),
        isCurrent: (source) => source.table === this.#peers,
        onError: () => this.#parts.counters.receiveError(this.#parts.index, "socket_error"),
        onKernelDrops: (datagrams) => {
          const { counters, index } = this.#parts;
          counters.receiveError(index, "kernel_dropped", datagrams);
        },
      },
      datagramOffset(protocol),
    );
  }

  async listen(): Promise<Result<Address, UserError>> {
    const { plan, reusePort } = this.#parts;
    const bound = await this.#socket.bind(plan.listen, reusePort);
    if (!bound.ok) return err(listenError(plan, bound.error));
    this.#port = bound.value.port;
    const opened = await this.#forwarder.open();
    if (!opened.ok) return this.#refused(listenError(plan, opened.error));
    const { healthCheck } = this.#plan;
    if (healthCheck !== undefined && this.#healthCheck !== undefined) {
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
    const { plan } = settings;
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
    this.#ingress.follow(settings.ingress, plan.name);
    this.#egress.follow(settings.egress, plan.name);
    this.#forwarder.follow(settings, tunnel, peers, ({ peer, vni }) =>
      takes(tunnel, vni) ? peers.successor(peer) : undefined,
    );
  }

  makeRoom(): void {
    this.#forwarder.makeRoom();
  }

  /** Of hosts behind its peers with upstreams that filters redirect to. */
  sessions(): IterableIterator<SessionInfo> {
    return this.#forwarder.sessions();
  }

  /** Datagrams have no end to wait for: everything closes at once. */
  async stop(): Promise<number> {
    this.#isOpen = false;
    await this.#healthCheck?.close();
    this.#forwarder.close();
    await this.#socket.close();
    return 0;
  }

  async #refused(error: UserError): Promise<Result<never, UserError>> {
    await this.stop();
    return err(error);
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
      else {
        this.#forwarder.drop(peers[i]!, problem, datagram.length);
        if (this.#capture.isActive) this.#showRefused(arrival, datagram, peers[i]!, problem);
      }
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
    this.#take(arrival, datagram, from);
    arrival.peer = peer;
    arrival.slot = this.#slotOf(datagram);
    this.#forwarder.heard(peer, vni, datagram.length - arrival.payloadAt);
    const problem = arrival.bindFrame();
    // Mirrored packets may be cut short: what is there is for the filters to read.
    if (problem !== undefined && (mode !== "mirror" || arrival.frameBytes < shortestFrame(arrival)))
      return problem;
    if (mode === "bridge") arrival.hash = flowHash(datagram, arrival.payloadAt, arrival.frame);
    return undefined;
  }

  /** Takes a datagram whose header has been read. */
  #take(arrival: Arrival, datagram: Buffer, from: Source): void {
    const header = this.#encapsulation;
    arrival.take(datagram, header.payloadAt);
    arrival.vni = header.vni;
    arrival.etherType = header.etherType;
    arrival.outer = from;
  }

  /** Shows captures a datagram that was refused, where its header tells of a frame. */
  #showRefused(arrival: Arrival, datagram: Buffer, from: Source, reason: DropReason): void {
    const { peer } = from;
    if (this.#encapsulation.bind(datagram, datagram.length) !== undefined) return;
    this.#take(arrival, datagram, from);
    this.#capture.refused(arrival, peer, peer?.ifindex ?? this.#parts.plan.ifindex, reason);
  }

  #endsOf({ outer }: Arrival): OuterEnds {
    return { far: outer, own: { address: this.#parts.plan.listen.host, port: this.#port } };
  }

  /** Of an answer: to a peer from any of a bridge's source ports, or the way that a packet came, back. */
  #replyEndsOf({ outer, peer }: Arrival): OuterEnds {
    const { host } = this.#parts.plan.listen;
    return this.#plan.mode === "bridge"
      ? { far: peer, own: { address: host, port: 0 } }
      : {
          far: { address: outer.address, port: this.#port },
          own: { address: host, port: outer.port },
        };
  }

  /** The packet slot that a datagram came into; -1: none. */
  #slotOf(datagram: Buffer): number {
    const { arena, slots } = this.#parts;
    const at = arena.offsetOf(datagram);
    return at < 0 ? -1 : slots.slotAt(at);
  }

  #isSuperFrame(arrival: Arrival): boolean {
    const most = this.#forwarder.roomThroughFilters;
    return (
      this.#plan.mode === "bridge" &&
      arrival.datagram.length > most &&
      this.#superFrames.bind(arrival, most)
    );
  }

  /** Cuts what a network card should have cut, and carries each segment as if it had come alone. */
  #carrySegments(arrival: Arrival): void {
    const { datagram, frame, frameBytes } = arrival;
    const reason = !isSoundSegment(datagram, frame, this.#sum)
      ? "frame_bad_checksum"
      : this.#superFrames.carry(arrival, this.#ingress, () => this.#carry(arrival))
        ? undefined
        : "no_packet_slot";
    if (reason === undefined) return;
    this.#forwarder.drop(arrival, reason, frameBytes);
    if (!this.#capture.isActive) return;
    const { peer } = arrival;
    arrival.datagram = datagram;
    this.#capture.refused(arrival, peer, peer.ifindex, reason);
  }

  /** Carries the frames from number `first` up to `end` of those that came together. */
  #carryAll(first: number, end: number): void {
    if (first === end) return;
    const { mode } = this.#plan;
    const arrivals = this.#arrivals;
    const judge = this.#ingress;
    const isTogether = end - first > 1 && arrivals[first]!.slot >= 0 && judge.canBatch;
    // Only filters write over what came, and a mirror answers nobody.
    const mayQuote = mode !== "mirror" && !judge.isBlind;
    const room = this.#forwarder.roomThroughFilters;
    for (let i = first; i < end; i++) {
      const arrival = arrivals[i]!;
      const { datagram, slot } = arrival;
      if (mode === "bridge") repairPartialChecksum(datagram, arrival.frame, this.#sum);
      if (mayQuote && slot >= 0 && datagram.length > room) arrival.keepQuote();
      if (isTogether) judge.prepare(arrival);
    }
    if (isTogether) judge.together(arrivals[first]!.slot, SLOT_BYTES, end - first);
    else judge.apart();
    for (let i = first; i < end; i++) this.#carry(arrivals[i]!);
  }

  #carry(arrival: Arrival): void {
    const judge = this.#ingress;
    judge.settled(this.#forwarder.forward(arrival, judge.judge(arrival)));
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
