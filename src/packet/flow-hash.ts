import { u32be } from "../common/bytes.ts";
import { ethernet } from "./ethernet.ts";
import type { FrameView } from "./frame-view.ts";

/**
 * A number for the flow of the frame at `at`: the same for all of its packets, spread evenly over
 * 32 bits (FNV-1a over words). Addresses, protocol and ports of IP; a fragment has no ports. MAC
 * addresses of anything else, which must then be Ethernet. RFC 7348 §5 asks for such a hash, so
 * that routers on the way spread flows and keep each in order.
 */
export function flowHash(bytes: Uint8Array, at: number, frame: FrameView): number {
  let hash = 0x811c9dc5;
  const first = frame.version === 0 ? at + ethernet.destination : frame.sourceAt;
  const length = frame.version === 0 ? 12 : frame.version === 4 ? 8 : 32;
  for (let word = first; word < first + length; word += 4)
    hash = Math.imul(hash ^ u32be(bytes, word), 0x01000193);
  hash = Math.imul(hash ^ frame.protocol, 0x01000193);
  hash = Math.imul(hash ^ ((frame.sourcePort << 16) | frame.destinationPort), 0x01000193);
  // FNV's low bits know little of the high ones, and a handful of low bits is what is used.
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
