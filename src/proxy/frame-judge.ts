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
  SLOT_BYTES,
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
 * One for each direction of a listener. Bytes never leave a slot but by copy, unless they came in it:
 * see `PacketSlots`.
 */
export class FrameJudge {
  #chain: Chain;
  #parts: JudgeParts;
  readonly #view = new FrameView();
  /** The slots that `together` has judged, their verdicts, and copies that filters sent of them. */
  #batchFirst = 0;
  #batchEnd = 0;
  readonly #verdicts: Verdict[] = [];
  #batchCopies: readonly DatagramCopy[] = noCopies;
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

  /**
   * Judges datagrams that came together, where they lie in packet slots one after another, in one call
   * of the chain. `datagram` then tells of each, in this order. Otherwise nothing happens here.
   */
  together(flows: readonly Flow[], payloads: readonly Buffer[], count: number): void {
    this.#batchEnd = this.#batchFirst;
    const { arena, slots, network, direction, captures } = this.#parts;
    // A capture wants each frame as it was before, and who decided.
    if (count < 2 || this.#chain.isEmpty || captures.isActive || !this.#chain.canBatch) return;
    const at = arena.offsetOf(payloads[0]!);
    if (at < 0) return;
    const first = slots.slotAt(at);
    for (let i = 0; i < count; i++) {
      const { length } = payloads[i]!;
      const slot = first + i * SLOT_BYTES;
      this.#write(slot, arena.offsetOf(payloads[i]!), length, flows[i]!);
      this.#describe(slot, flows[i]!.headerBytes + length);
    }
    if (direction === "ingress") network.allowCopies();
    this.#chain.judgeBatch(first, SLOT_BYTES, count, this.#verdicts);
    this.#batchCopies = network.takeCopies();
    this.#batchFirst = first;
    this.#batchEnd = first + count * SLOT_BYTES;
  }

  /** A datagram's frame is made in its packet slot, where `payload` lies in one, else in another. */
  datagram(flow: Flow, payload: Buffer): Judgement {
    const judgement = this.#begin(flow.headerBytes + payload.length);
    if (this.isBlind) return judgement;
    if (judgement.frameBytes > FRAME_CAPACITY) return this.#drop("frame_too_large");
    const { arena, slots, network, direction } = this.#parts;
    const at = arena.offsetOf(payload);
    const slot = at < 0 ? slots.acquire() : slots.slotAt(at);
    if (slot === undefined) return this.#drop("no_packet_slot");
    this.#headerBytes = flow.headerBytes;
    const payloadAt = slot + frameOffset + flow.headerBytes;
    // In a slot already, but not where its headers end: an IPv4 client's on an IPv6 socket.
    if (at >= 0 && at !== payloadAt) judgement.payload = arena.viewOf(payloadAt, payload.length);
    if (slot >= this.#batchFirst && slot < this.#batchEnd) {
      judgement.verdict = this.#verdicts[(slot - this.#batchFirst) / SLOT_BYTES]!;
      this.#settle(slot, flow, true);
      if (this.#batchCopies.length > 0)
        judgement.copies = this.#batchCopies.filter((copy) => copy.slot === slot);
    } else {
      if (at < 0) arena.copyIn(payload, payloadAt);
      this.#write(slot, at < 0 ? payloadAt : at, payload.length, flow);
      if (direction === "ingress") network.allowCopies();
      this.#judge(slot, flow, at >= 0);
      judgement.copies = network.takeCopies();
    }
    const verdict = judgement.verdict;
    if (verdict.kind === "pass" && verdict.cutTo !== undefined)
      judgement.payload = cut(judgement.payload ?? payload, verdict.cutTo - this.#headerBytes);
    if (at < 0) slots.release(slot);
    return judgement;
  }

  /** Writes a datagram's headers, in front of its payload, which may have to be moved there. */
  #write(slot: number, at: number, payloadBytes: number, flow: Flow): void {
    const { bytes } = this.#parts.arena;
    const payloadAt = slot + frameOffset + flow.headerBytes;
    if (at !== payloadAt) bytes.copyWithin(payloadAt, at, at + payloadBytes);
    const sum = this.#parts.sums.internetSum(payloadAt, payloadAt + payloadBytes);
    writeUdpFrame(bytes, slot + frameOffset, flow, payloadBytes, sum);
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
    const { arena, sums } = this.#parts;
    const at = slot + frameOffset;
    const payloadAt = at + headerBytes;
    if (payload.length > 0) arena.copyIn(payload, payloadAt);
    const sum = sums.internetSum(payloadAt, payloadAt + payload.length);
    writeTcpFrame(arena.bytes, at, flow, segment, payload.length, sum);
    this.#judge(slot, flow, false);
    this.#parts.slots.release(slot);
    return judgement;
  }

  /** A frame of `frameBytes` where nothing looks (`isBlind`): it passes, and is not made. */
  unseen(frameBytes: number): Judgement {
    return this.#begin(frameBytes);
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

  #describe(slot: number, frameBytes: number): void {
    const { arena, cpu, ifindex, direction } = this.#parts;
    describeFrame(arena, slot, frameBytes, ifindex, cpu);
    if (direction === "egress") arena.words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING;
    this.#parts.refreshClock();
  }

  /** `stays`: the slot is the payload's own until it is sent. */
  #judge(slot: number, flow: Flow, stays: boolean): void {
    const { captures } = this.#parts;
    this.#describe(slot, this.#judgement.frameBytes);
    const isCaptured = captures.isActive && captures.begin(slot, this.#parts);
    this.#judgement.verdict = this.#chain.judge(slot);
    this.#settle(slot, flow, stays);
    if (isCaptured) captures.end(slot, this.#parts, this.#chain, this.#judgement.verdict);
  }

  /** Makes of the chain's verdict what can be done. */
  #settle(slot: number, flow: Flow, stays: boolean): void {
    const { arena, direction } = this.#parts;
    const { verdict } = this.#judgement;
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
    const problem = this.#reread(slot, flow, verdict, stays);
    if (problem !== undefined) this.#drop(problem);
  }

  /** Takes over what a filter wrote; the reason where sockets cannot carry that. */
  #reread(slot: number, flow: Flow, verdict: Verdict, stays: boolean): DropReason | undefined {
    const { arena } = this.#parts;
    const { bytes, words } = arena;
    const judgement = this.#judgement;
    const view = this.#view;
    const data = words[(slot + SLOT_DATA) >> 2]!;
    const problem = view.bind(bytes, data, words[(slot + SLOT_DATA_END) >> 2]!);
    if (problem !== undefined) return problem;
    if (!view.routable || view.protocol !== ipProtocols[flow.protocol]) return "not_routable";
    this.#headerBytes = view.payloadOffset - data;
    judgement.payload = stays
      ? arena.viewOf(view.payloadOffset, view.payloadLength)
      : arena.copyOut(view.payloadOffset, view.payloadEnd);
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
