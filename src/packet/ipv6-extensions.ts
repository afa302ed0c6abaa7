import { u8, u16be } from "../common/bytes.ts";
import type { DropReason } from "../common/drop-reason.ts";
import { ipProtocols } from "./ip-protocol.ts";

/** A longer chain is an attack on those who walk it; RFC 8504 §5.3 lets a host refuse it. */
const maxExtensions = 16;

/**
 * The chain of extension headers between IPv6's fixed header and the payload: hop-by-hop options,
 * routing, fragment, destination options (RFC 8200 §4) and authentication (RFC 4302). Any other
 * number ends the chain.
 */
export class Ipv6Extensions {
  /** What follows the chain. */
  protocol: number = ipProtocols.noNextHeader;
  payloadAt = 0;
  count = 0;
  /** Whether the packet is one piece of a larger one. */
  isFragment = false;

  /** `next` is the number of the header at `at`; the chain and the payload end at `end`. */
  bind(bytes: Uint8Array, at: number, end: number, next: number): DropReason | undefined {
    this.count = 0;
    this.isFragment = false;
    let header = next;
    let position = at;
    while (isExtension(header)) {
      if (this.count === maxExtensions) return "frame_too_deep";
      // RFC 8200 §4.1: hop-by-hop options come first, or the packet is malformed.
      if (header === ipProtocols.hopByHop && this.count > 0) return "frame_bad_header";
      if (end - position < 8) return "frame_truncated";
      const following = u8(bytes, position);
      let length = 8;
      let goesOn = true;
      if (header === ipProtocols.fragment) {
        // Offset 0 and no more to come: an atomic fragment, a whole packet. RFC 6946.
        const field = u16be(bytes, position + 2);
        const whole = (field & 0xfff9) === 0;
        this.isFragment ||= !whole;
        goesOn = field >>> 3 === 0;
      } else if (header === ipProtocols.authentication) {
        length = (u8(bytes, position + 1) + 2) * 4;
      } else {
        length = (u8(bytes, position + 1) + 1) * 8;
      }
      if (length > end - position) return "frame_truncated";
      position += length;
      header = following;
      this.count++;
      // Later fragments hold the middle of something: what follows them is not a header.
      if (!goesOn) break;
    }
    this.protocol = header;
    this.payloadAt = position;
    return undefined;
  }
}

function isExtension(header: number): boolean {
  switch (header) {
    case ipProtocols.hopByHop:
    case ipProtocols.routing:
    case ipProtocols.fragment:
    case ipProtocols.authentication:
    case ipProtocols.destinationOptions:
      return true;
    default:
      return false;
  }
}
