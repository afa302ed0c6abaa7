/**
 * What a pointer to a socket points to: what a program may read of it, and only that. There are no
 * sockets in user space: such a pointer is null in every run, and what a program does with one that is
 * not is proven by the kernel's rules all the same.
 *
 * - `sock_common`: `__sk_buff.sk`, the part of `struct bpf_sock` that all states of a socket have.
 * - `sock`: all of `struct bpf_sock`; bpf_sk_fullsock and bpf_get_listener_sock return it.
 * - `tcp_sock`: `struct bpf_tcp_sock`.
 */
export type SocketKind = "sock_common" | "sock" | "tcp_sock";

interface SocketFields {
  readonly structure: string;
  readonly names: readonly (readonly [offset: number, name: string])[];
  /** By offset: the access sizes that may begin there, a size being its own bit. */
  readonly sizes: Uint8Array;
}

const byte = 1;
const narrow = 1 | 2 | 4;

/** struct bpf_sock, linux/bpf.h: `bpf_sock_is_valid_access` in the kernel's net/core/filter.c. */
const sock: SocketFields = {
  structure: "bpf_sock",
  names: [
    [0, "bound_dev_if"],
    [4, "family"],
    [8, "type"],
    [12, "protocol"],
    [16, "mark"],
    [20, "priority"],
    [24, "src_ip4"],
    [28, "src_ip6"],
    [44, "src_port"],
    [48, "dst_port"],
    [52, "dst_ip4"],
    [56, "dst_ip6"],
    [72, "state"],
    [76, "rx_queue_mapping"],
  ],
  sizes: sockSizes(),
};

function sockSizes(): Uint8Array {
  const sizes = wholeWords(80);
  // Parts of these only from their beginning.
  for (const at of [4, 8, 12, 44, 48, 72, 76]) sizes[at] = narrow;
  sizes[49] = byte;
  // Of addresses any aligned part.
  for (const [from, to] of [
    [24, 44],
    [52, 72],
  ] as const)
    for (let at = from; at < to; at++)
      sizes[at] = at % 4 === 0 ? narrow : at % 2 === 0 ? 1 | 2 : byte;
  return sizes;
}

/** `bpf_sock_common_is_valid_access`: without type, protocol, mark and priority. */
const common: SocketFields = { ...sock, sizes: sock.sizes.slice().fill(0, 8, 24) };

/** struct bpf_tcp_sock: `bpf_tcp_sock_is_valid_access`. */
const tcp: SocketFields = {
  structure: "bpf_tcp_sock",
  names: [
    [0, "snd_cwnd"],
    [4, "srtt_us"],
    [8, "rtt_min"],
    [12, "snd_ssthresh"],
    [16, "rcv_nxt"],
    [20, "snd_nxt"],
    [24, "snd_una"],
    [28, "mss_cache"],
    [32, "ecn_flags"],
    [36, "rate_delivered"],
    [40, "rate_interval_us"],
    [44, "packets_out"],
    [48, "retrans_out"],
    [52, "total_retrans"],
    [56, "segs_in"],
    [60, "data_segs_in"],
    [64, "segs_out"],
    [68, "data_segs_out"],
    [72, "lost_out"],
    [76, "sacked_out"],
    [80, "bytes_received"],
    [88, "bytes_acked"],
    [96, "dsack_dups"],
    [100, "delivered"],
    [104, "delivered_ce"],
    [108, "icsk_retransmits"],
  ],
  sizes: tcpSizes(),
};

function tcpSizes(): Uint8Array {
  const sizes = wholeWords(112);
  // bytes_received and bytes_acked, which are read whole.
  sizes[80] = sizes[88] = 8;
  sizes[84] = sizes[92] = 0;
  return sizes;
}

function wholeWords(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => (at % 4 === 0 ? 4 : 0));
}

const fields: Record<SocketKind, SocketFields> = { sock_common: common, sock, tcp_sock: tcp };

export function isSocket(kind: string): kind is SocketKind {
  return kind === "sock_common" || kind === "sock" || kind === "tcp_sock";
}

/** For messages: `bpf_sock.mark` of the byte at this offset, and the sizes it may be read with. */
export function socketField(
  kind: SocketKind,
  offset: number,
): { readonly name: string; readonly sizes: readonly number[] } {
  const { structure, names, sizes } = fields[kind];
  const field = offset < sizes.length ? names.findLast(([start]) => start <= offset) : undefined;
  return {
    name: field === undefined ? `struct ${structure}` : `${structure}.${field[1]}`,
    sizes: [1, 2, 4, 8].filter((size) => mayReadSocket(kind, offset, size)),
  };
}

/** Whether a load of `size` bytes at this offset is one that the kernel allows. */
export function mayReadSocket(kind: SocketKind, offset: number, size: number): boolean {
  return ((fields[kind].sizes[offset] ?? 0) & size) !== 0;
}
