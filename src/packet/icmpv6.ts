import { IcmpView } from "./icmp.ts";

/** Message types. RFC 4443 §2.1 and RFC 4861 §4; error messages are those below 128. */
export const icmpv6Types = {
  destinationUnreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echoRequest: 128,
  echoReply: 129,
  neighbourSolicitation: 135,
  neighbourAdvertisement: 136,
} as const;

/**
 * An ICMPv6 header: ICMP's layout with types of its own, and a checksum that covers the
 * pseudo-header too. Bind, then read.
 */
export class Icmpv6View extends IcmpView {
  override get quotesPacket(): boolean {
    return this.type < icmpv6Types.echoRequest;
  }
}
