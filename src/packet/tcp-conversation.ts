import { randomInt } from "node:crypto";
import type { TcpSegment } from "./synthesis.ts";
import { tcpFlags } from "./tcp.ts";

/** The two ends of a proxied connection, as a filter sees them: the listener stands for the upstream. */
export type TcpSide = "client" | "upstream";

/** A segment to write, and how many of the bytes on offer it carries. */
export interface ConversationSegment extends TcpSegment {
  readonly payloadBytes: number;
}

export type ConversationState = "new" | "syn-sent" | "syn-received" | "established" | "closed";

/** Maximum segment size by IP family: 1,500 bytes less the IP and TCP headers. RFC 9293 §3.7.1. */
export const maximumSegmentSizes = { 4: 1460, 6: 1440 } as const;

/** Both sides announce the largest window that needs no scaling option. */
const window = 0xffff;

/**
 * What a wire would show of a proxied TCP connection: tells for each event on its sockets which
 * segment to synthesise. It keeps sequence numbers, and no sockets, timers or bytes.
 *
 * The order of a whole connection: `syn` (client), `synAck` (upstream), `ack` (client), then
 * `data`, `fin` and `reset` of either side. The handshake's ACK is the only one without data:
 * otherwise each segment acknowledges all that the other side has sent so far. A segment that a
 * filter drops or rewrites still counts with its original bytes, as the filter has seen them.
 *
 * An event that cannot follow (data after FIN, ACK before SYN-ACK) throws: a bug of the caller.
 */
export class TcpConversation {
  readonly maximumSegmentSize: number;
  #state: ConversationState = "new";
  readonly #client: Sequence;
  readonly #upstream: Sequence;

  /**
   * `client` and `upstream` are the initial sequence numbers: random unless given.
   */
  constructor(
    family: 4 | 6,
    client: number = randomInt(2 ** 32),
    upstream: number = randomInt(2 ** 32),
  ) {
    this.maximumSegmentSize = maximumSegmentSizes[family];
    this.#client = { next: client >>> 0, finished: false };
    this.#upstream = { next: upstream >>> 0, finished: false };
  }

  get state(): ConversationState {
    return this.#state;
  }

  /** Whether a side's FIN has been made. */
  hasFinished(side: TcpSide): boolean {
    return this.#of(side).finished;
  }

  /** A client has connected: its SYN, with the MSS option. */
  syn(): ConversationSegment {
    this.#expect("new", "SYN");
    this.#state = "syn-sent";
    const segment = this.#segment("client", tcpFlags.syn, 0, this.maximumSegmentSize);
    advance(this.#client, 1);
    return segment;
  }

  /** The upstream has connected: its SYN-ACK, with the MSS option. */
  synAck(): ConversationSegment {
    this.#expect("syn-sent", "SYN-ACK");
    this.#state = "syn-received";
    const flags = tcpFlags.syn | tcpFlags.ack;
    const segment = this.#segment("upstream", flags, 0, this.maximumSegmentSize);
    advance(this.#upstream, 1);
    return segment;
  }

  /** The client's answer to the SYN-ACK: the end of the handshake. */
  ack(): ConversationSegment {
    this.#expect("syn-received", "ACK");
    this.#state = "established";
    return this.#segment("client", tcpFlags.ack, 0);
  }

  /**
   * The next segment of `availableBytes` (at least 1) that `side` has sent: it carries
   * `payloadBytes` of them, at most one MSS. Call again for the rest. The segment that takes all
   * has PSH set.
   */
  data(side: TcpSide, availableBytes: number): ConversationSegment {
    this.#expectOpen(side, "data");
    if (!(availableBytes >= 1)) throw new RangeError(`a data segment of ${availableBytes} bytes`);
    const payloadBytes = Math.min(availableBytes, this.maximumSegmentSize);
    const push = payloadBytes === availableBytes ? tcpFlags.psh : 0;
    const segment = this.#segment(side, tcpFlags.ack | push, payloadBytes);
    advance(this.#of(side), payloadBytes);
    return segment;
  }

  /** `side` has sent `bytes` in segments that nobody wants to see. */
  skip(side: TcpSide, bytes: number): void {
    this.#expectOpen(side, "data");
    advance(this.#of(side), bytes);
  }

  /** `side` sends no more: its FIN. The other side may still send. */
  fin(side: TcpSide): ConversationSegment {
    this.#expectOpen(side, "FIN");
    const segment = this.#segment(side, tcpFlags.fin | tcpFlags.ack, 0);
    const sender = this.#of(side);
    sender.finished = true;
    advance(sender, 1);
    if (this.#client.finished && this.#upstream.finished) this.#state = "closed";
    return segment;
  }

  /**
   * `side` breaks the connection off: its RST, at any time after the SYN. Before the SYN-ACK, the
   * upstream's is the answer to a refused connection (sequence 0, RFC 9293 §3.5.2), the client's
   * has nothing to acknowledge.
   */
  reset(side: TcpSide): ConversationSegment {
    if (this.#state === "new" || this.#state === "closed")
      throw new Error(`RST in state ${this.#state}`);
    const refused = this.#state === "syn-sent";
    this.#state = "closed";
    const peer = this.#of(side === "client" ? "upstream" : "client");
    const knowsPeer = !refused || side === "upstream";
    return {
      sequence: refused && side === "upstream" ? 0 : this.#of(side).next,
      acknowledgement: knowsPeer ? peer.next : 0,
      flags: knowsPeer ? tcpFlags.rst | tcpFlags.ack : tcpFlags.rst,
      window: 0,
      maximumSegmentSize: undefined,
      payloadBytes: 0,
    };
  }

  #segment(
    side: TcpSide,
    flags: number,
    payloadBytes: number,
    maximumSegmentSize?: number,
  ): ConversationSegment {
    const acknowledges = (flags & tcpFlags.ack) !== 0;
    return {
      sequence: this.#of(side).next,
      acknowledgement: acknowledges ? this.#of(side === "client" ? "upstream" : "client").next : 0,
      flags,
      window,
      maximumSegmentSize,
      payloadBytes,
    };
  }

  #of(side: TcpSide): Sequence {
    return side === "client" ? this.#client : this.#upstream;
  }

  #expect(state: ConversationState, event: string): void {
    if (this.#state !== state) throw new Error(`${event} in state ${this.#state}`);
  }

  #expectOpen(side: TcpSide, event: string): void {
    this.#expect("established", `${event} of the ${side}`);
    if (this.#of(side).finished) throw new Error(`${event} of the ${side} after its FIN`);
  }
}

/** What one side sends next. */
interface Sequence {
  /** Its next sequence number, modulo 2³². */
  next: number;
  finished: boolean;
}

function advance(sequence: Sequence, by: number): void {
  sequence.next = (sequence.next + by) >>> 0;
}
