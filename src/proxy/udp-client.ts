import type { Endpoint, Flow } from "../packet/flow.ts";
import type { Destination, Upstream } from "./destinations.ts";

/** A client's address and port, what its frames look like, and its sessions. */
export class UdpClient<Session extends { readonly destination: Destination }> {
  readonly key: string;
  /** As the socket names it: IPv4-mapped on a dual-stack socket. */
  readonly address: string;
  readonly port: number;
  socketName: Uint8Array | undefined;
  readonly toListener: Flow;
  readonly toClient: Flow;
  readonly #sessions = new Map<string, Session>();
  /** By the upstream's name. */
  readonly #routes = new Map<string, Destination>();
  /** The session of the last datagram: nearly always that of the next. */
  #recent: Session | undefined;
  /** What it was asked for: equal destinations are one object until a reload makes new ones. */
  #recentFor: Destination | undefined;

  constructor(key: string, at: Endpoint, toListener: Flow, toClient: Flow) {
    this.key = key;
    this.address = at.address;
    this.port = at.port;
    this.toListener = toListener;
    this.toClient = toClient;
  }

  /**
   * The address of an upstream for this client's datagrams: while it has sessions, the one that it
   * got first, unless that is out or no more the upstream's. Undefined: the upstream has none yet.
   */
  route(upstream: Upstream): Destination | undefined {
    const before = this.#routes.get(upstream.name);
    const kept = before === undefined ? undefined : upstream.kept(before);
    const destination = kept ?? upstream.pick(this.address);
    if (destination !== undefined && destination !== before)
      this.#routes.set(upstream.name, destination);
    return destination;
  }

  get hasSessions(): boolean {
    return this.#sessions.size > 0;
  }

  /** The session of its last datagram that had one. */
  get recent(): Session | undefined {
    return this.#recent;
  }

  session(destination: Destination): Session | undefined {
    if (this.#recentFor === destination) return this.#recent;
    const session = this.#sessions.get(destination.key);
    if (session !== undefined) this.#remember(session, destination);
    return session;
  }

  add(session: Session): void {
    this.#sessions.set(session.destination.key, session);
    this.#remember(session, session.destination);
  }

  remove(session: Session): void {
    if (this.#sessions.get(session.destination.key) === session)
      this.#sessions.delete(session.destination.key);
    if (this.#recent === session) this.#remember(undefined, undefined);
  }

  #remember(session: Session | undefined, destination: Destination | undefined): void {
    this.#recent = session;
    this.#recentFor = destination;
  }
}
