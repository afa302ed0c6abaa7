/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Limits packets and bytes a second by source prefix, and counts what is over the limit.
 *
 * Each prefix has two token buckets. A packet passes if both have enough for it, and takes nothing
 * if one has not. What is not IP passes.
 */
#include "ip.h"
#include "token-bucket.h"

/* The limits of one source prefix. A rate of 0 is no limit. */
volatile const __u32 packets_per_second = 100;
volatile const __u32 packet_burst = 200;
volatile const __u64 bytes_per_second = 0;
/* Frames longer than this never pass where bytes are limited. */
volatile const __u32 byte_burst = 131072;

/* How much of an address makes a source. */
volatile const __u32 ipv4_prefix_length = 32;
volatile const __u32 ipv6_prefix_length = 64;

/* The verdict on a packet over the limit. XDP_PASS (2) only counts: a rehearsal. */
volatile const __u32 default_action = XDP_DROP;

/* Times at which the buckets are full again, in nanoseconds of bpf_ktime_get_ns. */
struct source {
	__u64 packets_full_at;
	__u64 bytes_full_at;
};

/* The least recently seen source makes room for a new one, which starts with full buckets. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct in6_addr);
	__type(value, struct source);
} sources SEC(".maps");

enum result {
	within_limit,
	over_packet_rate,
	over_byte_rate,
	results,
};

/* IP packets, by enum result. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, results);
	__type(key, __u32);
	__type(value, __u64);
} rate_limit_packets_total SEC(".maps");

/* Packets over the limit, by source prefix: those of the last 1,024 that were limited. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct in6_addr);
	__type(value, __u64);
} limited_sources SEC(".maps");

static __always_inline enum result judge(struct in6_addr *prefix, __u64 bytes)
{
	__u64 now = bpf_ktime_get_ns();
	struct source *source = bpf_map_lookup_elem(&sources, prefix);
	struct source fresh = {};
	struct source *bucket = source ? source : &fresh;

	if (packets_per_second &&
	    !can_take(bucket->packets_full_at, now, 1, packets_per_second, packet_burst))
		return over_packet_rate;
	if (bytes_per_second &&
	    !can_take(bucket->bytes_full_at, now, bytes, bytes_per_second, byte_burst))
		return over_byte_rate;

	/*
	 * Not atomic: where two CPUs serve one source at the same instant, one packet may be left
	 * unpaid. It costs no source anything.
	 */
	if (packets_per_second)
		bucket->packets_full_at =
			take(bucket->packets_full_at, now, 1, packets_per_second);
	if (bytes_per_second)
		bucket->bytes_full_at =
			take(bucket->bytes_full_at, now, bytes, bytes_per_second);
	if (!source)
		bpf_map_update_elem(&sources, prefix, &fresh, BPF_ANY);
	return within_limit;
}

static __always_inline void count(enum result result, struct in6_addr *prefix)
{
	__u32 key = result;
	__u64 *packets = bpf_map_lookup_elem(&rate_limit_packets_total, &key);
	__u64 one = 1;

	/* Per-CPU values have one writer: no atomics needed. */
	if (packets)
		*packets += 1;
	if (result == within_limit)
		return;
	packets = bpf_map_lookup_elem(&limited_sources, prefix);
	if (packets)
		*packets += 1;
	else
		bpf_map_update_elem(&limited_sources, prefix, &one, BPF_ANY);
}

SEC("xdp")
int xdp_rate_limit(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct ip_packet packet = read_ip(data, data_end);
	struct in6_addr prefix;
	enum result result;

	if (!packet.version)
		return XDP_PASS;
	prefix = prefix_of(packet.source,
			   packet.version == 4 ? 96 + ipv4_prefix_length : ipv6_prefix_length);
	result = judge(&prefix, data_end - data);
	count(result, &prefix);
	return result == within_limit ? XDP_PASS : default_action;
}

char _license[] SEC("license") = "Apache-2.0";
