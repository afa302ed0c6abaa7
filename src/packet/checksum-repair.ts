import { putU16be, u8, u16be } from "../common/bytes.ts";
import { checksum, finishSum, type PartialSum, partialSum, pseudoHeaderSum } from "./checksum.ts";
import type { FrameView } from "./frame-view.ts";
import { ipProtocols } from "./ip-protocol.ts";
import { ipv4 } from "./ipv4.ts";
import { tcp } from "./tcp.ts";
import { udp } from "./udp.ts";

/**
 * Completes the TCP or UDP checksum of the frame that `frame` is bound to, where its sender left
 * that to a network card that no packet in a tunnel ever meets. The field then holds the sum of the
 * pseudo-header alone (Linux: CHECKSUM_PARTIAL). Returns whether it was so.
 *
 * A right checksum equals that sum in one packet of 65,536; completing it gives the same value
 * again. Needs `frame` bound without a reason, over the same `bytes`. `sum` may be a faster one for them.
 */
export function repairPartialChecksum(
  bytes: Uint8Array,
  frame: FrameView,
  sum: PartialSum = partialSum,
): boolean {
  if (frame.version === 0 || frame.isFragment) return false;
  const { protocol, transportOffset, payloadEnd } = frame;
  let field: number;
  if (protocol === ipProtocols.tcp) field = transportOffset + tcp.checksum;
  else if (protocol === ipProtocols.udp) field = transportOffset + udp.checksum;
  else return false;
  const pseudoSum = pseudoSumOf(bytes, frame, frame.version);
  if (u16be(bytes, field) !== (~finishSum(pseudoSum) & 0xffff)) return false;
  putU16be(bytes, field, 0);
  const whole = finishSum(sum(bytes, transportOffset, payloadEnd, pseudoSum));
  putU16be(bytes, field, whole === 0 && protocol === ipProtocols.udp ? 0xffff : whole);
  return true;
}

/**
 * Whether the TCP segment that `frame` is bound to has nothing to hide: its checksum is right or was
 * left to a network card, and so is IPv4's right. Who cuts a segment anew gives each piece right ones,
 * and must not do that to damaged data. The payload is summed only where the checksum is a whole one.
 */
export function isSoundSegment(
  bytes: Uint8Array,
  frame: FrameView,
  sum: PartialSum = partialSum,
): boolean {
  const { version, transportOffset, payloadEnd, networkOffset } = frame;
  if (version === 0 || frame.isFragment || frame.protocol !== ipProtocols.tcp) return false;
  if (version === 4) {
    const headerBytes = (u8(bytes, networkOffset + ipv4.versionAndLength) & 15) * 4;
    if (checksum(bytes, networkOffset, networkOffset + headerBytes) !== 0) return false;
  }
  const pseudoSum = pseudoSumOf(bytes, frame, version);
  if (u16be(bytes, transportOffset + tcp.checksum) === (~finishSum(pseudoSum) & 0xffff))
    return true;
  return finishSum(sum(bytes, transportOffset, payloadEnd, pseudoSum)) === 0;
}

function pseudoSumOf(
  bytes: Uint8Array,
  { sourceAt, protocol, payloadEnd, transportOffset }: FrameView,
  version: 4 | 6,
): number {
  return pseudoHeaderSum(bytes, sourceAt, version, protocol, payloadEnd - transportOffset);
}
