/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Drops packets from listed source addresses, and counts them by rule.
 *
 * A rule is an entry of `blocked` (IPv4) or `blocked6` (IPv6): a prefix and the rule's number, free
 * to choose. The longest prefix that matches decides. What is not IP passes.
 */
#include "frame.h"

#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

/* Key layout of BPF_MAP_TYPE_LPM_TRIE: the prefix length in bits, then the address. */
struct ipv4_prefix {
	__u32 prefixlen;
	__be32 address;
};

struct ipv6_prefix {
	__u32 prefixlen;
	struct in6_addr address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipv4_prefix);
	__type(value, __u32);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipv6_prefix);
	__type(value, __u32);
} blocked6 SEC(".maps");

/* Packets that met a rule, by the rule's number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} blocked_packets_total SEC(".maps");

/* The verdict on a packet that meets a rule. XDP_PASS (2) only counts: a rehearsal. */
volatile const __u32 default_action = XDP_DROP;

static __always_inline void count(__u32 rule)
{
	__u64 *packets = bpf_map_lookup_elem(&blocked_packets_total, &rule);
	__u64 one = 1;

	/* A per-CPU value has one writer: no atomic needed. */
	if (packets)
		*packets += 1;
	else
		/* Sets this CPU's value only, so nothing another CPU counted is lost. */
		bpf_map_update_elem(&blocked_packets_total, &rule, &one, BPF_ANY);
}

static __always_inline __u32 *find_rule(struct network network, void *data_end)
{
	if (network.ether_type == bpf_htons(ETH_P_IP)) {
		struct iphdr *header = network.header;
		struct ipv4_prefix source = { .prefixlen = 32 };

		if ((void *)(header + 1) > data_end)
			return NULL;
		source.address = header->saddr;
		return bpf_map_lookup_elem(&blocked, &source);
	}
	if (network.ether_type == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *header = network.header;
		struct ipv6_prefix source = { .prefixlen = 128 };

		if ((void *)(header + 1) > data_end)
			return NULL;
		source.address = header->saddr;
		return bpf_map_lookup_elem(&blocked6, &source);
	}
	return NULL;
}

SEC("xdp")
int xdp_blocklist(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct network network = find_network(data, data_end);
	__u32 *rule;

	if (!network.header)
		return XDP_PASS;
	rule = find_rule(network, data_end);
	if (!rule)
		return XDP_PASS;
	count(*rule);
	return default_action;
}

char _license[] SEC("license") = "Apache-2.0";
