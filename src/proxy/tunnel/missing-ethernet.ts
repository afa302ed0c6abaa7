import { deriveMac } from "../../packet/address.ts";
import { ethernet, etherTypes } from "../../packet/ethernet.ts";
import { ipv4 } from "../../packet/ipv4.ts";
import { ipv6 } from "../../packet/ipv6.ts";

/**
 * Writes an Ethernet header at `at`, in front of an IP packet that came without one, with MAC addresses
 * derived from the packet's own; of a packet that is too short for those, from what there is.
 */
export function writeEthernet(bytes: Uint8Array, at: number, etherType: number): void {
  const packet = at + ethernet.headerBytes;
  const isIpv4 = etherType === etherTypes.ipv4;
  const { source, destination } = isIpv4 ? ipv4 : ipv6;
  const length = isIpv4 ? 4 : 16;
  const mac = (from: number): Uint8Array =>
    deriveMac(bytes.subarray(packet + from, packet + from + length));
  bytes.set(mac(destination), at + ethernet.destination);
  bytes.set(mac(source), at + ethernet.source);
  bytes[at + ethernet.etherType] = etherType >>> 8;
  bytes[at + ethernet.etherType + 1] = etherType;
}
