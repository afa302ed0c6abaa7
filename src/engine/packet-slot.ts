import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { ProgramType } from "../object/object-spec.ts";
import type { Arena } from "../runtime/arena.ts";
import {
  FRAME_CAPACITY,
  FRAME_HEADROOM,
  FRAME_TAILROOM,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_DATA_META,
  SLOT_EGRESS_IFINDEX,
  SLOT_FLAGS,
  SLOT_FRAME_LIMIT,
  SLOT_FRAME_START,
  SLOT_HEADER_BYTES,
  SLOT_INGRESS_IFINDEX,
  SLOT_OUTGOING,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_IFINDEX,
  SLOT_RX_QUEUE_INDEX,
  SLOT_TEST_RUN,
} from "../runtime/wasm/layout.ts";

/** Kernel: sizeof(struct xdp_frame), the part of the headroom that a program never gets. */
const xdpFrameBytes = 40;
/** Kernel: sizeof(struct skb_shared_info), aligned: kept behind a frame. */
const sharedInfoBytes = 320;
/** Kernel: frame_sz of BPF_PROG_TEST_RUN and of most drivers, a page for headroom and all. */
const pageBytes = 4096;
/** Most bytes a frame of one page holds: BPF_PROG_TEST_RUN takes no longer one. */
const pageFrameBytes = pageBytes - FRAME_HEADROOM - sharedInfoBytes;

const ethernetHeaderBytes = 14;

/** Where a packet's first byte lies in its slot, as a listener writes it. */
export const frameOffset = SLOT_HEADER_BYTES + FRAME_HEADROOM;

/** BPF_PROG_TEST_RUN runs programs on the loopback device's first queue. */
const testRunIfindex = 1;

/**
 * Bytes from a frame's first that are its own to grow into: those of a kernel driver with a page a frame;
 * a longer frame has as little behind it as a full page has.
 */
export function frameRoomBytes(frameBytes: number): number {
  return frameBytes <= pageFrameBytes ? pageFrameBytes : frameBytes + longFrameTailroom;
}

/**
 * Describes a frame of `frameBytes` that lies at `data`, by default `slot + frameOffset`: packet ends,
 * the room a program may grow into (`frameRoomBytes`), where it came from.
 *
 * `frameBytes` is at most FRAME_CAPACITY: the caller has checked.
 */
export function describeFrame(
  arena: Arena,
  slot: number,
  frameBytes: number,
  ingressIfindex: number,
  rxQueueIndex: number,
  data: number = slot + frameOffset,
): void {
  if (frameBytes > FRAME_CAPACITY) throw new RangeError(`frame of ${frameBytes} bytes in a slot`);
  const { words } = arena;
  const at = slot >> 2;
  words[at + (SLOT_DATA >> 2)] = data;
  words[at + (SLOT_DATA_END >> 2)] = data + frameBytes;
  words[at + (SLOT_DATA_META >> 2)] = data;
  words[at + (SLOT_INGRESS_IFINDEX >> 2)] = ingressIfindex;
  words[at + (SLOT_RX_QUEUE_INDEX >> 2)] = rxQueueIndex;
  words[at + (SLOT_EGRESS_IFINDEX >> 2)] = 0;
  words[at + (SLOT_FLAGS >> 2)] = 0;
  words[at + (SLOT_FRAME_START >> 2)] = slot + SLOT_HEADER_BYTES + xdpFrameBytes;
  words[at + (SLOT_FRAME_LIMIT >> 2)] = data + frameRoomBytes(frameBytes);
  words[at + (SLOT_REDIRECT_IFINDEX >> 2)] = 0;
  words[at + (SLOT_REDIRECT_FLAGS >> 2)] = 0;
}

/** What a frame longer than a page may grow by: what the slot has behind the longest. */
const longFrameTailroom = FRAME_TAILROOM - sharedInfoBytes;

/**
 * Copies a packet into a slot and describes it as BPF_PROG_TEST_RUN does: from the loopback device,
 * queue 0, with zeros in the room around it. As there, a frame has at least an Ethernet header; `raw` data may be of any length up to
 * a slot's.
 */
export function placeFrame(
  arena: Arena,
  slot: number,
  bytes: Uint8Array,
  type: ProgramType,
): Result<undefined, UserError> {
  if (bytes.length > FRAME_CAPACITY)
    return err(
      new UserError(
        "PACKET_TOO_LONG",
        "packet",
        `${bytes.length} bytes`,
        `a packet has at most ${FRAME_CAPACITY} bytes`,
      ),
    );
  if (type !== "raw" && bytes.length < ethernetHeaderBytes)
    return err(
      new UserError(
        "PACKET_TOO_SHORT",
        "packet",
        `${bytes.length} bytes`,
        `a frame has at least its Ethernet header of ${ethernetHeaderBytes} bytes`,
      ),
    );
  arena.bytes.set(bytes, slot + frameOffset);
  describeFrame(arena, slot, bytes.length, testRunIfindex, 0);
  const end = slot + frameOffset + bytes.length;
  arena.bytes.fill(0, slot + SLOT_HEADER_BYTES, slot + frameOffset);
  arena.bytes.fill(0, end, arena.words[(slot + SLOT_FRAME_LIMIT) >> 2]);
  // To cgroup programs the kernel's test run is one that sends; `pkt_type` says that it receives.
  arena.words[(slot + SLOT_FLAGS) >> 2] = SLOT_OUTGOING | SLOT_TEST_RUN;
  return ok(undefined);
}
