/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Drops packets whose payload is shorter or longer than the limits of their protocol, and counts
 * them.
 *
 * The payload is what follows the UDP or TCP header, and of other protocols what follows IP's. Later
 * fragments, protocols without limits and what is not IP pass.
 */
#include "ip.h"

#include <linux/tcp.h>
#include <linux/udp.h>

/* In bytes, both inclusive. */
struct limit {
	__u32 min;
	__u32 max; /* 0: none */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, enum protocol);
	__type(value, struct limit);
} limits SEC(".maps");

enum reason {
	too_short,
	too_long,
	malformed, /* its lengths contradict each other, or its header is cut off */
};

struct refused {
	enum protocol protocol;
	enum reason reason;
};

/* Packets beyond a limit. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 768);
	__type(key, struct refused);
	__type(value, __u64);
} size_limited_packets_total SEC(".maps");

/* The verdict on a packet beyond its limits. XDP_PASS (2) only counts: a rehearsal. */
volatile const __u32 default_action = XDP_DROP;

/* Bytes of payload; below 0 where that cannot be told. */
static __always_inline __s32 payload_length(struct ip_packet *packet, void *data_end)
{
	struct udphdr *datagram = packet->transport;
	struct tcphdr *segment = packet->transport;

	switch (packet->protocol) {
	case IPPROTO_UDP:
		if ((void *)(datagram + 1) > data_end)
			return -1;
		/* Not IP's length: receivers go by this one, and a first fragment has the whole's. */
		return (__s32)bpf_ntohs(datagram->len) - (__s32)sizeof(*datagram);
	case IPPROTO_TCP:
		if ((void *)(segment + 1) > data_end || segment->doff < 5)
			return -1;
		return packet->transport_length - segment->doff * 4;
	default:
		return packet->transport_length;
	}
}

static __always_inline void count(struct refused refused)
{
	__u64 *packets = bpf_map_lookup_elem(&size_limited_packets_total, &refused);
	__u64 one = 1;

	/* A per-CPU value has one writer: no atomic needed. */
	if (packets)
		*packets += 1;
	else
		bpf_map_update_elem(&size_limited_packets_total, &refused, &one, BPF_ANY);
}

SEC("xdp")
int xdp_size_limit(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct ip_packet packet = read_ip(data, data_end);
	struct refused refused = { .protocol = packet.protocol };
	struct limit *limit;
	__s32 length;

	if (!packet.transport)
		return XDP_PASS;
	limit = bpf_map_lookup_elem(&limits, &refused.protocol);
	if (!limit)
		return XDP_PASS;

	length = payload_length(&packet, data_end);
	if (length < 0)
		refused.reason = malformed;
	else if (limit->max && (__u32)length > limit->max)
		refused.reason = too_long;
	else if (length == 0 && packet.protocol == IPPROTO_TCP)
		/* Handshakes, acknowledgements and ends of connections carry nothing. */
		return XDP_PASS;
	else if ((__u32)length < limit->min)
		refused.reason = too_short;
	else
		return XDP_PASS;
	count(refused);
	return default_action;
}

char _license[] SEC("license") = "Apache-2.0";
