import { expect, test } from "vitest";
import { interpreter } from "../../src/engine/interpreter/interpreter.ts";
import { describeFrame, frameOffset, placeFrame } from "../../src/engine/packet-slot.ts";
import {
  FRAME_CAPACITY,
  SLOT_BYTES,
  SLOT_DATA,
  SLOT_DATA_END,
  SLOT_FLAGS,
  SLOT_FRAME_LIMIT,
  SLOT_WROTE,
} from "../../src/runtime/wasm/layout.ts";
import { EngineBench, frame } from "./engine-bench.ts";

const bench = new EngineBench(interpreter);
const { arena, slot } = bench;
const word = (at: number): number => arena.view.getUint32(slot + at, true);

test("placeFrame copies the packet behind the headroom", () => {
  expect(placeFrame(arena, slot, frame(60), "xdp").ok).toBe(true);
  expect(word(SLOT_DATA)).toBe(slot + frameOffset);
  expect(word(SLOT_DATA_END)).toBe(slot + frameOffset + 60);
  expect(arena.bytes.slice(slot + frameOffset, slot + frameOffset + 60)).toEqual(frame(60));
});

test("placeFrame refuses a frame without a whole Ethernet header, but takes any raw data", () => {
  expect(placeFrame(arena, slot, frame(13), "xdp")).toMatchObject({
    ok: false,
    error: { code: "PACKET_TOO_SHORT" },
  });
  expect(placeFrame(arena, slot, frame(14), "xdp").ok).toBe(true);
  expect(placeFrame(arena, slot, frame(0), "raw").ok).toBe(true);
});

test("placeFrame refuses what no slot holds", () => {
  expect(placeFrame(arena, slot, new Uint8Array(FRAME_CAPACITY), "xdp").ok).toBe(true);
  expect(placeFrame(arena, slot, new Uint8Array(FRAME_CAPACITY + 1), "xdp")).toMatchObject({
    ok: false,
    error: { code: "PACKET_TOO_LONG" },
  });
});

test("a frame of any length stays inside its slot however far it grows", () => {
  for (const length of [14, 3519, 3520, 3521, FRAME_CAPACITY]) {
    describeFrame(arena, slot, length, 1, 0);
    expect(word(SLOT_FRAME_LIMIT)).toBeLessThanOrEqual(slot + SLOT_BYTES);
    expect(word(SLOT_FRAME_LIMIT)).toBeGreaterThanOrEqual(word(SLOT_DATA_END));
  }
});

test("describeFrame forgets what an earlier program did to the slot", () => {
  arena.view.setUint32(slot + SLOT_FLAGS, SLOT_WROTE, true);
  describeFrame(arena, slot, 60, 1, 0);
  expect(word(SLOT_FLAGS)).toBe(0);
});

test("a program sees the ifindex and the queue a frame came by", () => {
  describeFrame(arena, slot, 60, 1007, 3);
  const program = "r0 = *(u32 *)(r1 + 16)\nr0 <<= 32\nr2 = *(u32 *)(r1 + 12)\nr0 |= r2\nexit";
  expect(bench.runAgain(bench.prepare(program, "xdp")).r0).toBe((3n << 32n) | 1007n);
  const socket = "r0 = *(u32 *)(r1 + 36)\nr0 <<= 32\nr2 = *(u32 *)(r1 + 40)\nr0 |= r2\nexit";
  expect(bench.runAgain(bench.prepare(socket, "socket")).r0).toBe((1007n << 32n) | 1007n);
});

test("a frame that no slot holds is a bug of whoever describes it", () => {
  expect(() => describeFrame(arena, slot, FRAME_CAPACITY + 1, 1, 0)).toThrow(RangeError);
});
