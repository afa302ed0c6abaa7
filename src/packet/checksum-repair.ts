import { putU16be, u16be } from "../common/bytes.ts";
import { finishSum, type PartialSum, partialSum, pseudoHeaderSum } from "./checksum.ts";
import type { FrameView } from "./frame-view.ts";
import { ipProtocols } from "./ip-protocol.ts";
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
  const pseudoSum = pseudoHeaderSum(
    bytes,
    frame.sourceAt,
    frame.version,
    protocol,
    payloadEnd - transportOffset,
  );
  if (u16be(bytes, field) !== (~finishSum(pseudoSum) & 0xffff)) return false;
  putU16be(bytes, field, 0);
  const checksum = finishSum(sum(bytes, transportOffset, payloadEnd, pseudoSum));
  putU16be(bytes, field, checksum === 0 && protocol === ipProtocols.udp ? 0xffff : checksum);
  return true;
}
