import type { DropReason } from "../common/drop-reason.ts";
import { describeFrame, frameOffset } from "../engine/packet-slot.ts";
import { hasVlanTag } from "../engine/socket-context.ts";
import type { CaptureTap } from "../filter/capture-tap.ts";
import type { Chain } from "../filter/chain.ts";
import type { Direction, Verdict } from "../filter/verdict.ts";
import { dropFor, passed } from "../filter/verdict-of.ts";
import type { Flow } from "../packet/flow.ts";
import { FrameView } from "../packet/frame-view.ts";
import { ipProtocols } from "../packet/ip-protocol.ts";
import {
  type TcpSegment,
  tcpHeaderBytes,
  writeTcpFrame,
  writeUdpFrame,
} from "../packet/synthesis.ts";
import type { Arena } from "../runtime/arena.ts";
import type { PacketSums } from "../runtime/map-runtime.ts";
import {
  FRAME_CAPACITY,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_OUTGOING,
  SLOT_WROTE,
} from "../runtime/wasm/layout.ts";
import type { PacketSlots } from "./packet-slots.ts";
import { type DatagramCopy, noCopies, type WorkerNetwork } from "./worker-network.ts";

/**
 * What a chain made of one frame, and what of that can be done. Valid until the next frame is
 * judged: one object serves all.
 */
export interface Judgement {
  /** The chain's, or a drop where the frame cannot go on as it is now. */
  verdict: Verdict;
  /** Length of the frame as it came. */
  frameBytes: number;
  /** The payload that goes out where a filter changed it; undefined: as it came. */
  payload: Buffer | undefined;
  /** A rewritten frame is addressed to `host` and `port`, not to where it was addressed before. */
  readdressed: boolean;
  /** What filters have sent to ports besides. */
  copies: readonly DatagramCopy[];
  host: string;
  port: number;
}

/** What judging takes from the worker it happens on. */
export interface JudgeParts {
  readonly arena: Arena;
  readonly sums: PacketSums;
  readonly slots: PacketSlots;
  readonly network: WorkerNetwork;
  /** The worker's number: the rx queue that a filter sees. */
  readonly cpu: number;
  /** The listener's number. */
  readonly ifindex: number;
  readonly direction: Direction;
  /** The listener's name, for captures. */
  readonly listener: string;
  readonly captures: CaptureTap;
  /** Called before a chain runs: the packet's time. */
  readonly refreshClock: () => void;
}

/**
 * Makes frames of what sockets carry, runs a chain over them, and reads back what filters wrote.
 * One for each direction of a listener. Bytes never leave a slot but by copy: see `PacketSlots`.
 */
export class FrameJudge {
  #chain: Chain;
  #parts: JudgeParts;
  readonly #view = new FrameView();
  /** From the frame's start to its payload, as the filters left it. */
  #headerBytes = 0;
  readonly #judgement: Judgement = {
    verdict: passed,
    frameBytes: 0,
    payload: undefined,
    readdressed: false,
    copies: noCopies,
    host: "",
    port: 0,
  };

  constructor(chain: Chain, parts: JudgeParts) {
    this.#chain = chain;
    this.#parts = parts;
  }

  /**
   * Asks another chain from the next frame on, whose filters know another network, for a listener
   * that may have another number or name.
   */
  follow(chain: Chain, parts: Pick<JudgeParts, "ifindex" | "listener" | "network">): void {
    this.#chain = chain;
    this.#parts = { ...this.#parts, ...parts };
  }

  /** Nothing looks at frames of this direction: all pass, and none is built. */
  get isBlind(): boolean {
    return this.#chain.isEmpty && !this.#parts.captures.isActive;
  }

  datagram(flow: Flow, payload: Buffer): Judgement {
    const judgement = this.#begin(flow.headerBytes + payload.length);
    if (this.isBlind) return judgement;
    if (judgement.frameBytes > FRAME_CAPACITY) return this.#drop("frame_too_large");
    const slot = this.#parts.slots.acquire();
    if (slot === undefined) return this.#drop("no_packet_slot");
    const at = slot + frameOffset;
    const sum = this.#place(payload, at + flow.headerBytes);
    writeUdpFrame(this.#parts.arena.bytes, at, flow, payload.length, sum);
    this.#headerBytes = flow.headerBytes;
    const { network, direction } = this.#parts;
    if (direction === "ingress") network.allowCopies();
    this.#judge(slot, flow);
    judgement.copies = network.takeCopies();
    const verdict = judgement.verdict;
    if (verdict.kind === "pass" && verdict.cutTo !== undefined)
      judgement.payload = cut(judgement.payload ?? payload, verdict.cutTo - this.#headerBytes);
    this.#parts.slots.release(slot);
    return judgement;
  }

  /**
   * `payload` is what the segment carries, one MSS at most. Socket filters cannot cut a segment:
   * the rest of a stream would be nonsense without the bytes that were cut off.
   */
  segment(flow: Flow, segment: TcpSegment, payload: Buffer): Judgement {
    const headerBytes = tcpHeaderBytes(flow, segment);
    const judgement = this.#begin(headerBytes + payload.length);
    if (this.isBlind) return judgement;
    const slot = this.#parts.slots.acquire();
    if (slot === undefined) return this.#drop("no_packet_slot");
    const at = slot + frameOffset;
    const sum = this.#place(payload, at + headerBytes);
    writeTcpFrame(this.#parts.arena.bytes, at, flow, segment, payload.length, sum);
    this.#judge(slot, flow);
    this.#parts.slots.release(slot);
    return judgement;
  }

  /** Copies a payload into the arena; its partial sum. */
  #place(payload: Buffer, at: number): number {
    const { arena, sums } = this.#parts;
    if (payload.length === 0) return 0;
    arena.copyIn(payload, at);
    return sums.internetSum(at, at + payload.length);
  }

  #begin(frameBytes: number): Judgement {
    const judgement = this.#judgement;
    judgement.verdict = passed;
    judgement.frameBytes = frameBytes;
    judgement.payload = undefined;
    judgement.readdressed = false;
    judgement.copies = noCopies;
    return judgement;
  }

  #drop(reason: DropReason): Judgement {
    this.#judgement.verdict = dropFor(reason);
    return this.#judgement;
  }

  #judge(slot: number, flow: Flow): void {
    const { arena, cpu, ifindex, direction, captures } = this.#parts;
    describeFrame(arena, slot, this.#judgement.frameBytes, ifindex, cpu);
    if (direction === "egress") arena.words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING;
    this.#parts.refreshClock();
    const isCaptured = captures.isActive && captures.begin(slot, this.#parts);
    this.#decide(slot, flow);
    if (isCaptured) captures.end(slot, this.#parts, this.#chain, this.#judgement.verdict);
  }

  #decide(slot: number, flow: Flow): void {
    const { arena, direction } = this.#parts;
    const verdict = this.#chain.judge(slot);
    this.#judgement.verdict = verdict;
    if (verdict.kind === "drop" || verdict.kind === "aborted") return;
    // Replies go to the client and nowhere else, so nothing can loop.
    if (direction === "egress" && verdict.kind !== "pass") {
      this.#drop("not_routable");
      return;
    }
    // A tag beside the frame is one on the wire.
    if (hasVlanTag(arena.words, slot)) {
      this.#drop("not_routable");
      return;
    }
    if ((arena.words[(slot + SLOT_FLAGS) >> 2]! & SLOT_WROTE) === 0) return;
    const problem = this.#reread(slot, flow, verdict);
    if (problem !== undefined) this.#drop(problem);
  }

  /** Takes over what a filter wrote; the reason where sockets cannot carry that. */
  #reread(slot: number, flow: Flow, verdict: Verdict): DropReason | undefined {
    const { arena } = this.#parts;
    const { bytes, words } = arena;
    const judgement = this.#judgement;
    const view = this.#view;
    const data = words[(slot + SLOT_DATA) >> 2]!;
    const problem = view.bind(bytes, data, words[(slot + SLOT_DATA_END) >> 2]!);
    if (problem !== undefined) return problem;
    if (!view.routable || view.protocol !== ipProtocols[flow.protocol]) return "not_routable";
    this.#headerBytes = view.payloadOffset - data;
    judgement.payload = arena.copyOut(view.payloadOffset, view.payloadEnd);
    // An answer goes to the session's client whatever addresses the frame has now.
    if (verdict.kind === "tx") return undefined;
    if (!view.hasSourceOf(flow)) return "source_not_allowed";
    if (
      verdict.kind === "pass" &&
      this.#parts.direction === "ingress" &&
      !view.hasDestinationOf(flow)
    ) {
      judgement.readdressed = true;
      judgement.host = view.destinationAddress();
      judgement.port = view.destinationPort;
    }
    return undefined;
  }
}

function cut(payload: Buffer, keepBytes: number): Buffer {
  return payload.subarray(0, Math.max(0, keepBytes));
}
