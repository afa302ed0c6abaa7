import ipaddr from "ipaddr.js";
import { type Decoder, encodeText } from "./decoder.ts";

/** Sizes in bytes that `inet_ip` reads. */
export const inetIpSizes: readonly number[] = [4, 16];

/**
 * An address in network order: 4 bytes as IPv4, 16 as IPv6 in the form of RFC 5952. As in Go's
 * net.IP, which ebpf_exporter prints with, an IPv4-mapped address is printed as IPv4.
 */
export const decodeInetIp: Decoder = (input) => {
  if (input.length === 4) return encodeText(input.join("."));
  const address = new ipaddr.IPv6([...input]);
  if (address.isIPv4MappedAddress()) return encodeText(address.toIPv4Address().toString());
  return encodeText(address.toRFC5952String());
};
