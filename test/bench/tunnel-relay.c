/*
 * The floor of a VXLAN bridge in user space: what Weir's does with the same system calls, and nothing
 * else. No filter, no checks, IPv4 without options and TCP alone are cut. It trusts everybody: for
 * the namespaces of the benchmark.
 *
 *     tunnel-relay LEFT RIGHT MTU    from port 4789, between two IPv4 addresses
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { BATCH = 24, LONGEST = 65536, VXLAN = 8, IP = VXLAN + 14, TCP = IP + 20 };

static unsigned char in[BATCH][LONGEST];
static unsigned char out[2 * LONGEST];

static uint16_t get(const unsigned char *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static void put(unsigned char *at, uint16_t value) { at[0] = value >> 8; at[1] = (unsigned char)value; }

/* RFC 1071, in the machine's order until the end. */
static uint32_t sum(const unsigned char *at, size_t bytes, uint32_t more)
{
	uint64_t all = 0;
	for (; bytes >= 4; at += 4, bytes -= 4) {
		uint32_t word;
		memcpy(&word, at, 4);
		all += word;
	}
	uint32_t last = 0;
	memcpy(&last, at, bytes);
	all += last;
	all = (all & 0xffffffff) + (all >> 32);
	all = (all & 0xffff) + ((all >> 16) & 0xffff) + (all >> 32);
	all = (all & 0xffff) + (all >> 16);
	return ntohs((uint16_t)((all & 0xffff) + (all >> 16))) + more;
}

static uint16_t finish(uint32_t all)
{
	while (all >> 16) all = (all & 0xffff) + (all >> 16);
	return (uint16_t)~all;
}

static void checksums(unsigned char *frame, size_t bytes)
{
	put(frame + IP + 10, 0);
	put(frame + IP + 10, finish(sum(frame + IP, 20, 0)));
	put(frame + TCP + 16, 0);
	put(frame + TCP + 16, finish(sum(frame + TCP, bytes - TCP, sum(frame + IP + 12, 8, 6 + (uint32_t)(bytes - TCP)))));
}

static void transmit(int fd, struct sockaddr_in *to, unsigned char *bytes, size_t length, size_t segment)
{
	char control[CMSG_SPACE(2)] = {0};
	struct iovec piece = {bytes, length};
	struct msghdr message = {.msg_name = to, .msg_namelen = sizeof *to, .msg_iov = &piece, .msg_iovlen = 1};
	if (length > segment) {
		message.msg_control = control;
		message.msg_controllen = sizeof control;
		struct cmsghdr *cut = CMSG_FIRSTHDR(&message);
		cut->cmsg_level = IPPROTO_UDP;
		cut->cmsg_type = UDP_SEGMENT;
		cut->cmsg_len = CMSG_LEN(2);
		uint16_t size = (uint16_t)segment;
		memcpy(CMSG_DATA(cut), &size, 2);
	}
	sendmsg(fd, &message, 0);
}

static void cut(int fd, struct sockaddr_in *to, unsigned char *frame, size_t bytes, size_t most)
{
	size_t headers = TCP + (size_t)(frame[TCP + 12] >> 4) * 4, each = most - headers, used = 0;
	uint32_t sequence;
	memcpy(&sequence, frame + TCP + 4, 4);
	sequence = ntohl(sequence);
	uint16_t id = get(frame + IP + 4);
	for (size_t from = headers; from < bytes; from += each) {
		size_t payload = bytes - from < each ? bytes - from : each;
		unsigned char *segment = out + used;
		memcpy(segment, frame, headers);
		memcpy(segment + headers, frame + from, payload);
		put(segment + IP + 2, (uint16_t)(headers + payload - IP));
		put(segment + IP + 4, id++);
		uint32_t now = htonl(sequence + (uint32_t)(from - headers));
		memcpy(segment + TCP + 4, &now, 4);
		if (from + payload < bytes) segment[TCP + 13] &= (unsigned char)~9;
		checksums(segment, headers + payload);
		used += headers + payload;
		if (used + most > 65000 || from + payload == bytes) {
			transmit(fd, to, out, used, most);
			used = 0;
		}
	}
}

int main(int count, char **arguments)
{
	if (count != 4) return 2;
	struct sockaddr_in peers[2] = {{.sin_family = AF_INET, .sin_port = htons(4789)}, {.sin_family = AF_INET, .sin_port = htons(4789)}};
	inet_pton(AF_INET, arguments[1], &peers[0].sin_addr);
	inet_pton(AF_INET, arguments[2], &peers[1].sin_addr);
	size_t most = (size_t)atoi(arguments[3]) - 28;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = 4 << 20;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(4789)};
	if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) return perror("bind"), 1;
	struct mmsghdr messages[BATCH] = {0};
	struct iovec pieces[BATCH];
	struct sockaddr_in names[BATCH];
	printf("up\n");
	fflush(stdout);
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			pieces[i] = (struct iovec){in[i], LONGEST};
			messages[i].msg_hdr = (struct msghdr){.msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
		}
		int received = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < received; i++) {
			unsigned char *frame = in[i];
			size_t bytes = messages[i].msg_len;
			struct sockaddr_in *to = &peers[names[i].sin_addr.s_addr == peers[0].sin_addr.s_addr];
			int is_tcp = bytes > TCP + 20 - 1 && get(frame + VXLAN + 12) == 0x0800 && frame[IP] == 0x45 && frame[IP + 9] == 6;
			if (is_tcp && bytes > most) cut(fd, to, frame, bytes, most);
			else {
				if (is_tcp) checksums(frame, bytes);
				transmit(fd, to, frame, bytes, LONGEST);
			}
		}
	}
}
