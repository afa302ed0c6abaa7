import { ancillary } from "../cbpf/ancillary.ts";
import type { ClassicProgram } from "../cbpf/instruction.ts";
import { runClassic } from "../cbpf/interpreter.ts";
import type { DropReason } from "../common/drop-reason.ts";
import type { Arena } from "../runtime/arena.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_INGRESS_IFINDEX,
  SLOT_WROTE,
} from "../runtime/wasm/layout.ts";
import {
  type CaptureOutcome,
  type CapturePlace,
  CaptureWriter,
  type RedirectTarget,
  type ShadowOutcome,
} from "./capture-ring.ts";
import type { Chain } from "./chain.ts";
import type { ShadowVerdict } from "./shadow-stage.ts";
import type { Direction, Verdict, VerdictKind } from "./verdict.ts";

/** Which packets to capture, and where to put them. Crosses threads. */
export interface CaptureOrder {
  /** Names it, to end it. */
  readonly id: number;
  /** One for each worker, from `captureRingMemory`. */
  readonly rings: readonly SharedArrayBuffer[];
  /** Bytes of a frame that are kept. */
  readonly snapLength: number;
  /** Packets a second and worker that are recorded at most; others are counted as lost. */
  readonly perSecond: number;
  /** Each undefined: any. By name: a reload may give others the same numbers. */
  readonly listener: string | undefined;
  /** As metrics count it: a packet that was dropped after its chain is a drop. */
  readonly verdict: VerdictKind | undefined;
  readonly direction: Direction | undefined;
  /** The chain must have asked it: any program of `filter`, or that of `filter:program`. */
  readonly filter: string | undefined;
  /** Only packets on which a shadow differs from its chain: this filter's, or with "" any's. */
  readonly shadow: string | undefined;
  /** A tcpdump expression, for Ethernet, compiled: it sees the frame as it came. */
  readonly expression: ClassicProgram | undefined;
}

/** PACKET_HOST and PACKET_OUTGOING, linux/if_packet.h. */
const packetHost = 0;
const packetOutgoing = 4;

/** What is dealt out of `perSecond` at a time: a burst is sampled over its length. */
const windowMs = 50;

/**
 * Where a worker's captures listen to its chains. While there are none, `isActive` is the whole
 * cost. What is captured goes into bounded rings: capturing never waits for a reader.
 */
export class CaptureTap {
  isActive = false;
  #sinks: CaptureSink[] = [];
  readonly #arena: Arena;
  readonly #worker: number;
  readonly #nowMs: () => number;

  constructor(arena: Arena, worker: number, nowMs: () => number) {
    this.#arena = arena;
    this.#worker = worker;
    this.#nowMs = nowMs;
  }

  /** Nothing happens where the capture is under way: a worker that starts again may be told of it twice. */
  start(order: CaptureOrder): void {
    if (this.#sinks.some((sink) => sink.order.id === order.id)) return;
    this.#sinks.push(new CaptureSink(order, order.rings[this.#worker]!));
    this.isActive = true;
  }

  stop(id: number): void {
    this.#sinks = this.#sinks.filter((sink) => sink.order.id !== id);
    this.isActive = this.#sinks.length > 0;
  }

  /** The frame in `slot` is about to be judged. Followed by `end`, or `judged` and `settled`, if true. */
  begin(slot: number, place: CapturePlace): boolean {
    const { bytes, words } = this.#arena;
    const start = words[(slot + SLOT_DATA) >> 2]!;
    const end = words[(slot + SLOT_DATA_END) >> 2]!;
    const ifindex = words[(slot + SLOT_INGRESS_IFINDEX) >> 2]!;
    let wanted = false;
    for (const sink of this.#sinks)
      if (sink.begin(bytes, start, end, ifindex, place, this.#nowMs())) wanted = true;
    return wanted;
  }

  /** What became of the frame in `slot` that was begun last, where nobody tells what comes after. */
  end(slot: number, place: CapturePlace, chain: Chain, verdict: Verdict): void {
    this.judged(slot, place, chain, verdict);
    this.settled(undefined);
  }

  /** The verdict on the frame in `slot` that was begun last. */
  judged(slot: number, place: CapturePlace, chain: Chain, verdict: Verdict): void {
    const { bytes, words } = this.#arena;
    const changed = (words[(slot + SLOT_FLAGS) >> 2]! & SLOT_WROTE) !== 0;
    const exit = changed
      ? {
          bytes,
          start: words[(slot + SLOT_DATA) >> 2]!,
          end: words[(slot + SLOT_DATA_END) >> 2]!,
        }
      : undefined;
    for (const sink of this.#sinks) sink.judged(place, chain, verdict, exit);
  }

  /** What has been judged went its way, or for this reason nowhere. */
  settled(dropped: DropReason | undefined): void {
    for (const sink of this.#sinks) sink.settled(dropped);
  }

  /** A frame that was dropped before any filter saw it. */
  refused(frame: Uint8Array, ifindex: number, place: CapturePlace, reason: DropReason): void {
    for (const sink of this.#sinks)
      if (sink.begin(frame, 0, frame.length, ifindex, place, this.#nowMs()))
        sink.refused(place, reason);
  }
}

/** One capture on one worker. */
class CaptureSink {
  readonly order: CaptureOrder;
  readonly #writer: CaptureWriter;
  readonly #perWindow: number;
  #window = Number.NEGATIVE_INFINITY;
  #left = 0;
  #begun = false;
  /** Of the record that waits for `settled`. */
  #verdict: VerdictKind | undefined;
  /** What expressions may ask beside the frame's bytes. Tags are in the frame, and not beside it. */
  readonly #metadata = new Map<number, number>([
    [ancillary.vlanTag, 0],
    [ancillary.vlanTagPresent, 0],
  ]);

  constructor(order: CaptureOrder, ring: SharedArrayBuffer) {
    this.order = order;
    this.#writer = new CaptureWriter(ring, order.snapLength);
    this.#perWindow = Math.max(1, Math.round((order.perSecond * windowMs) / 1000));
  }

  begin(
    bytes: Uint8Array,
    start: number,
    end: number,
    ifindex: number,
    { listener, direction }: CapturePlace,
    nowMs: number,
  ): boolean {
    this.#begun = false;
    this.#verdict = undefined;
    const { order } = this;
    if (order.listener !== undefined && order.listener !== listener) return false;
    if (order.direction !== undefined && order.direction !== direction) return false;
    if (order.expression !== undefined) {
      const metadata = this.#metadata;
      metadata.set(ancillary.packetType, direction === "egress" ? packetOutgoing : packetHost);
      metadata.set(ancillary.ifindex, ifindex);
      const data = bytes.subarray(start, end);
      const packet = { data, length: data.length, ancillary: metadata };
      if (runClassic(order.expression, packet) === 0) return false;
    }
    const window = Math.floor(nowMs / windowMs);
    if (window !== this.#window) {
      this.#window = window;
      this.#left = this.#perWindow;
    }
    if (this.#left === 0) {
      this.#writer.lose();
      return false;
    }
    this.#begun = this.#writer.begin(bytes, start, end);
    return this.#begun;
  }

  judged(
    place: CapturePlace,
    chain: Chain,
    verdict: Verdict,
    exit: { readonly bytes: Uint8Array; readonly start: number; readonly end: number } | undefined,
  ): void {
    if (!this.#begun) return;
    const { order } = this;
    // It may yet become a drop.
    if (order.verdict !== undefined && order.verdict !== verdict.kind && order.verdict !== "drop")
      return;
    if (order.filter !== undefined && !chain.hasAsked(order.filter)) return;
    const differing = chain.differing(order.shadow === "" ? undefined : order.shadow);
    if (order.shadow !== undefined && differing === undefined) return;
    const outcome: CaptureOutcome = {
      verdict: verdict.kind,
      reason: "reason" in verdict ? verdict.reason : undefined,
      ...targetOf(verdict),
      filter: chain.lastAsked?.name,
      shadow: differing && shadowOutcome(differing),
    };
    this.#writer.fill(place, outcome, exit);
    this.#verdict = verdict.kind;
  }

  settled(dropped: DropReason | undefined): void {
    const verdict = this.#verdict;
    this.#verdict = undefined;
    if (verdict === undefined) return;
    const { order } = this;
    const fate = dropped === undefined ? verdict : "drop";
    if (order.verdict !== undefined && order.verdict !== fate) return;
    this.#left--;
    this.#writer.commit(dropped);
  }

  refused(place: CapturePlace, reason: DropReason): void {
    const { order } = this;
    if (order.verdict !== undefined && order.verdict !== "drop") return;
    // Who asks for what a filter saw does not mean this.
    if (order.filter !== undefined || order.shadow !== undefined) return;
    this.#left--;
    const nowhere = { ifindex: undefined, ports: undefined, filter: undefined };
    const outcome = { verdict: "drop", reason, ...nowhere } as const;
    this.#writer.fill(place, outcome, undefined);
    this.#writer.commit();
  }
}

/** Its filter, whichever of that filter's programs it was. */
function shadowOutcome({ filter, verdict }: ShadowVerdict): ShadowOutcome {
  return {
    filter: filter.name.split(":", 1)[0]!,
    verdict: verdict.kind,
    ...targetOf(verdict),
  };
}

/** Where a redirect leads. */
function targetOf(verdict: Verdict): RedirectTarget {
  if (verdict.kind !== "redirect") return { ifindex: undefined, ports: undefined };
  const { ifindex, broadcast } = verdict;
  return broadcast === undefined
    ? { ifindex, ports: undefined }
    : { ifindex: undefined, ports: broadcast.ports };
}
