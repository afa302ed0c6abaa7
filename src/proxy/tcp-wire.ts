import type { Endpoint } from "../packet/flow.ts";
import { Flow } from "../packet/flow.ts";
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
 * direction has no filter its data only moves the sequence numbers on.
 */
export class TcpWire {
  readonly #conversation: TcpConversation;
  readonly #toListener: Flow;
  readonly #toClient: Flow;
  readonly #ingress: FrameJudge;
  readonly #egress: FrameJudge;

  constructor(client: Endpoint, listener: Endpoint, ingress: FrameJudge, egress: FrameJudge) {
    this.#toListener = new Flow("tcp", client, listener);
    this.#toClient = new Flow("tcp", listener, client);
    this.#conversation = new TcpConversation(this.#toListener.family);
    this.#ingress = ingress;
    this.#egress = egress;
  }

  syn(): Judgement {
    return this.#show("client", this.#conversation.syn(), nothing);
  }

  /** Bytes of the SYN's frame, of a connection that goes no further: nobody looks at it. */
  synBytes(): number {
    return tcpHeaderBytes(this.#toListener, this.#conversation.syn());
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

  /** `side` has sent `bytes` that no filter wants to see. The segments they would have made. */
  unseen(side: TcpSide, bytes: number): { packets: number; frameBytes: number } {
    const packets = Math.ceil(bytes / this.#conversation.maximumSegmentSize);
    this.#conversation.skip(side, bytes);
    return { packets, frameBytes: bytes + packets * this.#toListener.headerBytes };
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
    return side === "client"
      ? this.#ingress.segment(this.#toListener, segment, payload)
      : this.#egress.segment(this.#toClient, segment, payload);
  }
}

/** A judged data segment, and where the next one begins in its chunk. */
export interface SegmentJudgement {
  readonly end: number;
  readonly judgement: Judgement;
}
