/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An IP packet's addresses, and the header behind IP's. Shared by the filters in this folder.
 */
#ifndef WEIR_IP_H
#define WEIR_IP_H

#include "frame.h"

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <stdbool.h>

/* Protocols that a config may call by name. Others go by their number. */
enum protocol {
	any = 0,
	icmp = IPPROTO_ICMP,
	tcp = IPPROTO_TCP,
	udp = IPPROTO_UDP,
	icmpv6 = IPPROTO_ICMPV6,
	sctp = IPPROTO_SCTP,
};

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

struct ip_packet {
	__u32 version;               /* 4 or 6; 0: not IP, or the frame ends within its header */
	__u32 protocol;              /* of what follows IP; meaningless where `transport` is NULL */
	struct in6_addr source;      /* IPv4 as ::ffff:192.0.2.1, RFC 4291 section 2.5.5.2 */
	struct in6_addr destination;
	void *transport;             /* NULL in later fragments, and where headers are cut off */
	__s32 transport_length;      /* as IP says; below 0 where its lengths contradict each other */
};

static __always_inline struct in6_addr ipv4_mapped(__be32 address)
{
	struct in6_addr mapped = {};

	mapped.s6_addr32[2] = bpf_htonl(0xffff);
	mapped.s6_addr32[3] = address;
	return mapped;
}

/* A netmask's word: `bits` leading ones; any number below 0 is none and any above 32 is all. */
static __always_inline __be32 leading_ones(__s32 bits)
{
	if (bits <= 0)
		return 0;
	if (bits >= 32)
		return ~0U;
	return bpf_htonl(~0U << (32 - bits));
}

/* The first `bits` of an address, the others 0: whose packets are counted as one source's. */
static __always_inline struct in6_addr prefix_of(struct in6_addr address, __s32 bits)
{
	address.s6_addr32[0] &= leading_ones(bits);
	address.s6_addr32[1] &= leading_ones(bits - 32);
	address.s6_addr32[2] &= leading_ones(bits - 64);
	address.s6_addr32[3] &= leading_ones(bits - 96);
	return address;
}

/*
 * The transport header at `offset` of the frame. Many ways lead here, through any number of
 * extension headers. A verifier that knew each of them by its offset would check all that follows
 * once for each: it loses track of a number that is written byte by byte and read as one. The mask,
 * above every offset there can be, is then the only bound.
 */
static __always_inline void *transport_at(void *data, __u32 offset)
{
	union {
		volatile __u8 bytes[2];
		volatile __u16 number;
	} forgotten;

	forgotten.bytes[0] = offset;
	forgotten.bytes[1] = offset >> 8;
	return data + (forgotten.number & 0x7fff);
}

/* The offset of what follows IP, or 0. */
static __always_inline __u32 read_ipv4(struct iphdr *header, void *data, void *data_end,
				       struct ip_packet *packet)
{
	__u32 header_length;

	if ((void *)(header + 1) > data_end)
		return 0;
	header_length = header->ihl * 4;
	packet->version = 4;
	packet->source = ipv4_mapped(header->saddr);
	packet->destination = ipv4_mapped(header->daddr);
	packet->protocol = header->protocol;
	packet->transport_length = (__s32)bpf_ntohs(header->tot_len) - (__s32)header_length;
	/* Only the first fragment holds the header that follows. */
	if (header_length < sizeof(*header) || header->frag_off & bpf_htons(0x1fff))
		return 0;
	return (void *)header - data + header_length;
}

/* The same, behind the extension headers. */
static __always_inline __u32 read_ipv6(struct ipv6hdr *header, void *data, void *data_end,
				       struct ip_packet *packet)
{
	void *next = header + 1;
	__u8 protocol;
	__s32 length;
	int i;

	if (next > data_end)
		return 0;
	packet->version = 6;
	packet->source = header->saddr;
	packet->destination = header->daddr;
	protocol = header->nexthdr;
	length = bpf_ntohs(header->payload_len);

	for (i = 0; i < MAX_EXTENSIONS; i++) {
		struct ipv6_extension *extension = next;
		struct ipv6_fragment *fragment = next;
		__u32 skip;

		switch (protocol) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_MH:
			if ((void *)(extension + 1) > data_end)
				return 0;
			protocol = extension->next_header;
			skip = ((__u32)extension->length + 1) * 8;
			break;
		case IPPROTO_AH:
			if ((void *)(extension + 1) > data_end)
				return 0;
			protocol = extension->next_header;
			skip = ((__u32)extension->length + 2) * 4;
			break;
		case IPPROTO_FRAGMENT:
			if ((void *)(fragment + 1) > data_end)
				return 0;
			/* Only the first fragment holds the headers that follow. */
			if (fragment->offset & bpf_htons(0xfff8))
				return 0;
			protocol = fragment->next_header;
			skip = sizeof(*fragment);
			break;
		default:
			packet->protocol = protocol;
			packet->transport_length = length;
			return next - data;
		}
		next += skip;
		length -= skip;
	}
	return 0;
}

/* What is not IP, or ends before its IP header does, has version 0. */
static __always_inline struct ip_packet read_ip(void *data, void *data_end)
{
	struct network network = find_network(data, data_end);
	struct ip_packet packet = {};
	__u32 offset = 0;

	if (network.header && network.ether_type == bpf_htons(ETH_P_IP))
		offset = read_ipv4(network.header, data, data_end, &packet);
	else if (network.header && network.ether_type == bpf_htons(ETH_P_IPV6))
		offset = read_ipv6(network.header, data, data_end, &packet);
	if (offset)
		packet.transport = transport_at(data, offset);
	return packet;
}

#endif
