import type { Arena } from "../runtime/arena.ts";
import { SLOT_FLAGS, SLOT_HAS_TUNNEL, SLOT_TUNNEL } from "../runtime/wasm/layout.ts";

/**
 * Where SLOT_TUNNEL holds what the kernel's struct ip_tunnel_info does: of a packet that a tunnel
 * brought, that tunnel; after `bpf_skb_set_tunnel_key` the one that it is to go through. Addresses are
 * in network order, IPv4 in the first four bytes; all else is in the host's.
 */
export const tunnelInfo = {
  /** 64 bits, of which VXLAN and GENEVE have 24. */
  id: 0,
  source: 8,
  destination: 24,
  label: 40,
  /** Bits of `tunnelFlags`. */
  flags: 44,
  tos: 46,
  ttl: 47,
  /** Bits of `tunnelModes`. */
  mode: 48,
  optionsLength: 52,
  options: 56,
} as const;

/** IP_TUNNEL_INFO_*, net/ip_tunnels.h: set by a program, to be sent so; with IPv6 addresses. */
export const tunnelModes = { transmit: 1, ipv6: 2 } as const;

/** IP_TUNNEL_*_BIT, linux/if_tunnel.h. */
export const tunnelFlags = {
  checksum: 1 << 0,
  key: 1 << 2,
  sequence: 1 << 3,
  dontFragment: 1 << 8,
  nocache: 1 << 13,
  /** Of GENEVE, VXLAN, ERSPAN and GTP: a program's options are whichever the device knows. */
  anyOptions: 0xd800,
  geneveOptions: 1 << 11,
} as const;

/** IP_TUNNEL_OPTS_MAX: longest options, in bytes. */
export const maxTunnelOptionsBytes = 255;

/** Where a packet has come from through a tunnel. */
export interface TunnelOrigin {
  readonly vni: number;
  /** The outer addresses: 4 or 16 bytes, both of one family. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** The tunnel's header, in which GENEVE's options lie from `optionsAt` to `optionsEnd`. */
  readonly header: Uint8Array;
  readonly optionsAt: number;
  readonly optionsEnd: number;
}

/** Says of the packet in `slot` which tunnel has brought it. */
export function describeTunnel(
  { words, bytes, view }: Arena,
  slot: number,
  from: TunnelOrigin,
): void {
  const at = slot + SLOT_TUNNEL;
  const optionsLength = Math.min(from.optionsEnd - from.optionsAt, maxTunnelOptionsBytes);
  for (let i = 0; i < tunnelInfo.options; i += 4) words[(at + i) >> 2] = 0;
  words[(at + tunnelInfo.id) >> 2] = from.vni;
  const { source, destination } = from;
  for (let i = 0; i < source.length; i++) {
    bytes[at + tunnelInfo.source + i] = source[i]!;
    bytes[at + tunnelInfo.destination + i] = destination[i]!;
  }
  if (source.length === 16) words[(at + tunnelInfo.mode) >> 2] = tunnelModes.ipv6;
  let flags: number = tunnelFlags.key;
  if (optionsLength > 0) {
    flags |= tunnelFlags.geneveOptions;
    for (let i = 0; i < optionsLength; i++)
      bytes[at + tunnelInfo.options + i] = from.header[from.optionsAt + i]!;
    words[(at + tunnelInfo.optionsLength) >> 2] = optionsLength;
  }
  view.setUint16(at + tunnelInfo.flags, flags, true);
  words[(slot + SLOT_FLAGS) >> 2]! |= SLOT_HAS_TUNNEL;
}

/** Which way a program wants its packet to leave through a tunnel. */
export interface TunnelRoute {
  readonly vni: number;
  /** The peer's address, 4 or 16 bytes; undefined where it names none. */
  readonly peer: Uint8Array | undefined;
  /** What a GENEVE header is to carry. */
  readonly options: Uint8Array;
}

/** What a program said by `bpf_skb_set_tunnel_key` of the packet in `slot`; undefined for nothing. */
export function tunnelRoute({ words, bytes }: Arena, slot: number): TunnelRoute | undefined {
  if ((words[(slot + SLOT_FLAGS) >> 2]! & SLOT_HAS_TUNNEL) === 0) return undefined;
  const at = slot + SLOT_TUNNEL;
  const mode = words[(at + tunnelInfo.mode) >> 2]!;
  if ((mode & tunnelModes.transmit) === 0) return undefined;
  const length = (mode & tunnelModes.ipv6) === 0 ? 4 : 16;
  const remote = at + tunnelInfo.destination;
  const peer = bytes.slice(remote, remote + length);
  const options = at + tunnelInfo.options;
  return {
    vni: words[(at + tunnelInfo.id) >> 2]! >>> 0,
    peer: peer.every((byte) => byte === 0) ? undefined : peer,
    options: bytes.slice(options, options + words[(at + tunnelInfo.optionsLength) >> 2]!),
  };
}
