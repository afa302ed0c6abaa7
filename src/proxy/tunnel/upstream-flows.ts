import type { DropReason } from "../../common/drop-reason.ts";
import type { Counters } from "../../filter/counters.ts";
import { ethernet } from "../../packet/ethernet.ts";
import { Flow } from "../../packet/flow.ts";
import { FrameView } from "../../packet/frame-view.ts";
import { ipProtocols } from "../../packet/ip-protocol.ts";
import { writeUdpFrame } from "../../packet/synthesis.ts";
import type { EndReason } from "../access-log.ts";
import type { Destination, Upstream } from "../destinations.ts";
import { dgramSockets } from "../dgram-socket.ts";
import { formatEndpoint } from "../endpoint.ts";
import type { ListenerParts, ListenerSettings } from "../listener.ts";
import type { SessionInfo } from "../session-info.ts";
import { SessionLedger } from "../session-ledger.ts";
import { SessionTable } from "../session-table.ts";
import { SourceCounts } from "../source-counts.ts";
import type { PacketTally, Tally } from "../tally.ts";
import { UdpClient } from "../udp-client.ts";
import { UdpSession } from "../udp-session.ts";
import type { Arrival, OuterSource } from "./arrival.ts";
import { isIp } from "./encapsulation.ts";
import type { Peer } from "./peers.ts";

/** Who answers of an upstream go to: a host behind a peer. */
export interface TunnelClient {
  /** After a reload, what it has become. */
  peer: Peer;
  readonly vni: number;
  readonly etherType: number;
  /** Outer source of what it sent first. */
  readonly outer: OuterSource;
  readonly hash: number;
  /** The tunnel header that its frames came under, options and all. */
  readonly header: Uint8Array;
  readonly udp: UdpClient<UdpSession>;
}

interface UpstreamFlowsEvents {
  /** An answer of an upstream: `replyDatagram` makes a frame of it. `tally` counts what becomes of it. */
  readonly onReply: (client: TunnelClient, payload: Uint8Array, tally: PacketTally) => void;
}

/**
 * Datagrams that filters redirect from a tunnel to an upstream, and the way of its answers: back as
 * frames from the address that the client wrote to. A session is a client × destination, as on UDP
 * listeners.
 */
export class UpstreamFlows {
  #parts: ListenerParts;
  readonly #received: Tally;
  readonly #replied: Tally;
  readonly #events: UpstreamFlowsEvents;
  readonly #clients = new Map<string, TunnelClient>();
  readonly #sessions: SessionTable<UdpSession>;
  /** Sessions by the inner address of the client. */
  readonly #sources: SourceCounts;
  readonly #frame = new FrameView();

  /** `tallies` are the listener's: sessions report to them what became of a datagram. */
  constructor(
    parts: ListenerParts,
    tallies: { readonly received: Tally; readonly replied: Tally },
    events: UpstreamFlowsEvents,
  ) {
    const { plan, clock } = parts;
    this.#parts = parts;
    this.#received = tallies.received;
    this.#replied = tallies.replied;
    this.#events = events;
    this.#sources = new SourceCounts(parts.sources);
    this.#sessions = new SessionTable({
      limit: parts.sessionLimit,
      idleTimeoutMs: plan.idleTimeoutMs,
      nowMs: () => clock.nowMs(),
      onIdle: (session) => this.#end(session, "session_limit", "idle"),
      onEvicted: (session) => {
        this.#counters.add(this.#parts.index, "sessions_evicted_total", 1);
        this.#end(session, "session_limit");
      },
    });
  }

  /**
   * Sends the payload of a UDP frame to an upstream, and counts it; or says why not, uncounted.
   * `datagram` is `arrival`'s, or what a filter made of it.
   */
  send(arrival: Arrival, datagram: Uint8Array, upstream: Upstream): DropReason | undefined {
    const frame = this.#frame;
    const { payloadAt, etherType } = arrival;
    const bad = isIp(etherType)
      ? frame.bindPacket(datagram, payloadAt, datagram.length, etherType)
      : frame.bind(datagram, payloadAt, datagram.length);
    if (bad !== undefined) return bad;
    if (!frame.routable || frame.protocol !== ipProtocols.udp) return "not_routable";
    const client = this.#client(arrival, datagram);
    const destination = client.udp.route(upstream);
    if (destination === undefined) return "upstream_no_address";
    const session = this.#session(client, destination);
    if (session === undefined) return "source_limit";
    this.#sessions.touch(session);
    // The kernel may take the bytes later than the datagram is ours.
    const payload = Buffer.from(datagram.subarray(frame.payloadOffset, frame.payloadEnd));
    session.send(payload, arrival.frameBytes, "redirect");
    return undefined;
  }

  /**
   * Goes on as another plan says. `successor` is what a client's peer has become; where it is gone,
   * or its network, answers have no way back any more, and sessions end.
   */
  follow(settings: ListenerSettings, successor: (client: TunnelClient) => Peer | undefined): void {
    const before = this.#parts;
    const { index, counters, plan } = settings;
    const cutOff = new Set<UdpClient<UdpSession>>();
    for (const client of this.#clients.values()) {
      const peer = successor(client);
      if (peer === undefined) cutOff.add(client.udp);
      else client.peer = peer;
    }
    for (const session of this.#sessions.entries()) {
      if (!cutOff.has(session.client)) continue;
      this.#sessions.remove(session);
      this.#end(session, "shutting_down");
    }
    this.#parts = { ...before, ...settings };
    // A listener may go on under another name.
    before.counters.add(before.index, "sessions", -this.#sessions.size);
    counters.add(index, "sessions", this.#sessions.size);
    this.#sessions.follow(settings.sessionLimit, plan.idleTimeoutMs);
    this.#sources.follow(settings.sources);
    for (const session of this.#sessions.walk()) {
      session.follow(before.accessLog, plan);
      this.#showPort(session);
    }
  }

  makeRoom(): void {
    this.#sessions.makeRoom();
  }

  *sessions(): IterableIterator<SessionInfo> {
    const { plan, clock } = this.#parts;
    for (const { client, destination, link } of this.#sessions.walk())
      yield {
        listener: plan.name,
        protocol: plan.protocol,
        client: formatEndpoint(client.address, client.port),
        destination: formatEndpoint(destination.host, destination.port),
        idle_ms: clock.nowMs() - link.usedAtMs,
      };
  }

  close(): void {
    for (const session of this.#sessions.entries()) {
      this.#sessions.remove(session);
      this.#end(session, "shutting_down");
    }
  }

  get #counters(): Counters {
    return this.#parts.counters;
  }

  #client(arrival: Arrival, datagram: Uint8Array): TunnelClient {
    const frame = this.#frame;
    const source = { address: frame.sourceAddress(), port: frame.sourcePort };
    const destination = { address: frame.destinationAddress(), port: frame.destinationPort };
    const { peer, vni, etherType, outer, hash, payloadAt } = arrival;
    const key = `${peer.name}|${outer.address}|${vni}|${source.address}|${source.port}|${destination.address}|${destination.port}`;
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const toClient = new Flow("udp", destination, source);
    if (!isIp(etherType)) {
      const at = payloadAt + ethernet.source;
      toClient.template.set(datagram.subarray(at, at + 6), ethernet.destination);
      toClient.template.set(datagram.subarray(payloadAt, payloadAt + 6), ethernet.source);
    }
    const udp = new UdpClient<UdpSession>(
      key,
      source,
      new Flow("udp", source, destination),
      toClient,
    );
    // A copy: `slice` of a Buffer is none, and the datagram is not ours for long.
    const header = new Uint8Array(datagram.subarray(0, payloadAt));
    return { peer, vni, etherType, outer, hash, header, udp };
  }

  /** The client's session with `destination`; undefined where its address may open no more. */
  #session(client: TunnelClient, destination: Destination): UdpSession | undefined {
    const known = client.udp.session(destination);
    if (known !== undefined) return known;
    return this.#sources.admit(client.udp.address, this.#parts.plan.maxSessionsPerSource)
      ? this.#open(client, destination)
      : undefined;
  }

  #open(client: TunnelClient, destination: Destination): UdpSession {
    const { index, onHeard, accessLog, plan, batches } = this.#parts;
    const tallies = SessionLedger.begin(accessLog, plan, client.udp, this.#received, this.#replied);
    const sockets = batches ?? dgramSockets;
    const session = new UdpSession(client.udp, destination, tallies, sockets, {
      onReplies: (from, { count, payloads }) => {
        this.#sessions.touch(from);
        for (let i = 0; i < count; i++)
          this.#events.onReply(client, payloads[i]!, from.tallies.replied);
      },
      onHeard,
      onClosed: (closed) => {
        this.#sessions.remove(closed);
        this.#forget(closed);
      },
      onKernelDrops: (datagrams) => {
        this.#counters.receiveError(this.#parts.index, "kernel_dropped", datagrams);
      },
      onLocalPort: (connected) => this.#showPort(connected),
    });
    this.#sessions.add(session);
    this.#clients.set(client.udp.key, client);
    client.udp.add(session);
    this.#counters.add(index, "sessions", 1);
    this.#counters.add(index, "sessions_total", 1);
    session.open();
    return session;
  }

  /** Has the main thread find what the session's socket loses. */
  #showPort({ localPort, destination }: UdpSession): void {
    const { sessionPorts, counters, index } = this.#parts;
    if (localPort !== 0) sessionPorts.set(localPort, destination.port, counters.placeOf(index));
  }

  #end(session: UdpSession, reason: DropReason, as: EndReason = reason): void {
    session.close(reason, as);
    this.#forget(session);
  }

  #forget(session: UdpSession): void {
    this.#sources.remove(session.client.address);
    if (session.localPort !== 0) this.#parts.sessionPorts.clear(session.localPort);
    session.client.remove(session);
    if (!session.client.hasSessions) this.#clients.delete(session.client.key);
    this.#counters.add(this.#parts.index, "sessions", -1);
  }
}

/** Length of what `replyDatagram` makes of a payload. */
export function replyBytes({ header, etherType, udp }: TunnelClient, payload: Uint8Array): number {
  const missing = isIp(etherType) ? ethernet.headerBytes : 0;
  return header.length + udp.toClient.headerBytes - missing + payload.length;
}

/**
 * An upstream's payload as a frame from where the client had written to, under its tunnel header.
 * The caller has seen that `replyBytes` is no more than a datagram takes.
 */
export function replyDatagram(client: TunnelClient, payload: Uint8Array): Uint8Array {
  const { header, etherType, udp } = client;
  const flow = udp.toClient;
  // Where no Ethernet header goes out, the tunnel's takes its place.
  const missing = isIp(etherType) ? ethernet.headerBytes : 0;
  const datagram = new Uint8Array(header.length + flow.headerBytes + payload.length);
  datagram.set(payload, header.length + flow.headerBytes);
  writeUdpFrame(datagram, header.length, flow, payload.length);
  datagram.set(header, missing);
  return datagram.subarray(missing);
}
