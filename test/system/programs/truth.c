/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Believes nothing: checks every header field that Weir makes up against what a wire would show
 * between this client and this listener. `wrong` counts by what was wrong, and must stay 0; `seen`
 * counts what was checked, so that a test knows that something was. Passes everything.
 */
#include "truth-tcp.h"

static __always_inline _Bool same_address(const struct in6_addr *one,
					  const volatile struct in6_addr *other)
{
	return one->s6_addr32[0] == other->s6_addr32[0] &&
	       one->s6_addr32[1] == other->s6_addr32[1] &&
	       one->s6_addr32[2] == other->s6_addr32[2] && one->s6_addr32[3] == other->s6_addr32[3];
}

static __always_inline void check_mac(__u64 *found, const __u8 *at, const struct in6_addr *address)
{
	struct mac *known = bpf_map_lookup_elem(&macs, address);
	struct mac mac;
	__u8 differs = 0;
	int i;

	__builtin_memcpy(mac.bytes, at, ETH_ALEN);
	/* Locally administered, and not a group's. */
	expect(found, (mac.bytes[0] & 3) == 2, wrong_mac_not_local);
	if (!known) {
		bpf_map_update_elem(&macs, address, &mac, BPF_ANY);
		return;
	}
	for (i = 0; i < ETH_ALEN; i++)
		differs |= known->bytes[i] ^ mac.bytes[i];
	expect(found, !differs, wrong_mac_changed);
}

static __always_inline void check_identification(__u64 *found, struct stream *stream,
						 __be16 identification)
{
	__u32 *last = bpf_map_lookup_elem(&identifications, stream);
	__u32 now = bpf_ntohs(identification);

	if (last)
		expect(found, now == ((*last + 1) & 0xffff), wrong_ip_identification);
	bpf_map_update_elem(&identifications, stream, &now, BPF_ANY);
}

static __always_inline void check_udp(__u64 *found, struct udphdr *header, void *data_end,
				      __u64 sum, __u32 side)
{
	__u32 length = data_end - (void *)header;

	expect(found, bpf_ntohs(header->len) == length, wrong_udp_length);
	expect(found, header->check != 0, wrong_udp_checksum);
	expect(found, sums_up(sum), wrong_udp_checksum);
	note(side, seen_udp, 1);
	note(side, seen_udp_bytes, length - sizeof(*header));
}

static __always_inline void check_transport(struct xdp_md *context, __u64 *found, void *header,
					    void *data_end, __u32 at, __u8 protocol,
					    __u64 sum, __u32 side, __u32 mss,
					    __be16 *identification)
{
	__be16 *ports = header;
	struct stream stream = { .protocol = protocol, .side = side };
	__u16 source, destination;

	if ((void *)(ports + 2) > data_end) {
		fail(found, wrong_length_of_frame);
		return;
	}
	source = bpf_ntohs(ports[0]);
	destination = bpf_ntohs(ports[1]);
	expect(found, source == (side == client ? client_port : listener_port), wrong_source_port);
	expect(found, destination == (side == client ? listener_port : client_port),
	       wrong_destination_port);
	stream.client_port = side == client ? source : destination;
	if (identification) {
		/* A connection's numbers begin anywhere, as its sequence numbers do. */
		if (protocol == IPPROTO_TCP && header + sizeof(struct tcphdr) <= data_end &&
		    ((__u8 *)header)[13] == SYN) {
			bpf_map_delete_elem(&identifications, &stream);
			stream.side = upstream;
			bpf_map_delete_elem(&identifications, &stream);
			stream.side = side;
		}
		check_identification(found, &stream, *identification);
	}

	sum += bpf_htons(protocol) + bpf_htons(data_end - header);
	sum += sum_from(context, at);
	if (protocol == IPPROTO_UDP && header + sizeof(struct udphdr) <= data_end)
		check_udp(found, header, data_end, sum, side);
	else if (protocol == IPPROTO_TCP && header + sizeof(struct tcphdr) <= data_end)
		*found |= wrong_in_segment(context, at, sum, side, mss);
	else
		fail(found, wrong_protocol);
}

static __always_inline void check_addresses(__u64 *found, struct ethhdr *ethernet,
					    const struct in6_addr *source,
					    const struct in6_addr *destination, __u32 side)
{
	expect(found, same_address(source, side == client ? &client_address : &listener_address),
	       wrong_source_address);
	expect(found, same_address(destination, side == client ? &listener_address : &client_address),
	       wrong_destination_address);
	check_mac(found, ethernet->h_source, source);
	check_mac(found, ethernet->h_dest, destination);
}

static __always_inline struct in6_addr mapped(__be32 address)
{
	struct in6_addr all = {};

	all.s6_addr32[2] = bpf_htonl(0xffff);
	all.s6_addr32[3] = address;
	return all;
}

static __always_inline void check_ipv4(struct xdp_md *context, __u64 *found,
				       struct ethhdr *ethernet, void *data_end, __u32 side)
{
	struct iphdr *header = (void *)(ethernet + 1);
	struct in6_addr source, destination;
	__be16 identification;
	__u64 sum = 0;
	int i;

	if ((void *)(header + 1) > data_end) {
		fail(found, wrong_length_of_frame);
		return;
	}
	expect(found, *(__u8 *)header == 0x45, wrong_ip_version_or_length_of_header);
	expect(found, bpf_ntohs(header->tot_len) == data_end - (void *)header, wrong_ip_length);
	expect(found, header->frag_off == bpf_htons(0x4000), wrong_ip_fragment_bits);
	expect(found, header->ttl == 64, wrong_ip_ttl);
	for (i = 0; i < 5; i++)
		sum += ((__u32 *)header)[i];
	expect(found, sums_up(sum), wrong_ip_checksum);
	source = mapped(header->saddr);
	destination = mapped(header->daddr);
	check_addresses(found, ethernet, &source, &destination, side);
	identification = header->id;
	check_transport(context, found, header + 1, data_end, sizeof(*ethernet) + sizeof(*header),
			header->protocol,
			(__u64)header->saddr + header->daddr, side, 1460, &identification);
}

static __always_inline void check_ipv6(struct xdp_md *context, __u64 *found,
				       struct ethhdr *ethernet, void *data_end, __u32 side)
{
	struct ipv6hdr *header = (void *)(ethernet + 1);
	struct in6_addr source, destination;
	__u64 sum = 0;
	int i;

	if ((void *)(header + 1) > data_end) {
		fail(found, wrong_length_of_frame);
		return;
	}
	expect(found, *(__u8 *)header == 0x60, wrong_ip_version_or_length_of_header);
	expect(found, bpf_ntohs(header->payload_len) == data_end - (void *)(header + 1), wrong_ip_length);
	expect(found, header->hop_limit == 64, wrong_ip_ttl);
	source = header->saddr;
	destination = header->daddr;
	check_addresses(found, ethernet, &source, &destination, side);
	for (i = 0; i < 4; i++)
		sum += (__u64)source.s6_addr32[i] + destination.s6_addr32[i];
	check_transport(context, found, header + 1, data_end, sizeof(*ethernet) + sizeof(*header),
			header->nexthdr, sum, side, 1440, NULL);
}

static __always_inline int check(struct xdp_md *context, __u32 side)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	__u64 found = 0;

	if ((void *)(ethernet + 1) > data_end)
		fail(&found, wrong_length_of_frame);
	else if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		check_ipv4(context, &found, ethernet, data_end, side);
	else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		check_ipv6(context, &found, ethernet, data_end, side);
	else
		fail(&found, wrong_ethernet_type);
	count(found);
	return XDP_PASS;
}

SEC("xdp")
int xdp_truth_ingress(struct xdp_md *context)
{
	return check(context, client);
}

SEC("xdp")
int xdp_truth_egress(struct xdp_md *context)
{
	return check(context, upstream);
}

char _license[] SEC("license") = "Apache-2.0";
