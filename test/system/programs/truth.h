/* SPDX-License-Identifier: Apache-2.0 */

/* What truth.c counts, and how: settings, maps, and the sums of RFC 1071. */
#ifndef WEIR_TRUTH_H
#define WEIR_TRUTH_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Told by the test. IPv4 as ::ffff:192.0.2.1. */
volatile const struct in6_addr client_address = {};
volatile const struct in6_addr listener_address = {};
volatile const __u16 client_port = 0;
volatile const __u16 listener_port = 0;

enum wrong {
	wrong_length_of_frame,
	wrong_ethernet_type,
	wrong_mac_not_local,
	wrong_mac_changed,
	wrong_ip_version_or_length_of_header,
	wrong_ip_length,
	wrong_ip_fragment_bits,
	wrong_ip_ttl,
	wrong_ip_checksum,
	wrong_ip_identification,
	wrong_source_address,
	wrong_destination_address,
	wrong_source_port,
	wrong_destination_port,
	wrong_udp_length,
	wrong_udp_checksum,
	wrong_protocol,
	wrong_tcp_header,
	wrong_tcp_checksum,
	wrong_tcp_flags,
	wrong_tcp_option,
	wrong_tcp_window,
	wrong_tcp_payload,
	wrong_tcp_sequence,
	wrong_tcp_acknowledgement,
	wrong_tcp_order,
	wrongs,
};

enum seen {
	seen_udp,
	seen_udp_bytes,
	seen_syn,
	seen_syn_ack,
	seen_ack,
	seen_data,
	seen_data_bytes,
	seen_fin,
	seen_rst,
	seens,
};

enum side { client, upstream };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, wrongs);
	__type(key, __u32);
	__type(value, __u64);
} wrong SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} last_found SEC(".maps");

struct seen_key {
	__u32 side;
	__u32 what;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct seen_key);
	__type(value, __u64);
} seen SEC(".maps");

/* The MAC that an address had first, and the last IP identification of each direction. */
struct mac {
	__u8 bytes[ETH_ALEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct in6_addr);
	__type(value, struct mac);
} macs SEC(".maps");

struct stream {
	__u32 protocol;
	__u32 side;
	__u32 client_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct stream);
	__type(value, __u32);
} identifications SEC(".maps");

/*
 * Bits by enum wrong, gathered while a packet is checked and counted at its end: a branch for each
 * would give a verifier too many ways to follow.
 */
static __always_inline void expect(__u64 *found, _Bool holds, __u32 what)
{
	*found |= (__u64)!holds << what;
}

static __always_inline void fail(__u64 *found, __u32 what)
{
	*found |= 1ULL << what;
}

static __always_inline void count(__u64 found)
{
	__u32 what = 0;
	volatile __u64 *kept = bpf_map_lookup_elem(&last_found, &what);

	/* A verifier knows the bits of each way here, and nothing of what is read from a map. */
	if (!kept)
		return;
	*kept = found;
	found = *kept;
	for (what = 0; found && what < wrongs; what++) {
		__u64 *times = bpf_map_lookup_elem(&wrong, &what);

		if (found >> what & 1 && times)
			__sync_fetch_and_add(times, 1);
	}
}

static __always_inline void note(__u32 side, __u32 what, __u64 amount)
{
	struct seen_key key = { .side = side, .what = what };
	__u64 *count = bpf_map_lookup_elem(&seen, &key);

	if (count)
		__sync_fetch_and_add(count, amount);
	else
		bpf_map_update_elem(&seen, &key, &amount, BPF_ANY);
}

/* What the kernel's bpf_csum_diff takes at once. */
#define CHUNK 512
/* Verifiers follow a packet for 65,535 bytes: frames of up to 63,500 can be checked. */
#define MAX_CHUNKS 124

/*
 * So many bytes behind `base`. A verifier that knew how many would check what follows for each
 * number on its own: it loses track of one that is written byte by byte and read as a whole.
 */
static __always_inline void *behind(void *base, __u32 bytes)
{
	union {
		volatile __u8 bytes[2];
		volatile __u16 number;
	} forgotten;
	__u32 offset;

	forgotten.bytes[0] = bytes;
	forgotten.bytes[1] = bytes >> 8;
	offset = forgotten.number;
	base += offset <= MAX_CHUNKS * CHUNK ? offset : 0;
	/* Checks of this pointer are to be made on this pointer. */
	barrier_var(base);
	return base;
}

/*
 * Ones' complement sum of everything from `offset` to the frame's end. RFC 1071. A global function:
 * verifiers check it once and for all, not for each way that leads to it.
 */
__noinline __u64 sum_from(struct xdp_md *context, __u32 offset)
{
	void *data_end = (void *)(long)context->data_end;
	void *from = (void *)(long)context->data;
	__u64 sum = 0;
	__u16 *half;
	__u8 *byte;
	int i;

	if (offset > 64)
		return 0;
	from += offset;
	for (i = 0; i < MAX_CHUNKS; i++) {
		if (from + i * CHUNK + CHUNK > data_end)
			break;
		sum += (__u32)bpf_csum_diff(NULL, 0, from + i * CHUNK, CHUNK, 0);
	}
	from = behind(from, i * CHUNK);
	for (i = 0; i < CHUNK / 2; i++) {
		half = from;
		if ((void *)(half + 1) > data_end)
			break;
		sum += *half;
		from += 2;
	}
	byte = from;
	if ((void *)(byte + 1) <= data_end)
		sum += *byte;
	return sum;
}

/* What a right checksum makes of the sum it is part of. */
static __always_inline _Bool sums_up(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

#endif
