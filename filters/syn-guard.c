/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Limits new TCP connections a second by source prefix, and counts them.
 *
 * A new connection is a SYN without ACK. Each prefix has a token bucket, and each SYN takes a token.
 * Everything else passes, so connections that were let in go on.
 */
#include "ip.h"
#include "token-bucket.h"

#include <linux/tcp.h>

/* What one source prefix may open. A rate of 0 is no limit. */
volatile const __u32 connections_per_second = 10;
volatile const __u32 burst = 20;

/* How much of an address makes a source. */
volatile const __u32 ipv4_prefix_length = 32;
volatile const __u32 ipv6_prefix_length = 64;

/* The verdict on a SYN over the limit. XDP_PASS (2) only counts: a rehearsal. */
volatile const __u32 default_action = XDP_DROP;

/*
 * By source prefix the time at which its bucket is full again, in nanoseconds of
 * bpf_ktime_get_ns. The least recently seen source makes room for a new one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct in6_addr);
	__type(value, __u64);
} sources SEC(".maps");

enum result {
	within_limit,
	over_limit,
	results,
};

/* SYNs, by enum result. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, results);
	__type(key, __u32);
	__type(value, __u64);
} syn_guard_connections_total SEC(".maps");

static __always_inline bool opens_connection(struct ip_packet *packet, void *data_end)
{
	struct tcphdr *header = packet->transport;

	if (!header || packet->protocol != IPPROTO_TCP || (void *)(header + 1) > data_end)
		return false;
	return header->syn && !header->ack;
}

static __always_inline enum result judge(struct in6_addr *prefix)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 *known = bpf_map_lookup_elem(&sources, prefix);
	__u64 full_at = known ? *known : 0;

	if (!connections_per_second)
		return within_limit;
	if (!can_take(full_at, now, 1, connections_per_second, burst))
		return over_limit;
	full_at = take(full_at, now, 1, connections_per_second);
	/*
	 * Not atomic: where two CPUs serve one source at the same instant, one SYN may be left
	 * unpaid. It costs no source anything.
	 */
	if (known)
		*known = full_at;
	else
		bpf_map_update_elem(&sources, prefix, &full_at, BPF_ANY);
	return within_limit;
}

static __always_inline void count(__u32 result)
{
	__u64 *connections = bpf_map_lookup_elem(&syn_guard_connections_total, &result);

	/* A per-CPU value has one writer: no atomic needed. */
	if (connections)
		*connections += 1;
}

SEC("xdp")
int xdp_syn_guard(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct ip_packet packet = read_ip(data, data_end);
	struct in6_addr prefix;
	enum result result;

	if (!opens_connection(&packet, data_end))
		return XDP_PASS;
	prefix = prefix_of(packet.source,
			   packet.version == 4 ? 96 + ipv4_prefix_length : ipv6_prefix_length);
	result = judge(&prefix);
	count(result);
	return result == within_limit ? XDP_PASS : default_action;
}

char _license[] SEC("license") = "Apache-2.0";
