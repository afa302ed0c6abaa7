/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Passes or drops packets by protocol, source and ports: the first rule that matches decides, and
 * counts the packet.
 */
#include "ip.h"

#define MAX_RULES 64

enum action {
	unused, /* the rule is none: it matches nothing */
	pass,
	drop,
};

/* Both inclusive. No `first`: every port. No `last`: `first` alone. */
struct port_range {
	__u16 first;
	__u16 last;
};

struct ipv4_prefix {
	__u32 prefixlen;
	__be32 address;
};

struct ipv6_prefix {
	__u32 prefixlen;
	struct in6_addr address;
};

/* A packet matches if it fits every part that is given. */
struct rule {
	enum action action;
	enum protocol protocol;
	/* One of them given: that family only. Both: either. Neither: every source. */
	struct ipv4_prefix source;
	struct ipv6_prefix source6;
	struct port_range source_ports;
	struct port_range destination_ports;
};

/*
 * The rules in their order. Constants, not a map: they change all at once, when the filter is loaded
 * again, and no packet meets half of a new list.
 */
volatile const struct rule rules[MAX_RULES] = {};

/* What becomes of a packet that no rule matches. */
volatile const enum action default_action = pass;

struct total {
	__u64 packets;
	__u64 bytes; /* of whole frames, from the Ethernet header */
};

/* What a rule decided on, by its index in `rules`; MAX_RULES is the default. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, MAX_RULES + 1);
	__type(key, __u32);
	__type(value, struct total);
} matched SEC(".maps");

/* TCP, UDP, SCTP and others begin with them. In host order. */
struct ports {
	bool known;
	__u16 source;
	__u16 destination;
};

static __always_inline struct ports read_ports(struct ip_packet *packet, void *data_end)
{
	__be16 *header = packet->transport;
	struct ports ports = {};

	switch (packet->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		if (!header || (void *)(header + 2) > data_end)
			return ports;
		ports.known = true;
		ports.source = bpf_ntohs(header[0]);
		ports.destination = bpf_ntohs(header[1]);
	}
	return ports;
}

static __always_inline bool is_given(const volatile struct port_range *range)
{
	return range->first || range->last;
}

static __always_inline bool contains(const volatile struct port_range *range, __u16 port)
{
	__u16 last = range->last ? range->last : range->first;

	return range->first <= port && port <= last;
}

/* Packets without ports, such as later fragments, fit no rule that asks for one. */
static __always_inline bool ports_match(const volatile struct rule *rule, const struct ports *ports)
{
	if (is_given(&rule->source_ports) &&
	    !(ports->known && contains(&rule->source_ports, ports->source)))
		return false;
	return !is_given(&rule->destination_ports) ||
	       (ports->known && contains(&rule->destination_ports, ports->destination));
}

static __always_inline bool source_matches(const volatile struct rule *rule,
					   const struct ip_packet *packet)
{
	__s32 bits = rule->source.prefixlen;
	__s32 bits6 = rule->source6.prefixlen;
	const __be32 *source = packet->source.s6_addr32;
	const volatile __be32 *prefix = rule->source6.address.s6_addr32;

	if (!bits && !bits6)
		return true;
	if (packet->version == 4)
		return bits && !((source[3] ^ rule->source.address) & leading_ones(bits));
	return bits6 && !((source[0] ^ prefix[0]) & leading_ones(bits6)) &&
	       !((source[1] ^ prefix[1]) & leading_ones(bits6 - 32)) &&
	       !((source[2] ^ prefix[2]) & leading_ones(bits6 - 64)) &&
	       !((source[3] ^ prefix[3]) & leading_ones(bits6 - 96));
}

static __always_inline void count(__u32 rule, __u64 bytes)
{
	struct total *total = bpf_map_lookup_elem(&matched, &rule);
	struct total first = { .packets = 1, .bytes = bytes };

	/* A per-CPU value has one writer: no atomic needed. */
	if (total) {
		total->packets += 1;
		total->bytes += bytes;
	} else {
		bpf_map_update_elem(&matched, &rule, &first, BPF_ANY);
	}
}

SEC("xdp")
int xdp_port_firewall(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct ip_packet packet = read_ip(data, data_end);
	enum action action = default_action;
	struct ports ports;
	__u32 i;

	/* ARP and its like are no matter of ports. */
	if (!packet.version)
		return XDP_PASS;
	ports = read_ports(&packet, data_end);

	for (i = 0; i < MAX_RULES; i++) {
		const volatile struct rule *rule = &rules[i];
		enum protocol protocol = rule->protocol;

		if (rule->action == unused)
			continue;
		if (protocol != any && (__u32)protocol != packet.protocol)
			continue;
		if (!source_matches(rule, &packet) || !ports_match(rule, &ports))
			continue;
		action = rule->action;
		break;
	}
	count(i, data_end - data);
	return action == drop ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
