import { once } from "node:events";
import { createServer, isIPv4, type Server, type Socket } from "node:net";
import { err, ok, type Result } from "../common/result.ts";
import type { UserError } from "../common/user-error.ts";
import type { Endpoint } from "../packet/flow.ts";
import { type AddressRange, containsHost, rangeOf } from "./address-range.ts";
import { formatEndpoint } from "./endpoint.ts";
import { FrameJudge } from "./frame-judge.ts";
import { listenError } from "./listen-error.ts";
import type { Listener, ListenerParts, ListenerSettings } from "./listener.ts";
import { isWildcard } from "./local-address.ts";
import type { Address } from "./plan.ts";
import { ProxiedArrival } from "./proxied-arrival.ts";
import type { ProxiedFlow } from "./proxy-protocol.ts";
import type { SessionInfo } from "./session-info.ts";
import { SessionLimit } from "./session-limit.ts";
import { SessionTable } from "./session-table.ts";
import { SourceCounts } from "./source-counts.ts";
import { Tally } from "./tally.ts";
import { resetSocket } from "./tcp-closing.ts";
import { type ConnectionParts, TcpConnection } from "./tcp-connection.ts";

/** Connections the kernel may hold for us to accept; it lowers this to its own limit. */
const backlog = 4096;

/** A trusted proxy sends its header at once; section 3.1 of the protocol suggests 3 s at least. */
const proxyHeaderTimeoutMs = 5_000;

/** A listening TCP socket and the connections that it took. */
export class TcpListener implements Listener {
  #parts: ListenerParts;
  readonly #server: Server;
  readonly #connections: SessionTable<TcpConnection>;
  /** Connections by client address. */
  readonly #sources: SourceCounts;
  /** Connections whose PROXY header is not read yet. */
  readonly #arrivals: SessionTable<ProxiedArrival>;
  #trusted: readonly AddressRange[];
  readonly #shared: ConnectionParts;
  #isOpen = false;
  /** Where all connections arrive; undefined: each may arrive elsewhere, and the kernel is asked. */
  #bound: Endpoint | undefined;
  /** Set by the first `stop`. */
  #closing: Promise<unknown> | undefined;
  readonly #onEmpty = new Set<() => void>();

  constructor(parts: ListenerParts) {
    const { plan, index, counters, clock } = parts;
    this.#parts = parts;
    this.#sources = new SourceCounts(parts.sources);
    this.#connections = new SessionTable({
      limit: parts.sessionLimit,
      idleTimeoutMs: plan.idleTimeoutMs,
      nowMs: () => clock.nowMs(),
      onIdle: (connection) => connection.end("upstream_unreachable", "idle"),
      onEvicted: (connection) => {
        this.#parts.counters.add(this.#parts.index, "sessions_evicted_total", 1);
        connection.end("session_limit");
      },
    });
    this.#trusted = (plan.proxyProtocol?.trust ?? []).map(rangeOf);
    this.#arrivals = new SessionTable({
      limit: SessionLimit.alone(parts.sessionLimit.share),
      idleTimeoutMs: proxyHeaderTimeoutMs,
      nowMs: () => clock.nowMs(),
      onIdle: (arrival) => arrival.giveUp(),
      onEvicted: (arrival) => this.#refuse(arrival, "too many connections wait with theirs"),
    });
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
    this.#shared = {
      plan,
      destinations: parts.destinations,
      ingress: new FrameJudge(parts.ingress, { ...judging, direction: "ingress" }),
      egress: new FrameJudge(parts.egress, { ...judging, direction: "egress" }),
      accessLog: parts.accessLog,
      received: new Tally(counters, index, "ingress"),
      replied: new Tally(counters, index, "egress"),
      onHeard: parts.onHeard,
      onUsed: (connection) => this.#connections.touch(connection),
      onClosed: (connection) => this.#closed(connection),
    };
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#server.on("connection", (client) => this.#accept(client));
  }

  listen(): Promise<Result<Address, UserError>> {
    const { plan, reusePort } = this.#parts;
    const server = this.#server;
    return new Promise((resolve) => {
      const refused = (error: Error): void => resolve(err(listenError(plan, error)));
      server.once("error", refused);
      server.once("listening", () => {
        server.off("error", refused);
        server.on("error", () =>
          this.#parts.counters.receiveError(this.#parts.index, "socket_error"),
        );
        const bound = server.address();
        if (bound === null || typeof bound === "string")
          throw new Error("a TCP server without port");
        if (isIPv4(bound.address) && !isWildcard(bound.address)) this.#bound = bound;
        resolve(ok({ host: bound.address, port: bound.port }));
      });
      server.listen({ ...plan.listen, backlog, reusePort, exclusive: true });
    });
  }

  open(): void {
    this.#isOpen = true;
  }

  refusal(): undefined {
    return undefined;
  }

  follow(settings: ListenerSettings): void {
    const { plan, index, counters, network } = settings;
    const before = this.#parts;
    this.#parts = { ...before, ...settings };
    const named = { ifindex: plan.ifindex, listener: plan.name, network };
    this.#shared.plan = plan;
    this.#shared.destinations = settings.destinations;
    this.#shared.ingress.follow(settings.ingress, named);
    this.#shared.egress.follow(settings.egress, named);
    this.#shared.received.follow(counters, index);
    this.#shared.replied.follow(counters, index);
    // A listener may go on under another name.
    before.counters.add(before.index, "sessions", -this.#connections.size);
    counters.add(index, "sessions", this.#connections.size);
    this.#connections.follow(settings.sessionLimit, plan.idleTimeoutMs);
    this.#sources.follow(settings.sources);
    this.#arrivals.follow(SessionLimit.alone(settings.sessionLimit.share), proxyHeaderTimeoutMs);
    this.#trusted = (plan.proxyProtocol?.trust ?? []).map(rangeOf);
    for (const connection of this.#connections.walk()) connection.follow();
  }

  makeRoom(): void {
    this.#connections.makeRoom();
  }

  *sessions(): IterableIterator<SessionInfo> {
    const { plan, clock } = this.#parts;
    for (const { client, destination, link } of this.#connections.walk())
      yield {
        listener: plan.name,
        protocol: "tcp",
        client: formatEndpoint(client.address, client.port),
        destination: destination && formatEndpoint(destination.host, destination.port),
        idle_ms: clock.nowMs() - link.usedAtMs,
      };
  }

  async stop(drainTimeoutMs: number): Promise<number> {
    if (this.#server.listening) {
      this.#closing = once(this.#server, "close");
      this.#server.close();
    }
    for (const arrival of this.#arrivals.entries()) this.#dismiss(arrival);
    for (const connection of this.#connections.entries())
      if (connection.isHeld) this.#end(connection);
    await this.#drained(drainTimeoutMs);
    let broken = 0;
    for (const connection of this.#connections.entries()) {
      broken++;
      this.#end(connection);
    }
    await this.#closing;
    return broken;
  }

  /** Waits until no connection is left, at most `timeoutMs`. */
  #drained(timeoutMs: number): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#onEmpty.delete(end);
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      this.#onEmpty.add(end);
    });
  }

  #accept(client: Socket): void {
    if (!this.#isOpen) {
      client.on("error", () => {});
      resetSocket(client);
      return;
    }
    const { counters, index } = this.#parts;
    const { remoteAddress, remotePort } = client;
    const to = this.#bound ?? localEndpoint(client);
    if (!remoteAddress || !remotePort || to === undefined) {
      // Gone again already: the kernel does not know any more who it was.
      counters.receiveError(index, "client_reset");
      client.on("error", () => {});
      client.destroy();
      return;
    }
    const from = { address: remoteAddress, port: remotePort };
    const accept = this.#parts.plan.proxyProtocol?.accept ?? "off";
    const own = { source: from, destination: to };
    if (accept === "off") this.#begin(client, own);
    else if (containsHost(this.#trusted, remoteAddress))
      this.#arrivals.add(
        new ProxiedArrival(client, from, accept === "required", {
          onReady: (arrival, flow) => {
            this.#arrivals.remove(arrival);
            if (flow === undefined) this.#begin(client, own);
            else this.#begin(client, flow, from);
          },
          onRefused: (arrival, wrong) => this.#refuse(arrival, wrong),
          onGone: (arrival) => this.#dismiss(arrival),
        }),
      );
    else if (accept === "optional") this.#begin(client, own);
    else {
      counters.receiveError(index, "proxy_untrusted");
      this.#parts.accessLog.refused(this.#parts.plan, from, "proxy_untrusted");
      client.on("error", () => {});
      resetSocket(client);
    }
  }

  #refuse(arrival: ProxiedArrival, wrong: string): void {
    const { accessLog, counters, index, plan } = this.#parts;
    counters.receiveError(index, "proxy_header");
    accessLog.refused(plan, arrival.peer, "proxy_header", wrong);
    this.#dismiss(arrival);
  }

  #dismiss(arrival: ProxiedArrival): void {
    this.#arrivals.remove(arrival);
    arrival.release();
    arrival.client.on("error", () => {});
    resetSocket(arrival.client);
  }

  #begin(client: Socket, flow: ProxiedFlow, via?: Endpoint): void {
    const { counters, index, plan } = this.#parts;
    const connection = new TcpConnection(client, flow, via, this.#shared);
    if (!this.#sources.admit(flow.source.address, plan.maxSessionsPerSource)) {
      connection.turnAway("source_limit");
      return;
    }
    this.#connections.add(connection);
    counters.add(index, "sessions", 1);
    counters.add(index, "sessions_total", 1);
    connection.open();
  }

  #end(connection: TcpConnection): void {
    this.#connections.remove(connection);
    connection.end("shutting_down");
  }

  #closed(connection: TcpConnection): void {
    this.#connections.remove(connection);
    this.#sources.remove(connection.source);
    this.#parts.counters.add(this.#parts.index, "sessions", -1);
    if (this.#connections.size === 0) for (const end of this.#onEmpty) end();
  }
}

/** Where a connection arrived; undefined where the kernel does not know any more. */
function localEndpoint({ localAddress, localPort }: Socket): Endpoint | undefined {
  return localAddress && localPort ? { address: localAddress, port: localPort } : undefined;
}
