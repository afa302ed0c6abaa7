/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Guards a DNS server or forwarder against what is not meant for it. Two programs share the maps:
 *
 *   xdp_dns_learn   on packets from the server (egress): remembers the queries it sends
 *   xdp_dns_guard   on packets to the server (ingress): drops responses to none of these queries,
 *                   queries of type ANY, and messages whose header or question cannot be read
 *
 * A response is expected if it comes from where the query went, with the query's ID and question, in
 * time, and is the first (RFC 5452 section 9.1). Everything but UDP passes: a TCP client's address
 * is proven by its handshake, and a message may be spread over segments.
 */
#include "ip.h"

#include <linux/udp.h>

/* Packets of which neither port is this one pass unseen. 0: all of UDP is DNS. */
volatile const __u16 dns_port = 0;

/* How long a response may take. */
volatile const __u32 response_timeout_ms = 5000;

/* Whether queries of type ANY, small questions with large answers, are dropped. RFC 8482. */
volatile const bool drop_any = true;

/* The verdict on what is refused. XDP_PASS (2) only counts: a rehearsal. */
volatile const __u32 default_action = XDP_DROP;

/* RFC 1035 section 4.1.1. */
struct dns_header {
	__be16 id;
	__be16 flags;
	__be16 questions;
	__be16 answers;
	__be16 authorities;
	__be16 additionals;
};

#define DNS_RESPONSE bpf_htons(0x8000)
#define DNS_RCODE bpf_htons(0x000f)

#define DNS_TYPE_ANY 255

/* Longest name in wire form and longest label. RFC 1035 section 2.3.4. */
#define MAX_NAME 255
#define MAX_LABEL 63

/* What tells one query from another. The peer is the end that is not ours. */
struct query {
	struct in6_addr peer;
	__be16 peer_port;
	__be16 own_port;
	__be16 id;
	__u16 zero; /* no byte of a key may be left undefined */
};

struct asked {
	__u64 question; /* its hash */
	__u64 at;       /* nanoseconds of bpf_ktime_get_ns */
};

/* Queries sent and not yet answered. The oldest makes room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct query);
	__type(value, struct asked);
} asked_queries SEC(".maps");

enum result {
	query,
	any_query,
	expected_response,
	unexpected_response,
	unreadable,
	results,
};

/* DNS messages to the server, by enum result. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, results);
	__type(key, __u32);
	__type(value, __u64);
} dns_guard_messages_total SEC(".maps");

struct message {
	struct dns_header *header; /* NULL: not even that is there */
	__be16 source_port;
	__be16 destination_port;
};

struct question {
	bool readable;
	__u16 type;
	__u64 hash;
};

/* Whether the packet is of UDP and concerns the DNS port. */
static __always_inline bool find_message(struct ip_packet *packet, void *data_end,
					 struct message *message)
{
	struct udphdr *datagram = packet->transport;
	struct dns_header *header;

	if (!datagram || packet->protocol != IPPROTO_UDP || (void *)(datagram + 1) > data_end)
		return false;
	if (dns_port && datagram->source != bpf_htons(dns_port) &&
	    datagram->dest != bpf_htons(dns_port))
		return false;
	message->source_port = datagram->source;
	message->destination_port = datagram->dest;
	header = (void *)(datagram + 1);
	message->header = (void *)(header + 1) > data_end ? NULL : header;
	return true;
}

/* FNV-1a. */
#define HASH_START 0xcbf29ce484222325ULL
#define HASH_FACTOR 0x100000001b3ULL

/*
 * The first question: a name, a type and a class. Letters count as they are: resolvers mix upper and
 * lower case to make responses harder to guess.
 */
static __always_inline struct question read_question(struct dns_header *header, void *data_end)
{
	struct question question = { .hash = HASH_START };
	__u8 *next = (__u8 *)(header + 1);
	__u8 left = 0; /* bytes of the label that are still to come */
	int i;

	for (i = 0; i < MAX_NAME; i++) {
		__u8 byte;

		if ((void *)(next + 1) > data_end)
			return question;
		byte = *next++;
		question.hash = (question.hash ^ byte) * HASH_FACTOR;
		if (left) {
			left--;
			continue;
		}
		if (!byte) {
			question.readable = true;
			break;
		}
		/* Nothing comes before the first name that a compressed one could point to. */
		if (byte > MAX_LABEL)
			return question;
		left = byte;
	}
	if (!question.readable)
		return question;
	if ((void *)(next + 4) > data_end) {
		question.readable = false;
		return question;
	}
	for (i = 0; i < 4; i++)
		question.hash = (question.hash ^ next[i]) * HASH_FACTOR;
	question.type = next[0] << 8 | next[1];
	return question;
}

static __always_inline enum result judge_query(struct dns_header *header, void *data_end)
{
	struct question question;

	/* One with a server cookie only asks nothing. RFC 7873 section 5.4. */
	if (!header->questions)
		return query;
	/* RFC 9619: more than one is a format error. */
	if (header->questions != bpf_htons(1))
		return unreadable;
	question = read_question(header, data_end);
	if (!question.readable)
		return unreadable;
	return question.type == DNS_TYPE_ANY && drop_any ? any_query : query;
}

static __always_inline enum result judge_response(struct dns_header *header, void *data_end,
						  struct query *key)
{
	struct asked *asked = bpf_map_lookup_elem(&asked_queries, key);
	__u64 age;

	if (!asked)
		return unexpected_response;
	age = bpf_ktime_get_ns() - asked->at;
	if (age > (__u64)response_timeout_ms * 1000000)
		return unexpected_response;
	if (header->questions == bpf_htons(1)) {
		struct question question = read_question(header, data_end);

		if (!question.readable || question.hash != asked->question)
			return unexpected_response;
	} else if (header->questions || !(header->flags & DNS_RCODE)) {
		/* Only an error may leave the question out. */
		return unexpected_response;
	}
	bpf_map_delete_elem(&asked_queries, key);
	return expected_response;
}

static __always_inline void count(__u32 result)
{
	__u64 *messages = bpf_map_lookup_elem(&dns_guard_messages_total, &result);

	/* A per-CPU value has one writer: no atomic needed. */
	if (messages)
		*messages += 1;
}

SEC("xdp")
int xdp_dns_guard(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct ip_packet packet = read_ip(data, data_end);
	struct message message = {};
	enum result result;

	if (!find_message(&packet, data_end, &message))
		return XDP_PASS;
	if (!message.header) {
		result = unreadable;
	} else if (message.header->flags & DNS_RESPONSE) {
		struct query key = {
			.peer = packet.source,
			.peer_port = message.source_port,
			.own_port = message.destination_port,
			.id = message.header->id,
		};

		result = judge_response(message.header, data_end, &key);
	} else {
		result = judge_query(message.header, data_end);
	}
	count(result);
	return result == query || result == expected_response ? XDP_PASS : default_action;
}

SEC("xdp")
int xdp_dns_learn(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *data_end = (void *)(long)context->data_end;
	struct ip_packet packet = read_ip(data, data_end);
	struct message message = {};
	struct question question;
	struct query key = {};
	struct asked asked;

	if (!find_message(&packet, data_end, &message) || !message.header)
		return XDP_PASS;
	if (message.header->flags & DNS_RESPONSE || message.header->questions != bpf_htons(1))
		return XDP_PASS;
	question = read_question(message.header, data_end);
	if (!question.readable)
		return XDP_PASS;
	key.peer = packet.destination;
	key.peer_port = message.destination_port;
	key.own_port = message.source_port;
	key.id = message.header->id;
	asked.question = question.hash;
	asked.at = bpf_ktime_get_ns();
	bpf_map_update_elem(&asked_queries, &key, &asked, BPF_ANY);
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
