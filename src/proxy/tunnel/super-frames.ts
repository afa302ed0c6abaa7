import { copyBytes } from "../../common/bytes.ts";
import { frameOffset, frameRoomBytes } from "../../engine/packet-slot.ts";
import { TcpSegments } from "../../packet/tcp-segmentation.ts";
import type { Arena } from "../../runtime/arena.ts";
import type { PacketSums } from "../../runtime/map-runtime.ts";
import { SLOT_BYTES } from "../../runtime/wasm/layout.ts";
import type { BatchSockets } from "../batch-sockets.ts";
import type { PacketSlots } from "../packet-slots.ts";
import { SlotViews } from "../slot-views.ts";
import type { Arrival } from "./arrival.ts";
import type { TunnelJudge } from "./tunnel-judge.ts";

interface SuperFrameParts {
  readonly arena: Arena;
  readonly sums: PacketSums;
  readonly slots: PacketSlots;
  /** Where segments wait for the kernel, which takes them together. Absent: each is sent at once. */
  readonly batches?: BatchSockets | undefined;
}

/**
 * Cuts TCP super-frames, and has their segments judged together. A packet slot holds many segments,
 * each with a header of its own and as much room as filters find around any frame.
 */
export class SuperFrames {
  readonly #parts: SuperFrameParts;
  readonly #segments: TcpSegments;
  /** Views of the segments in each slot that was used. */
  readonly #views = new Map<number, SlotViews>();
  /** Longest segment of the frame that was bound, tunnel header and all. */
  #most = 0;

  constructor(parts: SuperFrameParts) {
    const { arena, sums } = parts;
    this.#parts = parts;
    // Segments are written by their offset in the arena.
    this.#segments = new TcpSegments((bytes, from, to, out, outAt) => {
      const at = arena.offsetOf(bytes);
      if (at >= 0) return sums.copySum(at + from, at + to, outAt);
      copyBytes(bytes, from, to, out, outAt);
      return sums.internetSum(outAt, outAt + to - from);
    });
  }

  /** Whether `arrival` can be cut into datagrams of at most `most` bytes; `carry` does it. */
  bind({ datagram, payloadAt, frame }: Arrival, most: number): boolean {
    this.#most = most;
    return this.#segments.bind(datagram, payloadAt, frame, most - payloadAt);
  }

  /**
   * Cuts what was bound. `onSegment` is called for each segment in order, with `arrival` as if that had
   * come alone (but `frame`, which is the super-frame's); where `judge` can, they have been judged
   * together. False where there is no packet slot for them.
   */
  carry(arrival: Arrival, judge: TunnelJudge, onSegment: () => void): boolean {
    const { slots, batches } = this.#parts;
    const { count } = this.#segments;
    const stride = segmentStride(this.#most - arrival.payloadAt + arrival.missingBytes);
    const perSlot = Math.floor(SLOT_BYTES / stride);
    for (let first = 0; first < count; first += perSlot) {
      const room = batches === undefined ? slots.acquire() : batches.segmentSlot();
      if (room === undefined) return false;
      this.#carrySlot(
        arrival,
        judge,
        onSegment,
        first,
        Math.min(count, first + perSlot),
        room,
        stride,
      );
      if (batches === undefined) slots.release(room);
    }
    return true;
  }

  /** Carries the segments from `first` up to `end`, which have room in a slot. */
  #carrySlot(
    arrival: Arrival,
    judge: TunnelJudge,
    onSegment: () => void,
    first: number,
    end: number,
    room: number,
    stride: number,
  ): void {
    const views = this.#viewsOf(room);
    const { payloadAt } = arrival;
    const before = frameOffset + arrival.missingBytes;
    const canBatch = judge.canBatch;
    for (let i = first, slot = room; i < end; i++, slot += stride) {
      const { bytes } = this.#parts.arena;
      const frameAt = slot + before;
      arrival.writeHeader(bytes, frameAt - payloadAt);
      const length = payloadAt + this.#segments.write(i, bytes, frameAt);
      arrival.slot = slot;
      arrival.datagram = views.of(i - first, frameAt - payloadAt, length);
      if (canBatch) judge.prepare(arrival);
    }
    if (canBatch) judge.together(room, stride, end - first);
    else judge.apart();
    for (let i = first, slot = room; i < end; i++, slot += stride) {
      arrival.slot = slot;
      arrival.datagram = views.at(i - first);
      onSegment();
    }
  }

  #viewsOf(slot: number): SlotViews {
    let views = this.#views.get(slot);
    if (views === undefined) {
      views = new SlotViews(this.#parts.arena);
      this.#views.set(slot, views);
    }
    return views;
  }
}

/** Bytes of a segment's slot, of which the header and the frame are at the usual places. */
function segmentStride(frameBytes: number): number {
  return Math.ceil((frameOffset + frameRoomBytes(frameBytes)) / 64) * 64;
}
