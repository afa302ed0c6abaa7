/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Counts packets and bytes by IP protocol, and lets everything pass.
 *
 * Keys of both maps are IP protocol numbers (6 TCP, 17 UDP, ...). For IPv6 the number is that of
 * the header after the extension headers. Two keys beyond the 8-bit range hold the rest:
 * KEY_NOT_IP and KEY_UNREADABLE.
 */
#include "frame.h"

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

/* Not IPv4 or IPv6: ARP, LLDP, a third VLAN tag. */
#define KEY_NOT_IP 256
/* The frame ends inside its headers, or has more extension headers than MAX_EXTENSIONS. */
#define KEY_UNREADABLE 257

/* RFC 8200 names seven, of which one may come twice. */
#define MAX_EXTENSIONS 8

/* What hop-by-hop, routing, destination and similar headers begin with. RFC 8200 section 4. */
struct ipv6_extension {
	__u8 next_header;
	__u8 length; /* in 8-byte units beyond the first; in 4-byte units less two for AH */
};

/* RFC 8200 section 4.5: always 8 bytes, and without a length. */
struct ipv6_fragment {
	__u8 next_header;
	__u8 reserved;
	__be16 offset; /* upper 13 bits, in 8-byte units */
	__be32 identification;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, __u64);
} packets_by_protocol SEC(".maps");

/* Bytes of whole frames, from the Ethernet header. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, __u64);
} bytes_by_protocol SEC(".maps");

static __always_inline __u32 ipv4_protocol(struct iphdr *header, void *data_end)
{
	if ((void *)(header + 1) > data_end)
		return KEY_UNREADABLE;
	return header->protocol;
}

static __always_inline __u32 ipv6_protocol(struct ipv6hdr *header, void *data_end)
{
	void *next = header + 1;
	__u8 protocol;
	int i;

	if (next > data_end)
		return KEY_UNREADABLE;
	protocol = header->nexthdr;

	for (i = 0; i < MAX_EXTENSIONS; i++) {
		struct ipv6_extension *extension = next;
		struct ipv6_fragment *fragment = next;

		switch (protocol) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_MH:
			if ((void *)(extension + 1) > data_end)
				return KEY_UNREADABLE;
			protocol = extension->next_header;
			next += ((__u32)extension->length + 1) * 8;
			break;
		case IPPROTO_AH:
			if ((void *)(extension + 1) > data_end)
				return KEY_UNREADABLE;
			protocol = extension->next_header;
			next += ((__u32)extension->length + 2) * 4;
			break;
		case IPPROTO_FRAGMENT:
			if ((void *)(fragment + 1) > data_end)
				return KEY_UNREADABLE;
			protocol = fragment->next_header;
			/* Only the first fragment holds the headers that follow. */
			if (fragment->offset & bpf_htons(0xfff8))
				return protocol;
			next += sizeof(*fragment);
			break;
		default:
			return protocol;
		}
	}
	return KEY_UNREADABLE;
}

static __always_inline void add(void *map, __u32 key, __u64 amount)
{
	__u64 *total = bpf_map_lookup_elem(map, &key);

	/* A per-CPU value has one writer: no atomic needed. */
	if (total)
		*total += amount;
	else
		/* Sets this CPU's value only, so nothing another CPU counted is lost. */
		bpf_map_update_elem(map, &key, &amount, BPF_ANY);
}

SEC("xdp")
int xdp_count_by_protocol(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct network network = find_network(data, data_end);
	__u32 key = KEY_NOT_IP;

	if (!network.header)
		key = KEY_UNREADABLE;
	else if (network.ether_type == bpf_htons(ETH_P_IP))
		key = ipv4_protocol(network.header, data_end);
	else if (network.ether_type == bpf_htons(ETH_P_IPV6))
		key = ipv6_protocol(network.header, data_end);

	add(&packets_by_protocol, key, 1);
	add(&bytes_by_protocol, key, data_end - data);
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
