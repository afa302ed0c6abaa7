import {
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_DATA_META,
  SLOT_ENCAPSULATED,
  SLOT_FLAGS,
  SLOT_HEADER_BYTES,
  SLOT_NETWORK,
  SLOT_SKB,
  SLOT_TRANSPORT,
} from "../../runtime/wasm/layout.ts";
import { refreshSocketContext, skb } from "../socket-context.ts";
import type { HelperRun } from "./helper.ts";

/**
 * The frame of a run of one of the skb types, and what the kernel keeps of it in `struct sk_buff`.
 * Where its bytes lie in the slot is nobody's business but this file's: a frame that grows at its
 * head takes room in front of it and, where there is too little, moves up, as pskb_expand_head does.
 */

/** Most bytes a helper makes a frame. Kernel: BPF_SKB_MAX_LEN, four pages without skb_shared_info. */
export const maxFrameBytes = 4 * 4096 - 320;

export function frameStart(run: HelperRun): number {
  return word(run, SLOT_DATA);
}

export function frameLength(run: HelperRun): number {
  return word(run, SLOT_DATA_END) - word(run, SLOT_DATA);
}

/** Address of the network header. */
export function networkStart(run: HelperRun): number {
  return word(run, SLOT_NETWORK);
}

/** Bytes between the frame's start and its network header. */
export function networkOffset(run: HelperRun): number {
  return networkStart(run) - frameStart(run);
}

/** `offset` from the frame's start. */
export function setNetworkOffset(run: HelperRun, offset: number): void {
  put(run, SLOT_NETWORK, frameStart(run) + offset);
}

/**
 * Bytes between the frame's start and its transport header, where that is known: nothing looks for it
 * before a program says that it puts one there. Kernel: skb_transport_header_was_set.
 */
export function transportOffset(run: HelperRun): number | undefined {
  if (!hasFlags(run, SLOT_ENCAPSULATED)) return undefined;
  const offset = run.context.arena.view.getInt32(run.memory.slot + SLOT_TRANSPORT, true);
  return offset === noTransport ? undefined : offset;
}

/** `offset` from the frame's start, of a packet that has been encapsulated. */
export function setTransportOffset(run: HelperRun, offset: number | undefined): void {
  put(run, SLOT_TRANSPORT, offset ?? noTransport);
}

/** Stands for none: no frame is that long. */
const noTransport = -0x8000_0000;

/** The transport header stays the bytes it was when `count` more (negative: fewer) are before it. */
function moveTransport(run: HelperRun, count: number): void {
  const offset = transportOffset(run);
  if (offset !== undefined) setTransportOffset(run, offset + count);
}

/** `skb->protocol`: an EtherType, in the host's order. */
export function protocolOf(run: HelperRun): number {
  return run.context.arena.view.getUint16(run.memory.slot + SLOT_SKB + skb.protocol);
}

export function setProtocol(run: HelperRun, protocol: number): void {
  run.context.arena.view.setUint16(run.memory.slot + SLOT_SKB + skb.protocol, protocol);
}

/** A 32-bit field of the program's `__sk_buff`, by its offset there. */
export function contextWord(run: HelperRun, field: number): number {
  return word(run, SLOT_SKB + field);
}

export function setContextWord(run: HelperRun, field: number, value: number): void {
  put(run, SLOT_SKB + field, value);
}

/** Whether all bits of `mask` are set in the slot's flags. */
export function hasFlags(run: HelperRun, mask: number): boolean {
  return (word(run, SLOT_FLAGS) & mask) === mask;
}

export function setFlags(run: HelperRun, mask: number, on: boolean): void {
  const flags = word(run, SLOT_FLAGS);
  put(run, SLOT_FLAGS, on ? flags | mask : flags & ~mask);
}

/** Bits of the slot's flags from `shift` up, as a number. */
export function flagBits(run: HelperRun, shift: number, mask: number): number {
  return (word(run, SLOT_FLAGS) >>> shift) & mask;
}

export function setFlagBits(run: HelperRun, shift: number, mask: number, value: number): void {
  const flags = word(run, SLOT_FLAGS) & ~(mask << shift);
  put(run, SLOT_FLAGS, flags | (value << shift));
}

/**
 * Puts `count` zero bytes at `offset` from the frame's start. The network header keeps its distance
 * from the start. The caller has checked that the frame stays within `maxFrameBytes`.
 */
export function insertBytes(run: HelperRun, offset: number, count: number): void {
  const { bytes } = run.context.arena;
  const network = networkOffset(run);
  const start = frameStart(run);
  const length = frameLength(run);
  const moved = placeFor(run, start - count, length + count);
  bytes.copyWithin(moved, start, start + offset);
  bytes.copyWithin(moved + offset + count, start + offset, start + length);
  bytes.fill(0, moved + offset, moved + offset + count);
  setEnds(run, moved, moved + length + count);
  setNetworkOffset(run, network);
  moveTransport(run, count);
}

/**
 * Takes `count` bytes out at `offset`; they are within the frame. The network header keeps its
 * distance from the start.
 */
export function removeBytes(run: HelperRun, offset: number, count: number): void {
  const network = networkOffset(run);
  const start = frameStart(run);
  run.context.arena.bytes.copyWithin(start + count, start, start + offset);
  setEnds(run, start + count, word(run, SLOT_DATA_END));
  setNetworkOffset(run, network);
  moveTransport(run, -count);
}

/** Cuts the frame, or makes it longer by zero bytes, to at most `maxFrameBytes`. */
export function resizeFrame(run: HelperRun, length: number): void {
  const { bytes } = run.context.arena;
  const network = networkOffset(run);
  const start = frameStart(run);
  const before = frameLength(run);
  const moved = placeFor(run, start, length);
  if (moved !== start) bytes.copyWithin(moved, start, start + before);
  if (length > before) bytes.fill(0, moved + before, moved + length);
  setEnds(run, moved, moved + length);
  setNetworkOffset(run, network);
}

/** Every pointer that the program made is checked against the frame as it is now. */
export function frameChanged(run: HelperRun): void {
  const { memory } = run;
  refreshSocketContext(run.context.arena.view, memory.slot, memory.type);
  memory.refresh();
  memory.markWritten();
}

/** The place nearest to `wanted` where `length` bytes fit into the slot. */
function placeFor(run: HelperRun, wanted: number, length: number): number {
  const { slot } = run.memory;
  return Math.min(Math.max(wanted, slot + SLOT_HEADER_BYTES), slot + SLOT_BYTES - length);
}

/** Metadata is given up: what XDP put in front of the frame is not in front of it any more. */
function setEnds(run: HelperRun, start: number, end: number): void {
  if (start !== frameStart(run)) put(run, SLOT_DATA_META, start);
  put(run, SLOT_DATA, start);
  put(run, SLOT_DATA_END, end);
}

function word(run: HelperRun, at: number): number {
  return run.context.arena.view.getUint32(run.memory.slot + at, true);
}

function put(run: HelperRun, at: number, value: number): void {
  run.context.arena.view.setUint32(run.memory.slot + at, value, true);
}
