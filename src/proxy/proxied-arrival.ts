import type { Socket } from "node:net";
import type { Endpoint } from "../packet/flow.ts";
import { type ProxiedFlow, readProxyHeader } from "./proxy-protocol.ts";
import { SessionLink } from "./session-table.ts";

/** What is to become of a connection once its first bytes are known. */
export interface ArrivalEvents {
  /**
   * The connection may begin: its socket is paused, and gives next what follows the header. Without
   * a flow its real addresses hold.
   */
  readonly onReady: (arrival: ProxiedArrival, flow: ProxiedFlow | undefined) => void;
  /** Its header is wrong in this way, or missing where one is required; the client may be gone. */
  readonly onRefused: (arrival: ProxiedArrival, wrong: string) => void;
  /** The client broke the connection off, and had said nothing where it need not. */
  readonly onGone: (arrival: ProxiedArrival) => void;
}

/** A connection from a trusted proxy whose PROXY header is still being read. */
export class ProxiedArrival {
  readonly link = new SessionLink<ProxiedArrival>(this);
  readonly client: Socket;
  /** The proxy's address. */
  readonly peer: Endpoint;
  readonly #required: boolean;
  readonly #events: ArrivalEvents;
  #read: Buffer = Buffer.alloc(0);
  readonly #onData = (chunk: Buffer): void => this.#take(chunk);
  readonly #onEnd = (): void => {
    if (this.#mustSay) {
      this.#refuse("when the client ended");
      return;
    }
    // It may wait for the server's word, as a client without a header may that ends later.
    this.release();
    this.#events.onReady(this, undefined);
  };
  readonly #onGone = (): void => {
    // A probe of the port, where nothing had to be said.
    if (this.#mustSay) this.#refuse("when the client ended");
    else this.#events.onGone(this);
  };

  constructor(client: Socket, peer: Endpoint, required: boolean, events: ArrivalEvents) {
    this.client = client;
    this.peer = peer;
    this.#required = required;
    this.#events = events;
    client.on("data", this.#onData).on("end", this.#onEnd);
    client.on("error", this.#onGone).on("close", this.#onGone);
    client.resume();
  }

  #take(chunk: Buffer): void {
    this.#read = this.#read.length === 0 ? chunk : Buffer.concat([this.#read, chunk]);
    const header = readProxyHeader(this.#read);
    if (header.kind === "incomplete") return;
    this.release();
    if (header.kind === "malformed" || (header.kind === "absent" && this.#required)) {
      this.#events.onRefused(this, header.kind === "malformed" ? header.reason : "no header");
      return;
    }
    const rest = header.kind === "present" ? this.#read.subarray(header.bytes) : this.#read;
    this.client.pause();
    if (rest.length > 0) this.client.unshift(rest);
    this.#events.onReady(this, header.kind === "present" ? header.flow : undefined);
  }

  /**
   * It has had its time. Where no header is required, a client that has said nothing may be waiting
   * for the server's first word.
   */
  giveUp(): void {
    this.release();
    if (this.#mustSay) {
      this.#refuse("in time");
      return;
    }
    this.client.pause();
    this.#events.onReady(this, undefined);
  }

  /** A header is required, or begun: without the rest of it there is no connection. */
  get #mustSay(): boolean {
    return this.#required || this.#read.length > 0;
  }

  #refuse(when: string): void {
    const read = this.#read.length;
    this.#events.onRefused(this, `${read === 0 ? "nothing" : `${read} bytes of a header`} ${when}`);
  }

  /** Looks at the socket no more. */
  release(): void {
    this.client.off("data", this.#onData).off("end", this.#onEnd);
    this.client.off("error", this.#onGone).off("close", this.#onGone);
  }
}
