import { connect, type Socket } from "node:net";
import type { DropReason } from "../common/drop-reason.ts";
import type { Endpoint } from "../packet/flow.ts";
import type { TcpSide } from "../packet/tcp-conversation.ts";
import { readAccepted } from "./accepted-reads.ts";
import type { AccessLog, Client, EndReason } from "./access-log.ts";
import {
  type Destination,
  type Destinations,
  defaultConnectTimeoutMs,
  type Upstream,
} from "./destinations.ts";
import type { FrameJudge, Judgement } from "./frame-judge.ts";
import type { ListenerPlan } from "./plan.ts";
import { type ProxiedFlow, writeProxyHeader } from "./proxy-protocol.ts";
import { firstSizes, ReadBuffer } from "./read-buffer.ts";
import { SessionLedger, type SessionTallies } from "./session-ledger.ts";
import { SessionLink } from "./session-table.ts";
import { upstreamDropReason } from "./socket-error.ts";
import type { PacketTally, Tally } from "./tally.ts";
import { endSocket, resetSocket } from "./tcp-closing.ts";
import { TcpPump } from "./tcp-pump.ts";
import { TcpWire } from "./tcp-wire.ts";

const headerVersion = { off: undefined, v1: 1, v2: 2 } as const;

/** What all connections of a listener share. Plan and destinations follow a reload. */
export interface ConnectionParts {
  plan: ListenerPlan;
  destinations: Destinations;
  readonly ingress: FrameJudge;
  readonly egress: FrameJudge;
  readonly received: Tally;
  readonly replied: Tally;
  readonly accessLog: AccessLog;
  /** A destination took a connection, or did not. */
  readonly onHeard: (destination: Destination, up: boolean) => void;
  readonly onUsed: (connection: TcpConnection) => void;
  /** Called once, when the connection is over. */
  readonly onClosed: (connection: TcpConnection) => void;
}

/** Where a connection goes: one address, of one upstream unless a filter wrote it. */
interface Route {
  readonly upstream: Upstream | undefined;
  /** Tried in this order. */
  readonly candidates: readonly Destination[];
}

/**
 * What becomes of a segment. `lost` is one that a chain dropped (what follows is configured),
 * `astray` one that would have to leave the connection's upstream: it breaks the connection.
 */
type Fate = "forward" | "answer" | "lost" | "astray";

/**
 * One client's connection and its upstream's. Its states:
 *
 *     judged ──► dialling ──► open ──► closed
 *        └──► held (SYN dropped, `onDrop: ignore`) ──► closed
 *
 * Each step shows the filters the segment a wire would show (`TcpWire`), and asks their verdict.
 */
export class TcpConnection {
  readonly link = new SessionLink<TcpConnection>(this);
  readonly client: Client;
  readonly #client: Socket;
  readonly #parts: ConnectionParts;
  readonly #wire: TcpWire;
  #tallies: SessionTallies;
  /** Whose connection it is, as the upstream may be told. */
  readonly #flow: ProxiedFlow;
  #upstream: Socket | undefined;
  #state: "judged" | "dialling" | "held" | "open" | "closed" = "judged";
  /** The upstream that the SYN went to. */
  #route: Route | undefined;
  #destination: Destination | undefined;
  /** The SYN is counted when its dial has ended. */
  #syn: { kind: "pass" | "redirect"; frameBytes: number } | undefined;
  /** What the client is read into, if it is read so. */
  #buffer: ReadBuffer | undefined;
  /** FINs that went on, one a direction. */
  #fins = 0;

  /** `client` is paused. `via`: the proxy that told `flow`. Nothing happens before `open`. */
  constructor(
    client: Socket,
    { source: from, destination: to }: ProxiedFlow,
    via: Endpoint | undefined,
    parts: ConnectionParts,
  ) {
    this.client = { address: from.address, port: from.port, via };
    this.#client = client;
    this.#parts = parts;
    this.#flow = { source: from, destination: to };
    this.#wire = new TcpWire(from, to, parts.ingress, parts.egress);
    const { accessLog, plan, received, replied } = parts;
    this.#tallies = SessionLedger.begin(accessLog, plan, this.client, received, replied);
    client.on("error", () => this.#broken("client"));
    client.on("close", () => {
      this.#buffer?.release();
      this.#socketClosed();
    });
  }

  /** Goes on under what its listener's plan has become. */
  follow(): void {
    const { accessLog, plan } = this.#parts;
    const { client, destination } = this;
    this.#tallies = SessionLedger.goOn(accessLog, plan, client, destination, this.#tallies);
  }

  /** Where it goes, once that is decided. */
  get destination(): Destination | undefined {
    return this.#destination;
  }

  /** Waits for nothing but its idle timeout. */
  get isHeld(): boolean {
    return this.#state === "held";
  }

  /** The client's address. */
  get source(): string {
    return this.#flow.source.address;
  }

  /** Instead of `open`: the SYN is dropped for `reason`, unseen by filters, and the client reset. */
  turnAway(reason: DropReason): void {
    this.#state = "closed";
    this.#tallies.received.dropped(reason, this.#wire.synBytes());
    this.#tallies.ledger?.ended(reason);
    resetSocket(this.#client);
  }

  /** Judges the SYN and dials the upstream that it is for. */
  open(): void {
    const judgement = this.#wire.syn();
    const { verdict, frameBytes } = judgement;
    const { received } = this.#tallies;
    if (verdict.kind === "drop" || verdict.kind === "aborted") {
      received.ended(verdict, frameBytes);
      this.#refuse();
      return;
    }
    if (verdict.kind === "tx" || (verdict.kind === "redirect" && verdict.broadcast !== undefined)) {
      // A SYN sent back is the half of a simultaneous open, which a socket cannot take part in. Nor
      // can several upstreams answer one stream.
      received.dropped("not_routable", frameBytes);
      this.#refuse();
      return;
    }
    const route = this.#routeOf(judgement);
    if (route === undefined) {
      const unknown = verdict.kind === "redirect";
      received.dropped(unknown ? "redirect_unknown_port" : "destination_not_allowed", frameBytes);
      this.#refuse();
      return;
    }
    if (route.candidates.length === 0) {
      received.dropped("upstream_no_address", frameBytes);
      this.#refuse();
      return;
    }
    this.#route = route;
    this.#syn = { kind: verdict.kind, frameBytes };
    this.#state = "dialling";
    this.#dial(0);
  }

  /**
   * Ends the connection from our side, by RST. A SYN that is still dialled is dropped for `reason`;
   * the log is told `as`, where that is another.
   */
  end(reason: DropReason, as: EndReason = reason): void {
    this.#tallies.ledger?.willEnd(as);
    this.#settleSyn(reason);
    this.#abort();
  }

  #routeOf(judgement: Judgement): Route | undefined {
    const { destinations } = this.#parts;
    const { verdict } = judgement;
    if (verdict.kind === "pass" && judgement.readdressed) {
      const named = destinations.named(judgement.host, judgement.port);
      return named && { upstream: undefined, candidates: [named] };
    }
    const upstream =
      verdict.kind === "redirect" ? destinations.port(verdict.ifindex) : destinations.upstream;
    return upstream && { upstream, candidates: upstream.inOrder(this.#flow.source.address) };
  }

  #dial(attempt: number): void {
    const destination = this.#route!.candidates[attempt]!;
    const { host, port } = destination;
    const buffer = new ReadBuffer(firstSizes.upstream);
    const onread = buffer.options;
    const upstream = connect({ host, port, noDelay: true, allowHalfOpen: true, onread });
    this.#upstream = upstream;
    this.#destination = destination;
    let failure: DropReason = "upstream_unreachable";
    const timeoutMs = this.#route!.upstream?.connectTimeoutMs ?? defaultConnectTimeoutMs;
    const timer = setTimeout(destroy, timeoutMs, upstream);
    upstream.on("connect", () => {
      clearTimeout(timer);
      this.#parts.onHeard(destination, true);
      if (this.#state === "dialling") this.#connected(upstream, buffer);
    });
    upstream.on("error", (error: NodeJS.ErrnoException) => {
      failure = upstreamDropReason(error);
      if (this.#upstream === upstream && this.#state === "open") this.#broken("upstream");
    });
    upstream.on("close", () => {
      clearTimeout(timer);
      buffer.release();
      if (this.#upstream !== upstream) return;
      if (this.#state !== "dialling") {
        this.#socketClosed();
        return;
      }
      this.#parts.onHeard(destination, false);
      if (attempt + 1 < this.#route!.candidates.length) this.#dial(attempt + 1);
      else this.end(failure);
    });
  }

  #connected(upstream: Socket, buffer: ReadBuffer): void {
    this.#settleSyn(undefined);
    this.#state = "open";
    this.#tallies.ledger?.started(this.#destination!);
    if (this.#fateOf("upstream", this.#wire.synAck(), false) !== "forward") {
      resetSocket(upstream);
      this.#refuse();
      return;
    }
    // A lost ACK harms nobody: the first data acknowledges as well.
    if (this.#fateOf("client", this.#wire.ack(), false) === "astray") {
      this.#abort();
      return;
    }
    const version = headerVersion[this.#parts.plan.proxyProtocol?.send ?? "off"];
    if (version !== undefined) upstream.write(writeProxyHeader(version, this.#flow));
    this.#carryBoth(upstream, buffer);
    this.#parts.onUsed(this);
  }

  /** Reads both sockets, the upstream's into `buffer`, from which Node reads as soon as it is connected. */
  #carryBoth(upstream: Socket, buffer: ReadBuffer): void {
    const client = this.#client;
    const own = new ReadBuffer(firstSizes.client);
    if (readAccepted(client, own.options)) this.#buffer = own;
    else own.release();
    const toUpstream = new TcpPump(
      client,
      upstream,
      (chunk) => this.#carry("client", chunk, toUpstream),
      this.#buffer,
    );
    const toClient = new TcpPump(
      upstream,
      client,
      (chunk) => this.#carry("upstream", chunk, toClient),
      buffer,
    );
    client.on("end", () => this.#ended("client", upstream));
    upstream.on("end", () => this.#ended("upstream", client));
    // Its end was read where a PROXY header may come first.
    if (client.readableEnded) this.#ended("client", upstream);
    // The stream need not flow where nothing goes through it but its end.
    if (this.#buffer === undefined) client.resume();
    else client.read(0);
  }

  /** Takes a chunk of `side` apart into segments, and passes on what the filters leave of it. */
  #carry(side: TcpSide, chunk: Buffer, pump: TcpPump): void {
    if (this.#state !== "open") return;
    this.#parts.onUsed(this);
    if (this.#wire.isBlind(side)) {
      const packets = this.#wire.unseen(side, chunk.length);
      const headerBytes = packets * this.#wire.headerBytes;
      this.#tally(side).passedUnseen(packets, headerBytes + chunk.length);
      pump.forward(chunk);
      return;
    }
    // Segments that pass as they came are forwarded together.
    let from = 0;
    for (let at = 0; at < chunk.length; ) {
      const { end, judgement } = this.#wire.data(side, chunk, at);
      const fate = this.#fateOf(side, judgement, true);
      if (fate !== "forward" || judgement.payload !== undefined) {
        if (from < at) pump.forward(chunk.subarray(from, at));
        from = end;
        if (this.#breaks(fate)) {
          this.#abort();
          return;
        }
        const payload = judgement.payload ?? chunk.subarray(at, end);
        if (payload.length > 0 && fate === "forward") pump.forward(payload);
        if (payload.length > 0 && fate === "answer") pump.answer(payload);
      }
      at = end;
    }
    if (from < chunk.length) pump.forward(from === 0 ? chunk : chunk.subarray(from));
  }

  /** `side` has sent its last byte: its FIN. */
  #ended(side: TcpSide, peer: Socket): void {
    if (this.#state !== "open") return;
    this.#parts.onUsed(this);
    const fate = this.#fateOf(side, this.#wire.fin(side), false);
    if (fate === "forward") {
      this.#fins++;
      endSocket(peer);
    } else if (this.#breaks(fate)) this.#abort();
  }

  #breaks(fate: Fate): boolean {
    return fate === "astray" || (fate === "lost" && this.#parts.plan.onSegmentDrop === "reset");
  }

  /** Decides on a segment after the SYN, and counts it. Only a segment with data can be answered. */
  #fateOf(side: TcpSide, judgement: Judgement, hasData: boolean): Fate {
    const tally = this.#tally(side);
    const { verdict, frameBytes } = judgement;
    const { destinations } = this.#parts;
    const lost = (reason: DropReason, fate: Fate = "lost"): Fate => {
      tally.dropped(reason, frameBytes);
      return fate;
    };
    switch (verdict.kind) {
      case "drop":
      case "aborted":
        tally.ended(verdict, frameBytes);
        return "lost";
      case "tx":
        if (!hasData) return lost("not_routable");
        tally.forwarded("tx", frameBytes);
        return "answer";
      case "redirect": {
        if (verdict.broadcast !== undefined) return lost("not_routable");
        const upstream = destinations.port(verdict.ifindex);
        if (upstream === undefined) return lost("redirect_unknown_port");
        // By name: a reload makes all upstreams anew, and its connections live on.
        if (upstream.name !== this.#route?.upstream?.name)
          return lost("redirect_midstream", "astray");
        break;
      }
      case "pass":
        if (judgement.readdressed) {
          const named = destinations.named(judgement.host, judgement.port);
          if (named === undefined) return lost("destination_not_allowed");
          if (named.key !== this.#destination?.key) return lost("redirect_midstream", "astray");
        }
    }
    tally.forwarded(verdict.kind, frameBytes);
    return "forward";
  }

  /** The SYN, or its answer, was dropped: `onDrop` says what the client gets to see of that. */
  #refuse(): void {
    switch (this.#parts.plan.onDrop) {
      case "reset":
        this.#close(() => resetSocket(this.#client));
        break;
      case "close":
        this.#close(() => this.#client.destroySoon());
        break;
      case "ignore":
        this.#state = "held";
    }
  }

  /** A socket reported an error: `side` is gone without a FIN. */
  #broken(side: TcpSide): void {
    if (this.#state === "closed") return;
    this.#tallies.ledger?.willEnd(side === "client" ? "client_reset" : "upstream_reset");
    this.#settleSyn(undefined);
    this.#showReset(side);
    this.#close(() => this.#resetBoth());
  }

  /** We break the connection: the client's wire shows an RST of the listener's. */
  #abort(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "held") this.#showReset("upstream");
    this.#close(() => this.#resetBoth());
  }

  /** An RST is counted as any segment, but no verdict can bring the connection back. */
  #showReset(side: TcpSide): void {
    const judgement = this.#wire.reset(side);
    if (judgement !== undefined) this.#fateOf(side, judgement, false);
  }

  #resetBoth(): void {
    resetSocket(this.#client);
    if (this.#upstream !== undefined) resetSocket(this.#upstream);
  }

  /** A socket closes by itself once it has ended both ways. */
  #socketClosed(): void {
    if (this.#state !== "open" || this.#upstream === undefined) return;
    const [client, upstream] = [this.#client, this.#upstream];
    if (client.destroyed && upstream.destroyed) {
      this.#tallies.ledger?.willEnd("closed");
      this.#close(() => {});
    }
    // A FIN that a filter kept back leaves the other side waiting for what can come no more.
    else if (this.#fins < 2) this.#abort();
  }

  #close(endSockets: () => void): void {
    this.#state = "closed";
    this.#tallies.ledger?.ended("closed");
    endSockets();
    this.#parts.onClosed(this);
  }

  /** Counts the SYN by how its dial ended: dropped for `reason`, or gone through. */
  #settleSyn(reason: DropReason | undefined): void {
    const syn = this.#syn;
    if (syn === undefined) return;
    this.#syn = undefined;
    if (reason === undefined) this.#tallies.received.forwarded(syn.kind, syn.frameBytes);
    else this.#tallies.received.dropped(reason, syn.frameBytes);
  }

  #tally(side: TcpSide): PacketTally {
    return side === "client" ? this.#tallies.received : this.#tallies.replied;
  }
}

function destroy(socket: Socket): void {
  socket.destroy();
}
