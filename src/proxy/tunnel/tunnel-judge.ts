import { copyBytes, u16be } from "../../common/bytes.ts";
import type { DropReason } from "../../common/drop-reason.ts";
import { describeFrame, frameOffset } from "../../engine/packet-slot.ts";
import { hasVlanTag } from "../../engine/socket-context.ts";
import {
  describeTunnel,
  type TunnelOrigin,
  type TunnelRoute,
  tunnelRoute,
} from "../../engine/tunnel-info.ts";
import type { Chain } from "../../filter/chain.ts";
import type { Verdict } from "../../filter/verdict.ts";
import { dropFor, passed } from "../../filter/verdict-of.ts";
import { parseAddress, unmapAddress } from "../../packet/address.ts";
import { ethernet } from "../../packet/ethernet.ts";
import { geneveHeaderBytes } from "../../packet/geneve.ts";
import {
  FRAME_CAPACITY,
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_HEADER_BYTES,
  SLOT_OUTGOING,
  SLOT_WROTE,
} from "../../runtime/wasm/layout.ts";
import type { JudgeParts } from "../frame-judge.ts";
import type { Arrival } from "./arrival.ts";
import { type Encapsulation, isIp } from "./encapsulation.ts";
import { writeEthernet } from "./missing-ethernet.ts";
import type { TunnelCapture } from "./tunnel-capture.ts";

/** What a chain made of a tunnel's frame. Valid until the next is judged: one object serves all. */
export interface TunnelJudgement {
  /** The chain's, or a drop where the frame cannot go on as it is now. */
  verdict: Verdict;
  /** Length of the frame as it came, from its Ethernet header. */
  frameBytes: number;
  /** What goes out: the datagram as it came, or one with what filters wrote. */
  datagram: Uint8Array;
  /** Filters have written: in a slot, what came is there no more. */
  isRewritten: boolean;
  /** Through which network and to which peer, where a filter has said so. */
  route: TunnelRoute | undefined;
}

type TunnelJudgeParts = Pick<JudgeParts, "arena" | "slots" | "cpu" | "refreshClock"> & {
  /** The address that the tunnel listens on. */
  readonly host: string;
};

const anyAddress = { 4: new Uint8Array(4), 6: new Uint8Array(16) } as const;
/** Outer addresses remembered. What a stranger sends is not to fill memory. */
const maxRemembered = 1024;

/**
 * Runs a chain over true frames. Nothing in them is Weir's own, so nothing that a filter writes is
 * refused but what the tunnel's header cannot carry: addresses, VLAN tags and whole new headers go
 * out as the filter left them.
 *
 * An IP packet without an Ethernet header (GENEVE) is given one for the filters' eyes, with MAC
 * addresses derived from its own, and loses it again on the way out.
 */
export class TunnelJudge {
  #chain: Chain;
  readonly #parts: TunnelJudgeParts;
  readonly #capture: TunnelCapture;
  readonly #encapsulation: Encapsulation;
  readonly #origin: { -readonly [Key in keyof TunnelOrigin]: TunnelOrigin[Key] } = {
    vni: 0,
    source: anyAddress[4],
    destination: anyAddress[4],
    header: anyAddress[4],
    optionsAt: 0,
    optionsEnd: 0,
  };
  readonly #judgement: TunnelJudgement = {
    verdict: passed,
    frameBytes: 0,
    datagram: new Uint8Array(0),
    isRewritten: false,
    route: undefined,
  };
  /** The slots that `together` has judged, how far they lie apart, and their verdicts. */
  #batchFirst = 0;
  #batchEnd = 0;
  #batchStride = SLOT_BYTES;
  readonly #verdicts: Verdict[] = [];
  /** Of the frame that goes out: where it lies without the Ethernet header that it had none of, and what it is. */
  #start = 0;
  #end = 0;
  #etherType = 0;
  /** Outer addresses as bytes, by their text. */
  readonly #outer = new Map<string, Uint8Array>();

  constructor(
    chain: Chain,
    encapsulation: Encapsulation,
    capture: TunnelCapture,
    parts: TunnelJudgeParts,
  ) {
    this.#chain = chain;
    this.#encapsulation = encapsulation;
    this.#capture = capture;
    this.#parts = parts;
  }

  /** Asks another chain from the next frame on, for a listener that may have another name. */
  follow(chain: Chain, listener: string): void {
    this.#chain = chain;
    this.#capture.listener = listener;
  }

  /** Nothing looks at frames of this direction: all pass. */
  get isBlind(): boolean {
    return this.#chain.isEmpty && !this.#capture.isActive;
  }

  /** A capture wants each frame as it was before, and who decided. */
  get canBatch(): boolean {
    return !this.#chain.isEmpty && !this.#capture.isActive && this.#chain.canBatch;
  }

  /** Makes `arrival`, which lies in a slot, ready to be judged there by `together`. */
  prepare(arrival: Arrival): void {
    this.#describe(arrival.slot, arrival, this.#parts.arena.offsetOf(arrival.datagram));
  }

  /**
   * Judges the frames that are prepared in `count` slots, `stride` bytes apart, in one call of the
   * chain. `judge` then tells of each. Where `canBatch`.
   */
  together(first: number, stride: number, count: number): void {
    this.#parts.refreshClock();
    this.#chain.judgeBatch(first, stride, count, this.#verdicts);
    this.#batchFirst = first;
    this.#batchStride = stride;
    this.#batchEnd = first + count * stride;
  }

  /** Forgets what was judged together: what lies there from now on has not been. */
  apart(): void {
    this.#batchEnd = this.#batchFirst;
  }

  judge(arrival: Arrival): TunnelJudgement {
    const judgement = this.#judgement;
    judgement.verdict = passed;
    judgement.frameBytes = arrival.frameBytes;
    judgement.datagram = arrival.datagram;
    judgement.isRewritten = false;
    judgement.route = undefined;
    const { slot } = arrival;
    if (slot >= this.#batchFirst && slot < this.#batchEnd) {
      judgement.verdict = this.#verdicts[(slot - this.#batchFirst) / this.#batchStride]!;
      this.#settle(slot, arrival);
      this.#wrap(slot, arrival);
      return judgement;
    }
    if (this.isBlind) return judgement;
    if (judgement.frameBytes > FRAME_CAPACITY) return this.#refuse(arrival, "frame_too_large");
    const { arena, slots } = this.#parts;
    if (slot >= 0) {
      this.prepare(arrival);
      this.#ask(slot, arrival);
      return judgement;
    }
    const own = slots.acquire();
    if (own === undefined) return this.#refuse(arrival, "no_packet_slot");
    const { datagram, payloadAt, missingBytes } = arrival;
    const at = own + frameOffset + missingBytes;
    arena.copyIn(datagram, at, payloadAt);
    this.#describe(own, arrival, at - payloadAt);
    this.#ask(own, arrival);
    slots.release(own);
    return judgement;
  }

  /** What `judge` told of last went its way, or for this reason nowhere: for captures. */
  settled(dropped: DropReason | undefined): void {
    if (this.#capture.isActive) this.#capture.settled(dropped);
  }

  /** `at`: where the datagram lies, or would if its header had been copied too. */
  #describe(slot: number, arrival: Arrival, at: number): void {
    const { arena, cpu } = this.#parts;
    const { etherType, missingBytes } = arrival;
    const start = at + arrival.payloadAt - missingBytes;
    if (missingBytes > 0) writeEthernet(arena.bytes, start, etherType);
    describeFrame(arena, slot, arrival.frameBytes, arrival.peer.ifindex, cpu, start);
    if (this.#capture.direction === "egress") arena.words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING;
    else describeTunnel(arena, slot, this.#originOf(arrival));
  }

  #ask(slot: number, arrival: Arrival): void {
    const judgement = this.#judgement;
    const capture = this.#capture;
    this.#parts.refreshClock();
    if (capture.isActive) capture.begin(slot, arrival);
    judgement.verdict = this.#chain.judge(slot);
    this.#settle(slot, arrival);
    if (capture.isActive) capture.judged(slot, this.#chain, judgement.verdict);
    this.#wrap(slot, arrival);
  }

  /** The outer header as far as a socket tells of it: not the hop limit, and no wildcard's address. */
  #originOf({ vni, outer, header, payloadAt, protocol }: Arrival): TunnelOrigin {
    const source = this.#outerAddress(outer.address);
    const own = this.#outerAddress(this.#parts.host);
    const origin = this.#origin;
    origin.vni = vni;
    origin.source = source;
    origin.destination =
      own.length === source.length ? own : anyAddress[source.length === 4 ? 4 : 6];
    origin.header = header;
    origin.optionsAt = protocol === "geneve" ? geneveHeaderBytes : payloadAt;
    origin.optionsEnd = payloadAt;
    return origin;
  }

  #outerAddress(text: string): Uint8Array {
    let bytes = this.#outer.get(text);
    if (bytes === undefined) {
      const parsed = parseAddress(text);
      bytes = parsed === undefined ? anyAddress[4] : unmapAddress(parsed);
      if (this.#outer.size === maxRemembered) this.#outer.clear();
      this.#outer.set(text, bytes);
    }
    return bytes;
  }

  /** Drops what no filter sees. */
  #refuse(arrival: Arrival, reason: DropReason): TunnelJudgement {
    const { peer } = arrival;
    if (this.#capture.isActive) this.#capture.refused(arrival, peer, peer.ifindex, reason);
    return this.#drop(reason);
  }

  #drop(reason: DropReason): TunnelJudgement {
    this.#judgement.verdict = dropFor(reason);
    return this.#judgement;
  }

  /** Finds out what of the chain's verdict can be done, and where the frame that goes out lies. */
  #settle(slot: number, arrival: Arrival): void {
    const judgement = this.#judgement;
    const { verdict } = judgement;
    if (verdict.kind === "drop" || verdict.kind === "aborted") return;
    const { arena } = this.#parts;
    const { bytes, words } = arena;
    judgement.route = tunnelRoute(arena, slot);
    // A tag beside the frame is one that the frame's bytes do not have.
    if (hasVlanTag(words, slot)) {
      this.#drop("not_routable");
      return;
    }
    judgement.isRewritten = (words[(slot + SLOT_FLAGS) >> 2]! & SLOT_WROTE) !== 0;
    const start = words[(slot + SLOT_DATA) >> 2]!;
    let end = words[(slot + SLOT_DATA_END) >> 2]!;
    // No less than an Ethernet header is a frame.
    if (verdict.kind === "pass" && verdict.cutTo !== undefined)
      end = Math.min(end, start + Math.max(verdict.cutTo, ethernet.headerBytes));
    if (end - start < ethernet.headerBytes) {
      this.#drop("frame_truncated");
      return;
    }
    this.#start = start + arrival.missingBytes;
    this.#end = end;
    this.#etherType = arrival.etherType;
    if (!isIp(arrival.etherType)) return;
    this.#etherType = u16be(bytes, start + ethernet.etherType);
    if (!isIp(this.#etherType)) this.#drop("not_routable");
  }

  /** Puts the frame under the header that it came under: where it lies, if it may stay there. */
  #wrap(slot: number, arrival: Arrival): void {
    const judgement = this.#judgement;
    const { kind } = judgement.verdict;
    if (kind === "drop" || kind === "aborted") return;
    const { payloadAt } = arrival;
    const length = payloadAt + this.#end - this.#start;
    const isSame = !judgement.isRewritten && length === arrival.datagram.length;
    if (arrival.slot < 0 && isSame) return;
    const { arena } = this.#parts;
    const at = this.#start - payloadAt;
    if (arrival.slot >= 0 && at >= slot + SLOT_HEADER_BYTES) {
      // Its place was room for the filters' eyes and notes: an Ethernet header, metadata.
      arrival.writeHeader(arena.bytes, at);
      if (isSame) return;
      judgement.datagram = arena.viewOf(at, length);
    } else {
      judgement.datagram = Buffer.allocUnsafe(length);
      arrival.writeHeader(judgement.datagram, 0);
      copyBytes(arena.bytes, this.#start, this.#end, judgement.datagram, payloadAt);
    }
    if (this.#etherType !== arrival.etherType)
      this.#encapsulation.setEtherType(judgement.datagram, this.#etherType);
  }
}
