import { errno } from "../../common/errno.ts";
import {
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_DATA_META,
  SLOT_FRAME_LIMIT,
  SLOT_FRAME_START,
} from "../../runtime/wasm/layout.ts";
import { type Helper, type HelperRun, R2, xdpOnly } from "./helper.ts";

/** ETH_HLEN: no frame may become shorter. */
const ethernetHeaderBytes = 14;
/** Metadata must fit the u8 `meta_len` of the kernel's skb_shared_info. */
const maxMetadataBytes = 255;

/**
 * The helpers that move the ends of an XDP packet: net/core/filter.c. Each changes everything or
 * nothing, and pointers made before are checked against the new ends.
 */
export const frameHelpers: readonly Helper[] = [
  {
    id: 44,
    name: "xdp_adjust_head",
    arguments: ["context", "anything"],
    types: xdpOnly,
    movesPacket: true,
    call: adjustHead,
  },
  {
    id: 54,
    name: "xdp_adjust_meta",
    arguments: ["context", "anything"],
    types: xdpOnly,
    movesPacket: true,
    call: adjustMeta,
  },
  {
    id: 65,
    name: "xdp_adjust_tail",
    arguments: ["context", "anything"],
    types: xdpOnly,
    movesPacket: true,
    call: adjustTail,
  },
];

/** Metadata moves along with the frame's start. */
function adjustHead(run: HelperRun): number {
  const { memory } = run;
  const { view, bytes } = run.context.arena;
  const slot = memory.slot;
  const offset = run.registers[R2]!;
  const meta = view.getUint32(slot + SLOT_DATA_META, true);
  const data = view.getUint32(slot + SLOT_DATA, true);
  const lowest = view.getUint32(slot + SLOT_FRAME_START, true) + (data - meta);
  const highest = view.getUint32(slot + SLOT_DATA_END, true) - ethernetHeaderBytes;
  if (data + offset < lowest || data + offset > highest) return -errno.EINVAL;
  if (meta < data) bytes.copyWithin(meta + offset, meta, data);
  view.setUint32(slot + SLOT_DATA_META, meta + offset, true);
  view.setUint32(slot + SLOT_DATA, data + offset, true);
  return moved(run);
}

function adjustMeta(run: HelperRun): number {
  const { view } = run.context.arena;
  const slot = run.memory.slot;
  const data = view.getUint32(slot + SLOT_DATA, true);
  const meta = view.getUint32(slot + SLOT_DATA_META, true) + run.registers[R2]!;
  if (meta < view.getUint32(slot + SLOT_FRAME_START, true) || meta > data) return -errno.EINVAL;
  const length = data - meta;
  if (length % 4 !== 0 || length > maxMetadataBytes) return -errno.EACCES;
  view.setUint32(slot + SLOT_DATA_META, meta, true);
  run.memory.refresh();
  return 0;
}

/** Bytes that a longer frame gains are 0. */
function adjustTail(run: HelperRun): number {
  const { view, bytes } = run.context.arena;
  const slot = run.memory.slot;
  const end = view.getUint32(slot + SLOT_DATA_END, true);
  const newEnd = end + run.registers[R2]!;
  const lowest = view.getUint32(slot + SLOT_DATA, true) + ethernetHeaderBytes;
  if (newEnd > view.getUint32(slot + SLOT_FRAME_LIMIT, true) || newEnd < lowest)
    return -errno.EINVAL;
  if (newEnd > end) bytes.fill(0, end, newEnd);
  view.setUint32(slot + SLOT_DATA_END, newEnd, true);
  return moved(run);
}

function moved(run: HelperRun): number {
  run.memory.refresh();
  run.memory.markWritten();
  return 0;
}
