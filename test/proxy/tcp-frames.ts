import { type TestFilter, xdp } from "./rig.ts";

/** TCP's flag bits. RFC 9293 §3.1. */
export const flag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

/** TCP flags of an IPv4 frame without IP options. */
export function flags(frame: Uint8Array): number {
  return frame[14 + 20 + 13]!;
}

/** The frame carries payload. */
export function hasData(frame: Uint8Array): boolean {
  return frame.length > 34 + (frame[34 + 12]! >> 4) * 4;
}

/** Returns `verdict` for frames that `match`, else XDP_PASS. */
export function when(match: (frame: Uint8Array) => boolean, verdict: number): TestFilter {
  return xdp((frame) => (match(frame.bytes) ? verdict : 2));
}

/** The first frame of a connection. */
export function isSyn(frame: Uint8Array): boolean {
  return flags(frame) === flag.syn;
}
