import { familyOf } from "../packet/address.ts";
import { type Endpoint, Flow, tcpHeaders } from "../packet/flow.ts";
import { tcpHeaderBytes } from "../packet/synthesis.ts";
import {
  type ConversationSegment,
  TcpConversation,
  type TcpSide,
} from "../packet/tcp-conversation.ts";
import type { FrameJudge, Judgement } from "./frame-judge.ts";

const nothing = Buffer.alloc(0);

/**
 * The wire that a filter believes it watches between a client and the listener: each event of the
 * two sockets becomes the segment TCP would have sent, judged by its direction's chain. Where a
 * direction has no filter its data only moves the sequence numbers on, and no headers are prepared.
 */
export class TcpWire {
  readonly #client: Endpoint;
  readonly #listener: Endpoint;
  readonly #conversation: TcpConversation;
  /** Of a frame without options. */
  readonly #headers: Pick<Flow, "headerBytes">;
  #toListener: Flow | undefined;
  #toClient: Flow | undefined;
  readonly #ingress: FrameJudge;
  readonly #egress: FrameJudge;

  constructor(client: Endpoint, listener: Endpoint, ingress: FrameJudge, egress: FrameJudge) {
    const family = familyOf(client.address);
    this.#client = client;
    this.#listener = listener;
    this.#conversation = new TcpConversation(family);
    this.#headers = tcpHeaders[family];
    this.#ingress = ingress;
    this.#egress = egress;
  }

  syn(): Judgement {
    return this.#show("client", this.#conversation.syn(), nothing);
  }

  /** Bytes of the SYN's frame, of a connection that goes no further: nobody looks at it. */
  synBytes(): number {
    return tcpHeaderBytes(this.#headers, this.#conversation.syn());
  }

  synAck(): Judgement {
    return this.#show("upstream", this.#conversation.synAck(), nothing);
  }

  ack(): Judgement {
    return this.#show("client", this.#conversation.ack(), nothing);
  }

  /** The next segment of what `side` has sent: `chunk` from `at` on, at most an MSS of it. */
  data(side: TcpSide, chunk: Buffer, at: number): SegmentJudgement {
    const segment = this.#conversation.data(side, chunk.length - at);
    const end = at + segment.payloadBytes;
    return { end, judgement: this.#show(side, segment, chunk.subarray(at, end)) };
  }

  /** `side` has sent `bytes` that no filter wants to see: how many segments they would have made. */
  unseen(side: TcpSide, bytes: number): number {
    this.#conversation.skip(side, bytes);
    return Math.ceil(bytes / this.#conversation.maximumSegmentSize);
  }

  /** Bytes of a frame that are not payload, in a segment without options. */
  get headerBytes(): number {
    return this.#headers.headerBytes;
  }

  fin(side: TcpSide): Judgement {
    return this.#show(side, this.#conversation.fin(side), nothing);
  }

  /** The RST of `side`; undefined where the conversation is over and a wire would show none. */
  reset(side: TcpSide): Judgement | undefined {
    const state = this.#conversation.state;
    if (state === "new" || state === "closed") return undefined;
    return this.#show(side, this.#conversation.reset(side), nothing);
  }

  /** No filter looks at what `side` sends. */
  isBlind(side: TcpSide): boolean {
    return (side === "client" ? this.#ingress : this.#egress).isBlind;
  }

  #show(side: TcpSide, segment: ConversationSegment, payload: Buffer): Judgement {
    const judge = side === "client" ? this.#ingress : this.#egress;
    if (judge.isBlind) return judge.unseen(tcpHeaderBytes(this.#headers, segment) + payload.length);
    return judge.segment(this.#flow(side), segment, payload);
  }

  /** Made when a frame of its direction is looked at for the first time. */
  #flow(side: TcpSide): Flow {
    const [client, listener] = [this.#client, this.#listener];
    if (side === "client") {
      this.#toListener ??= new Flow("tcp", client, listener);
      return this.#toListener;
    }
    this.#toClient ??= new Flow("tcp", listener, client);
    return this.#toClient;
  }
}

/** A judged data segment, and where the next one begins in its chunk. */
export interface SegmentJudgement {
  readonly end: number;
  readonly judgement: Judgement;
}
