import { isIPv6 } from "node:net";
import type { DropReason } from "../common/drop-reason.ts";
import { err, ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import { shortfall } from "../filter/broadcasts.ts";
import type { Verdict } from "../filter/verdict.ts";
import type { Flow } from "../packet/flow.ts";
import type { EndReason } from "./access-log.ts";
import type { Arrivals, DatagramSockets, ListenerSocket } from "./datagram-socket.ts";
import type { Destination } from "./destinations.ts";
import { dgramSockets } from "./dgram-socket.ts";
import { formatEndpoint } from "./endpoint.ts";
import { FrameJudge, type Judgement } from "./frame-judge.ts";
import { listenError } from "./listen-error.ts";
import type { Listener, ListenerParts, ListenerSettings } from "./listener.ts";
import type { Address } from "./plan.ts";
import type { SessionInfo } from "./session-info.ts";
import { SessionLedger } from "./session-ledger.ts";
import { SessionTable } from "./session-table.ts";
import { SourceCounts } from "./source-counts.ts";
import { type Forwarded, type PacketTally, Tally } from "./tally.ts";
import type { UdpClient } from "./udp-client.ts";
import { UdpClients } from "./udp-clients.ts";
import { UdpSession } from "./udp-session.ts";
import { maxPayloadBytes } from "./udp-socket.ts";

type Client = UdpClient<UdpSession>;

/** When the listener stops, a datagram older than this is not expected to be answered any more. */
const answerTimeoutMs = 5_000;

/**
 * A UDP socket, the sessions of its clients, and the way of a datagram between them.
 *
 * Client to upstream: datagram → frame → ingress chain → verdict → session → upstream.
 * Upstream to client: datagram → frame → egress chain → verdict → client.
 */
export class UdpListener implements Listener {
  #parts: ListenerParts;
  readonly #sockets: DatagramSockets;
  readonly #socket: ListenerSocket<Client>;
  readonly #ingress: FrameJudge;
  readonly #egress: FrameJudge;
  readonly #received: Tally;
  readonly #replied: Tally;
  readonly #sessions: SessionTable<UdpSession>;
  /** Sessions by client address. */
  readonly #sources: SourceCounts;
  readonly #clients: UdpClients<UdpSession>;
  /** Of the datagrams of a batch. */
  readonly #flows: Flow[] = [];
  #state: "bound" | "open" | "draining" | "closed" = "bound";
  /** While draining: sessions that an answer is still expected for, and who waits for them. */
  readonly #awaiting = new Set<UdpSession>();
  readonly #onAnswered = new Set<() => void>();
  /** Set by the first `#close`. */
  #closing: Promise<unknown> | undefined;

  constructor(parts: ListenerParts) {
    const { plan, index, counters, clock } = parts;
    this.#parts = parts;
    const judging = {
      arena: parts.arena,
      sums: parts.sums,
      slots: parts.slots,
      network: parts.network,
      cpu: parts.cpu,
      ifindex: plan.ifindex,
      refreshClock: () => clock.refresh(),
      listener: plan.name,
      captures: parts.captures,
    };
    this.#ingress = new FrameJudge(parts.ingress, { ...judging, direction: "ingress" });
    this.#egress = new FrameJudge(parts.egress, { ...judging, direction: "egress" });
    this.#received = new Tally(counters, index, "ingress");
    this.#replied = new Tally(counters, index, "egress");
    this.#sources = new SourceCounts(parts.sources);
    this.#clients = new UdpClients(plan);
    this.#sessions = new SessionTable({
      limit: parts.sessionLimit,
      idleTimeoutMs: plan.idleTimeoutMs,
      nowMs: () => clock.nowMs(),
      onIdle: (session) => this.#end(session, "session_limit", "idle"),
      onEvicted: (session) => {
        this.#parts.counters.add(this.#parts.index, "sessions_evicted_total", 1);
        this.#end(session, "session_limit");
      },
    });
    this.#sockets = parts.batches ?? dgramSockets;
    this.#socket = this.#sockets.listener<Client>(isIPv6(plan.listen.host) ? 6 : 4, {
      onDatagrams: (arrivals) => this.#onDatagrams(arrivals),
      peer: (address, port) => this.#clients.at(address, port),
      isCurrent: (client) => this.#clients.isCurrent(client),
      onError: () => this.#parts.counters.receiveError(this.#parts.index, "socket_error"),
      onKernelDrops: (datagrams) => {
        const { counters, index } = this.#parts;
        counters.receiveError(index, "kernel_dropped", datagrams);
      },
    });
  }

  async listen(): Promise<Result<Address, UserError>> {
    const { plan, reusePort } = this.#parts;
    const bound = await this.#socket.bind(plan.listen, reusePort);
    if (!bound.ok) {
      this.#state = "closed";
      return err(listenError(plan, bound.error));
    }
    this.#clients.listenerPort = bound.value.port;
    return ok(bound.value);
  }

  open(): void {
    this.#state = "open";
  }

  refusal(): undefined {
    return undefined;
  }

  follow(settings: ListenerSettings): void {
    const { plan, index, counters, network } = settings;
    const before = this.#parts;
    this.#parts = { ...before, ...settings };
    const named = { ifindex: plan.ifindex, listener: plan.name, network };
    this.#ingress.follow(settings.ingress, named);
    this.#egress.follow(settings.egress, named);
    this.#received.follow(counters, index);
    this.#replied.follow(counters, index);
    // A listener may go on under another name.
    before.counters.add(before.index, "sessions", -this.#sessions.size);
    counters.add(index, "sessions", this.#sessions.size);
    this.#sessions.follow(settings.sessionLimit, plan.idleTimeoutMs);
    this.#sources.follow(settings.sources);
    this.#clients.follow(plan);
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
        protocol: "udp",
        client: formatEndpoint(client.address, client.port),
        destination: formatEndpoint(destination.host, destination.port),
        idle_ms: clock.nowMs() - link.usedAtMs,
      };
  }

  /**
   * Datagrams have no end to wait for, but a request may have its answer under way: sessions whose
   * last datagram came from the client, not long ago, are waited for. None is broken off.
   */
  async stop(drainTimeoutMs: number): Promise<number> {
    if (this.#state === "open") {
      this.#state = "draining";
      const fromMs = this.#parts.clock.nowMs() - answerTimeoutMs;
      for (const session of this.#sessions.entries())
        if (session.awaitsAnswer && session.link.usedAtMs > fromMs) this.#awaiting.add(session);
    }
    await this.#answered(Math.min(drainTimeoutMs, answerTimeoutMs));
    await this.#close();
    return 0;
  }

  /** Waits until no answer is expected any more, at most `timeoutMs`. */
  #answered(timeoutMs: number): Promise<void> {
    if (this.#awaiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#onAnswered.delete(end);
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      this.#onAnswered.add(end);
    });
  }

  /** No answer is expected for `session` any more. */
  #settle(session: UdpSession): void {
    if (this.#awaiting.delete(session) && this.#awaiting.size === 0)
      for (const end of this.#onAnswered) end();
  }

  async #close(): Promise<void> {
    if (this.#state !== "closed") {
      this.#state = "closed";
      this.#closing = this.#socket.close();
      for (const session of this.#sessions.entries()) {
        this.#sessions.remove(session);
        this.#end(session, "shutting_down");
      }
    }
    await this.#closing;
  }

  #onDatagrams({ count, payloads, peers }: Arrivals<Client>): void {
    if (this.#state === "bound" || this.#state === "closed") return;
    const flows = this.#flows;
    for (let i = 0; i < count; i++) flows[i] = peers[i]!.toListener;
    if (this.#state === "open") this.#ingress.together(flows, payloads, count);
    for (let i = 0; i < count; i++) {
      if (this.#state === "open") this.#onDatagram(payloads[i]!, peers[i]!);
      else {
        const frameBytes = peers[i]!.toListener.headerBytes + payloads[i]!.length;
        this.#dropped(peers[i]!, "shutting_down", frameBytes);
      }
    }
  }

  #onDatagram(payload: Buffer, client: Client): void {
    const judgement = this.#ingress.datagram(client.toListener, payload);
    const verdict = judgement.verdict;
    for (const { ifindex, payload: copy } of judgement.copies)
      this.#toPort(client, ifindex, copy, judgement.frameBytes);
    switch (verdict.kind) {
      case "drop":
      case "aborted":
        if (client.recent?.tallies.ledger === undefined) this.#logDrop(client, verdict.reason);
        this.#tally(client).ended(verdict, judgement.frameBytes);
        return;
      case "tx":
        this.#toClient(
          client,
          judgement.payload ?? payload,
          judgement.frameBytes,
          "tx",
          this.#tally(client),
        );
        return;
      case "redirect":
        this.#redirect(client, judgement.payload ?? payload, judgement.frameBytes, verdict);
        return;
      case "pass":
        this.#forward(
          client,
          this.#destination(client, judgement),
          judgement.payload ?? payload,
          judgement.frameBytes,
          "pass",
        );
    }
  }

  /** Of a broadcast each port gets its own: each is sent, or dropped, and counted as one. */
  #redirect(
    client: Client,
    payload: Buffer,
    frameBytes: number,
    { ifindex, broadcast }: Verdict & { kind: "redirect" },
  ): void {
    if (broadcast === undefined) {
      this.#toPort(client, ifindex, payload, frameBytes);
      return;
    }
    for (const port of broadcast.ports) this.#toPort(client, port, payload, frameBytes);
    const missing = shortfall(broadcast);
    if (missing !== undefined) this.#dropped(client, missing, frameBytes);
  }

  /** A redirected datagram, or a copy, which is counted as one. */
  #toPort(client: Client, ifindex: number, payload: Buffer, frameBytes: number): void {
    const upstream = this.#parts.destinations.port(ifindex);
    const destination =
      upstream === undefined
        ? "redirect_unknown_port"
        : (client.route(upstream) ?? "upstream_no_address");
    this.#forward(client, destination, payload, frameBytes, "redirect");
  }

  #forward(
    client: Client,
    destination: Destination | DropReason,
    payload: Buffer,
    frameBytes: number,
    kind: "pass" | "redirect",
  ): void {
    if (typeof destination === "string") {
      this.#dropped(client, destination, frameBytes);
      return;
    }
    const session = this.#session(client, destination);
    if (session === undefined) {
      this.#dropped(client, "source_limit", frameBytes);
      return;
    }
    this.#sessions.touch(session);
    session.send(payload, frameBytes, kind);
  }

  /** Where a passed datagram goes, or why it goes nowhere. */
  #destination(client: Client, judgement: Judgement): Destination | DropReason {
    const { destinations } = this.#parts;
    if (judgement.readdressed)
      return destinations.named(judgement.host, judgement.port) ?? "destination_not_allowed";
    return client.route(destinations.upstream) ?? "upstream_no_address";
  }

  #onReplies(session: UdpSession, { count, payloads }: Arrivals<undefined>): void {
    this.#sessions.touch(session);
    const flows = this.#flows;
    for (let i = 0; i < count; i++) flows[i] = session.client.toClient;
    this.#egress.together(flows, payloads, count);
    for (let i = 0; i < count; i++) this.#onReply(session, payloads[i]!);
    if (this.#state === "draining") this.#settle(session);
  }

  #onReply(session: UdpSession, payload: Buffer): void {
    const client = session.client;
    const judgement = this.#egress.datagram(client.toClient, payload);
    const verdict = judgement.verdict;
    if (verdict.kind === "drop" || verdict.kind === "aborted")
      session.tallies.replied.ended(verdict, judgement.frameBytes);
    else
      this.#toClient(
        client,
        judgement.payload ?? payload,
        judgement.frameBytes,
        "pass",
        session.tallies.replied,
      );
  }

  #toClient(
    client: Client,
    payload: Buffer,
    frameBytes: number,
    kind: Forwarded,
    tally: PacketTally,
  ): void {
    if (payload.length > maxPayloadBytes[client.toClient.family])
      tally.dropped("frame_too_large", frameBytes);
    // A datagram may come from port 0 (RFC 768: no answer wanted); none can be sent there.
    else if (client.port === 0 || this.#state === "closed")
      tally.dropped("send_failed", frameBytes);
    else this.#socket.send(payload, client, frameBytes, kind, tally);
  }

  /** The client's session with `destination`; undefined where its address may open no more. */
  #session(client: Client, destination: Destination): UdpSession | undefined {
    const known = client.session(destination);
    if (known !== undefined) return known;
    return this.#sources.admit(client.address, this.#parts.plan.maxSessionsPerSource)
      ? this.#openSession(client, destination)
      : undefined;
  }

  /** Counts what a client sends: for its session, if it has one. */
  #tally(client: Client): PacketTally {
    return client.recent?.tallies.received ?? this.#received;
  }

  #dropped(client: Client, reason: DropReason, frameBytes: number): void {
    if (client.recent?.tallies.ledger === undefined) this.#logDrop(client, reason);
    this.#tally(client).dropped(reason, frameBytes);
  }

  /** For a client whose session, if it has one, does not log them itself. */
  #logDrop(client: Client, reason: DropReason): void {
    const { accessLog, plan } = this.#parts;
    SessionLedger.dropOf(accessLog, plan, client, reason);
  }

  #openSession(client: Client, destination: Destination): UdpSession {
    const { accessLog, plan } = this.#parts;
    const tallies = SessionLedger.begin(accessLog, plan, client, this.#received, this.#replied);
    const session = new UdpSession(client, destination, tallies, this.#sockets, {
      onReplies: (from, arrivals) => this.#onReplies(from, arrivals),
      onHeard: this.#parts.onHeard,
      onClosed: (closed) => {
        this.#sessions.remove(closed);
        this.#forget(closed);
      },
      onKernelDrops: (datagrams) => {
        this.#parts.counters.receiveError(this.#parts.index, "kernel_dropped", datagrams);
      },
      onLocalPort: (connected) => this.#showPort(connected),
    });
    this.#sessions.add(session);
    client.add(session);
    this.#clients.hasSession(client);
    this.#parts.counters.add(this.#parts.index, "sessions", 1);
    this.#parts.counters.add(this.#parts.index, "sessions_total", 1);
    session.open();
    return session;
  }

  /** Has the main thread find what the session's socket loses. */
  #showPort({ localPort, destination }: UdpSession): void {
    const { sessionPorts, counters, index } = this.#parts;
    if (localPort !== 0) sessionPorts.set(localPort, destination.port, counters.placeOf(index));
  }

  #end(
    session: UdpSession,
    reason: "session_limit" | "shutting_down",
    as: EndReason = reason,
  ): void {
    session.close(reason, as);
    this.#forget(session);
  }

  #forget(session: UdpSession): void {
    this.#settle(session);
    this.#sources.remove(session.client.address);
    if (session.localPort !== 0) this.#parts.sessionPorts.clear(session.localPort);
    session.client.remove(session);
    if (!session.client.hasSessions) this.#clients.hasNone(session.client);
    this.#parts.counters.add(this.#parts.index, "sessions", -1);
  }
}
