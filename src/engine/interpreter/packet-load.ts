import { SLOT_DATA, SLOT_DATA_END } from "../../runtime/wasm/layout.ts";
import type { HelperRun } from "../helpers/helper.ts";

/** linux/filter.h: negative offsets count from the network header, or from the link layer's. */
const SKF_NET_OFF = -0x10_0000;
const SKF_LL_OFF = -0x20_0000;
/** The network header of a frame that starts at its Ethernet header. */
const networkOffset = 14;

const r6 = 12;

/**
 * LD_ABS and LD_IND of the legacy packet group: `size` bytes in network order into r0. RFC 9669
 * §5.5. 1: loaded. 0: the packet does not hold them; the function is to return the 0 now in r0.
 * -1: r6 is not the context.
 */
export function loadPacket(run: HelperRun, size: number, offset: number): -1 | 0 | 1 {
  const { registers: r, memory } = run;
  if (r[r6] !== memory.contextAddress || r[r6 + 1] !== 0) return -1;
  const { view } = run.context.arena;
  const data = view.getInt32(memory.slot + SLOT_DATA, true);
  const end = view.getInt32(memory.slot + SLOT_DATA_END, true);
  const at = data + fromStart(offset);
  r[1] = 0;
  if (!(at >= data && at + size <= end)) {
    r[0] = 0;
    return 0;
  }
  if (size === 1) r[0] = view.getUint8(at);
  else if (size === 2) r[0] = view.getUint16(at);
  else r[0] = view.getInt32(at);
  return 1;
}

/** The offset from the frame's start; NaN for one below the link layer's, which nothing holds. */
function fromStart(offset: number): number {
  if (offset >= 0) return offset;
  if (offset >= SKF_NET_OFF) return offset - SKF_NET_OFF + networkOffset;
  return offset >= SKF_LL_OFF ? offset - SKF_LL_OFF : Number.NaN;
}
