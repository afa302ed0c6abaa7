/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Does to a packet what the first byte of its payload says, or what `always` says to one without
 * payload: a verdict or a rewrite. Lengths and checksums are mended only where that is the point.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Where 'd' and 'f' send a packet, and whom 's' has it come from. */
volatile const __be32 allowed_address = 0;
volatile const __u16 allowed_port = 0;
volatile const __be32 forbidden_address = 0;
volatile const __u16 forbidden_port = 0;

/* The command for a SYN. */
volatile const __u8 on_syn = 0;

#define KNOWN_PORT 2
#define OWN_PORT 3
#define UNKNOWN_PORT 99
#define GROWTH 8

struct datagram {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed));

/* The lengths that an IPv4 datagram of `payload` bytes has. */
static __always_inline int set_lengths(struct xdp_md *context, __u32 payload)
{
	struct datagram *frame = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;

	if ((void *)(frame + 1) > data_end)
		return XDP_ABORTED;
	frame->udp.len = bpf_htons(sizeof(frame->udp) + payload);
	frame->ip.tot_len = bpf_htons(sizeof(frame->ip) + sizeof(frame->udp) + payload);
	return XDP_PASS;
}

static __always_inline int grow_tail(struct xdp_md *context, __u32 payload)
{
	__u8 *end, *data_end;
	int i;

	if (bpf_xdp_adjust_tail(context, GROWTH))
		return XDP_ABORTED;
	end = (void *)(long)context->data + sizeof(struct datagram) + (payload & 0x7fff);
	data_end = (void *)(long)context->data_end;
	if (end + GROWTH > data_end)
		return XDP_ABORTED;
	for (i = 0; i < GROWTH; i++)
		end[i] = '+';
	return set_lengths(context, payload + GROWTH);
}

/* Makes room in front of the headers, moves them there, and fills what they leave. */
static __always_inline int grow_head(struct xdp_md *context, __u32 payload)
{
	struct datagram headers, *frame;
	__u8 *gap, *data_end;
	int i;

	frame = (void *)(long)context->data;
	data_end = (void *)(long)context->data_end;
	if ((void *)(frame + 1) > (void *)data_end)
		return XDP_ABORTED;
	headers = *frame;
	if (bpf_xdp_adjust_head(context, -GROWTH))
		return XDP_ABORTED;
	frame = (void *)(long)context->data;
	data_end = (void *)(long)context->data_end;
	gap = (void *)(frame + 1);
	if (gap + GROWTH > data_end)
		return XDP_ABORTED;
	*frame = headers;
	for (i = 0; i < GROWTH; i++)
		gap[i] = '-';
	return set_lengths(context, payload + GROWTH);
}

/* Cuts off the first byte of the payload: the headers move towards the end. */
static __always_inline int shrink_head(struct xdp_md *context, __u32 payload)
{
	struct datagram headers, *frame = (void *)(long)context->data;

	if ((void *)(frame + 1) > (void *)(long)context->data_end)
		return XDP_ABORTED;
	headers = *frame;
	if (bpf_xdp_adjust_head(context, 1))
		return XDP_ABORTED;
	frame = (void *)(long)context->data;
	if ((void *)(frame + 1) > (void *)(long)context->data_end)
		return XDP_ABORTED;
	*frame = headers;
	return set_lengths(context, payload - 1);
}

static __always_inline int obey(struct xdp_md *context, __u8 command, struct ethhdr *ethernet,
				struct iphdr *ip, __be16 *ports, __u32 payload)
{
	switch (command) {
	case 'D':
		return XDP_DROP;
	case 'A':
		return XDP_ABORTED;
	case 'V':
		return 77;
	case 'T':
		return XDP_TX;
	case 'R':
		return bpf_redirect(KNOWN_PORT, 0);
	case 'O':
		return bpf_redirect(OWN_PORT, 0);
	case 'U':
		return bpf_redirect(UNKNOWN_PORT, 0);
	case 'd':
		ip->daddr = allowed_address;
		ports[1] = bpf_htons(allowed_port);
		return XDP_PASS;
	case 'f':
		ip->daddr = forbidden_address;
		ports[1] = bpf_htons(forbidden_port);
		return XDP_PASS;
	case 's':
		ip->saddr ^= bpf_htonl(1);
		return XDP_PASS;
	case 'p':
		ports[0] ^= bpf_htons(1);
		return XDP_PASS;
	case 'N':
		ethernet->h_proto = bpf_htons(ETH_P_ARP);
		return XDP_PASS;
	case 'F':
		ip->frag_off = bpf_htons(0x2000);
		return XDP_PASS;
	case 'X':
		ip->protocol = IPPROTO_ICMP;
		return XDP_PASS;
	case 'L':
		ip->tot_len = bpf_htons(0xffff);
		return XDP_PASS;
	case 'H':
		*(__u8 *)ip = 0x44;
		return XDP_PASS;
	case '+':
		return grow_tail(context, payload);
	case '-':
		return grow_head(context, payload);
	case '<':
		return shrink_head(context, payload);
	case '>':
		if (bpf_xdp_adjust_tail(context, -1))
			return XDP_ABORTED;
		return set_lengths(context, payload - 1);
	case 'Q':
		/* So short that nothing is left but Ethernet. */
		return bpf_xdp_adjust_tail(context, -(int)(payload + 28)) ? XDP_ABORTED : XDP_PASS;
	default:
		return XDP_PASS;
	}
}

SEC("xdp")
int xdp_command(struct xdp_md *context)
{
	void *data_end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u8 *payload = (void *)((struct udphdr *)(ip + 1) + 1);

	if ((void *)(ip + 1) + sizeof(struct udphdr) > data_end ||
	    ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end)
			return XDP_PASS;
		if (tcp->syn)
			return obey(context, on_syn, ethernet, ip, (void *)(ip + 1), 0);
		payload = (void *)(tcp + 1);
	}
	if ((void *)(payload + 1) > data_end)
		return XDP_PASS;
	return obey(context, *payload, ethernet, ip, (void *)(ip + 1), data_end - (void *)payload);
}

/* What makes bytes unreadable and readable again; no length and no checksum is touched. */
#define KEY 0x5a5a5a5a5a5a5a5aULL

SEC("xdp")
int xdp_xor(struct xdp_md *context)
{
	void *data_end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;
	__u32 header_bytes = sizeof(*ethernet);
	__u8 *next = (void *)ethernet;
	int i;

	if ((void *)(ethernet + 1) > data_end)
		return XDP_PASS;
	header_bytes += ethernet->h_proto == bpf_htons(ETH_P_IP) ? sizeof(struct iphdr)
								 : sizeof(struct ipv6hdr);
	next += header_bytes;
	if (next + sizeof(struct tcphdr) > (__u8 *)data_end)
		return XDP_PASS;
	next += ((struct tcphdr *)next)->doff * 4;

	for (i = 0; i < 1460 / 8; i++) {
		if (next + 8 > (__u8 *)data_end)
			break;
		*(__u64 *)next ^= KEY;
		next += 8;
	}
	for (i = 0; i < 7; i++) {
		if (next + 1 > (__u8 *)data_end)
			break;
		*next++ ^= (__u8)KEY;
	}
	return XDP_PASS;
}

/* Keeps Ethernet, IPv4 and UDP headers and four bytes of payload; of more than 100 bytes nothing. */
SEC("socket")
int socket_cut(struct __sk_buff *context)
{
	return context->len > 100 ? 0 : sizeof(struct datagram) + 4;
}

char _license[] SEC("license") = "Apache-2.0";
