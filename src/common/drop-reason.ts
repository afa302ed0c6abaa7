/**
 * Why a packet went no further: the `reason` label of `weir_drops_total`.
 * The one list; whoever drops a packet names one of these. Add with a comment, keep snake_case.
 */
export const dropReasons = [
  // A filter's own verdicts.
  "filter_drop",
  "filter_aborted",
  "budget_exceeded",
  "misaligned_atomic",
  // What a filter asked for and the proxy does not do.
  "redirect_unknown_port",
  "redirect_midstream",
  // A broadcast to a devmap without a port for it, and the ports of one beyond those a packet may go to.
  "redirect_no_port",
  "redirect_port_limit",
  "destination_not_allowed",
  "source_not_allowed",
  "not_routable",
  // The frame cannot be read.
  "frame_truncated",
  "frame_bad_header",
  "frame_bad_length",
  "frame_too_large",
  // More VLAN tags (8) or IPv6 extension headers (16) than Weir walks.
  "frame_too_deep",
  // A TCP super-frame that is to be cut, of which no segment may have a right checksum.
  "frame_bad_checksum",
  // Longer than the way to its receiver takes.
  "mtu_exceeded",
  // What came to a tunnel, and what its mode does not do.
  "tunnel_unknown_peer",
  "tunnel_truncated",
  "tunnel_bad_header",
  "tunnel_bad_option",
  "tunnel_critical_option",
  "tunnel_control",
  "tunnel_unknown_protocol",
  "tunnel_unknown_vni",
  "tunnel_no_destination",
  "tunnel_mirror_only",
  // Sessions and sockets.
  "session_limit",
  // The client's address had its most sessions at this listener.
  "source_limit",
  // Its names could not be looked up yet.
  "upstream_no_address",
  "upstream_unreachable",
  "upstream_error",
  "send_failed",
  "send_queue_full",
  "no_packet_slot",
  "shutting_down",
] as const;

export type DropReason = (typeof dropReasons)[number];
