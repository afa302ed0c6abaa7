/* SPDX-License-Identifier: Apache-2.0 */

/* TCP as truth.c wants it: each segment where the conversation so far says it must be. */
#ifndef WEIR_TRUTH_TCP_H
#define WEIR_TRUTH_TCP_H

#include "truth.h"

enum phase { none, syn_sent, syn_received, established, closed };

struct conversation {
	__u32 phase;
	__u32 next[2]; /* sequence number, by side */
	__u32 finished[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32); /* the client's port */
	__type(value, struct conversation);
} conversations SEC(".maps");

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

static __always_inline void check_tcp(__u64 *found, struct tcphdr *header, void *data_end,
				      __u64 sum, __u32 side, __u32 mss)
{
	__u16 source = header->source, destination = header->dest;
	struct conversation fresh = {};
	struct conversation *talk;
	__u32 port;
	__u8 flags = ((__u8 *)header)[13];
	__u32 header_bytes = header->doff * 4;
	__u32 payload = data_end - (void *)header - header_bytes;
	__u32 sequence = bpf_ntohl(header->seq);
	__u32 acknowledgement = bpf_ntohl(header->ack_seq);
	__u32 other = side == client ? upstream : client;
	__u32 *option = (void *)(header + 1);

	/* Two loads, and not one from a place that depends. */
	barrier_var(source);
	barrier_var(destination);
	port = bpf_ntohs(side == client ? source : destination);
	talk = bpf_map_lookup_elem(&conversations, &port);
	expect(found, sums_up(sum), wrong_tcp_checksum);
	expect(found, (((__u8 *)header)[12] & 0xf) == 0 && header->urg_ptr == 0, wrong_tcp_header);

	if (flags & SYN) {
		expect(found, header_bytes == 24, wrong_tcp_header);
		expect(found, (void *)(option + 1) <= data_end, wrong_tcp_option);
		if ((void *)(option + 1) <= data_end)
			expect(found, *option == bpf_htonl(0x02040000 | mss), wrong_tcp_option);
		expect(found, payload == 0, wrong_tcp_payload);
	} else {
		expect(found, header_bytes == 20, wrong_tcp_header);
	}
	expect(found, header->window == (flags & RST ? 0 : 0xffff), wrong_tcp_window);

	if (flags == SYN) {
		expect(found, side == client && (!talk || talk->phase == closed), wrong_tcp_order);
		expect(found, acknowledgement == 0, wrong_tcp_acknowledgement);
		fresh.phase = syn_sent;
		fresh.next[client] = sequence + 1;
		bpf_map_update_elem(&conversations, &port, &fresh, BPF_ANY);
		note(side, seen_syn, 1);
		return;
	}
	if (!talk) {
		fail(found, wrong_tcp_order);
		return;
	}
	if (flags == (SYN | ACK)) {
		expect(found, side == upstream && talk->phase == syn_sent, wrong_tcp_order);
		expect(found, acknowledgement == talk->next[client], wrong_tcp_acknowledgement);
		talk->next[upstream] = sequence + 1;
		talk->phase = syn_received;
		note(side, seen_syn_ack, 1);
		return;
	}
	if (flags & RST && talk->phase == syn_sent) {
		/* The answer to a SYN, or the client's change of mind. RFC 9293 section 3.5.2. */
		expect(found, sequence == (side == upstream ? 0 : talk->next[client]), wrong_tcp_sequence);
		expect(found, acknowledgement == (side == upstream ? talk->next[client] : 0),
		       wrong_tcp_acknowledgement);
		expect(found, flags == (side == upstream ? RST | ACK : RST), wrong_tcp_flags);
		expect(found, payload == 0, wrong_tcp_payload);
		talk->phase = closed;
		note(side, seen_rst, 1);
		return;
	}

	expect(found, sequence == talk->next[side], wrong_tcp_sequence);
	expect(found, acknowledgement == talk->next[other], wrong_tcp_acknowledgement);
	switch (flags) {
	case RST | ACK:
		expect(found, talk->phase == established || talk->phase == syn_received, wrong_tcp_order);
		expect(found, payload == 0, wrong_tcp_payload);
		talk->phase = closed;
		note(side, seen_rst, 1);
		return;
	case FIN | ACK:
		expect(found, talk->phase == established && !talk->finished[side], wrong_tcp_order);
		expect(found, payload == 0, wrong_tcp_payload);
		talk->finished[side] = 1;
		talk->next[side] += 1;
		if (talk->finished[other])
			talk->phase = closed;
		note(side, seen_fin, 1);
		return;
	case ACK:
		if (payload == 0) {
			/* The only one without data is the handshake's. */
			expect(found, talk->phase == syn_received && side == client, wrong_tcp_order);
			talk->phase = established;
			note(side, seen_ack, 1);
			return;
		}
		/* Fall through: more of what was written follows. */
	case ACK | PSH:
		expect(found, talk->phase == established && !talk->finished[side], wrong_tcp_order);
		expect(found, payload >= 1 && payload <= mss, wrong_tcp_payload);
		talk->next[side] += payload;
		note(side, seen_data, 1);
		note(side, seen_data_bytes, payload);
		return;
	default:
		fail(found, wrong_tcp_flags);
	}
}

/* A global function, as `sum_from` is: its many ways are followed once. */
__noinline __u64 wrong_in_segment(struct xdp_md *context, __u32 at, __u64 sum, __u32 side,
				  __u32 mss)
{
	void *data_end = (void *)(long)context->data_end;
	struct tcphdr *header = (void *)(long)context->data;
	__u64 found = 0;

	if (at > 64)
		return 1ULL << wrong_length_of_frame;
	header = (void *)header + at;
	barrier_var(header);
	if ((void *)(header + 1) > data_end)
		return 1ULL << wrong_length_of_frame;
	check_tcp(&found, header, data_end, sum, side & 1, mss);
	return found;
}

#endif
