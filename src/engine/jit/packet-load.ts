import type { Instruction } from "../../isa/instruction.ts";
import { SLOT_DATA, SLOT_DATA_END, SLOT_SKB } from "../../runtime/wasm/layout.ts";
import { swap16, swap32 } from "./arithmetic.ts";
import { emitExit } from "./calls.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { CONTEXT, detailOf, kindOf } from "./known-values.ts";
import { STOP_PACKET_LOAD } from "./unit.ts";
import { I32, i32, i64 } from "./wasm-operation.ts";

/** linux/filter.h: negative offsets count from the network header, or from the link layer's. */
const SKF_NET_OFF = -0x10_0000;
const SKF_LL_OFF = -0x20_0000;
/** The network header of a frame that starts at its Ethernet header. */
const networkOffset = 14;
/** What no packet reaches. */
const nowhere = 0x7fff_ffff;

const r0 = 0;
const r6 = 6;

/**
 * LD_ABS and LD_IND: bytes of the packet in network order into r0; where the packet does not hold
 * them the function returns 0. RFC 9669 §5.5.
 */
export function emitPacketLoad(
  to: FunctionEmitter,
  { size, index, offset }: Extract<Instruction, { kind: "load_packet" }>,
  slot: number,
): void {
  const { code } = to;
  if (to.checks) checkContext(to, slot);
  const at = to.temporary(I32);
  if (index === undefined) code.i32(fromStart(offset));
  else pushFromStart(to, index, offset);
  code.tee(at);
  // Neither sum overflows as an unsigned number: an offset has at most 31 bits.
  code.i32(size);
  code.emit(i32.add);
  to.getSlot();
  code.access(i32.load, SLOT_DATA_END);
  to.getSlot();
  code.access(i32.load, SLOT_DATA);
  code.emit(i32.sub);
  code.emit(i32.gt_u);
  code.if();
  code.i64(0);
  to.set(r0);
  emitExit(to, slot);
  code.end();
  to.getSlot();
  code.access(i32.load, SLOT_DATA);
  code.get(at);
  code.emit(i32.add);
  if (size === 1) code.access(i32.load8_u, 0);
  else if (size === 2) {
    code.access(i32.load16_u, 0);
    swap16(to, true);
  } else {
    code.access(i32.load, 0);
    swap32(to);
  }
  to.setLow(r0);
}

function checkContext(to: FunctionEmitter, slot: number): void {
  const known = to.known[r6]!;
  if (kindOf(known) === CONTEXT && detailOf(known) === 0) return;
  const { code } = to;
  to.get(r6);
  to.getSlot();
  code.i32(SLOT_SKB);
  code.emit(i32.add);
  code.emit(i64.extend_u);
  code.emit(i64.ne);
  code.if();
  to.stop(STOP_PACKET_LOAD, slot);
  code.end();
}

/** The offset from the frame's start. */
function fromStart(offset: number): number {
  if (offset >= 0) return offset;
  if (offset >= SKF_NET_OFF) return offset - SKF_NET_OFF + networkOffset;
  return offset >= SKF_LL_OFF ? offset - SKF_LL_OFF : nowhere;
}

/** The same for an index in a register. */
function pushFromStart(to: FunctionEmitter, index: number, offset: number): void {
  const { code } = to;
  const at = to.temporary(I32);
  const relative = (): void => {
    to.getLow(index);
    code.i32(offset);
    code.emit(i32.add);
    code.tee(at);
  };
  relative();
  code.i32(0);
  code.emit(i32.ge_s);
  code.if(I32);
  code.get(at);
  code.else();
  code.get(at);
  code.i32(-SKF_NET_OFF + networkOffset);
  code.emit(i32.add);
  code.get(at);
  code.i32(-SKF_LL_OFF);
  code.emit(i32.add);
  code.i32(nowhere);
  code.get(at);
  code.i32(SKF_LL_OFF);
  code.emit(i32.ge_s);
  code.select(I32);
  code.get(at);
  code.i32(SKF_NET_OFF);
  code.emit(i32.ge_s);
  code.select(I32);
  code.end();
}
