/*
 * Nanoseconds a packet of libpcap's own interpreter, for test/bench/expression.ts:
 *
 *     expression-libpcap CAPTURE TURNS < expressions
 *
 * Each line of standard input is an expression; for each a line "matches nanoseconds" goes out. The
 * packets are in memory, and are gone over TURNS times in CPU time of this thread.
 *
 * What it uses of libpcap is declared here, so that the shared library, which comes with tcpdump, is
 * enough: it is libpcap's stable ABI (pcap/pcap.h, pcap/bpf.h of 1.10).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

typedef struct pcap pcap_t;
struct bpf_insn {
	unsigned short code;
	unsigned char jt;
	unsigned char jf;
	unsigned int k;
};
struct bpf_program {
	unsigned int bf_len;
	struct bpf_insn *bf_insns;
};
struct pcap_pkthdr {
	struct timeval ts;
	unsigned int caplen;
	unsigned int len;
};
pcap_t *pcap_open_offline(const char *file, char *error);
int pcap_next_ex(pcap_t *pcap, struct pcap_pkthdr **header, const unsigned char **data);
int pcap_compile(pcap_t *pcap, struct bpf_program *program, const char *expression, int optimise,
		 unsigned int netmask);
void pcap_freecode(struct bpf_program *program);
char *pcap_geterr(pcap_t *pcap);
unsigned int bpf_filter(const struct bpf_insn *program, const unsigned char *packet,
			unsigned int wire_length, unsigned int length);

enum { max_packets = 4096 };

struct packet {
	unsigned char *data;
	unsigned int length;
	unsigned int wire_length;
};
static struct packet packets[max_packets];
static size_t packet_count;

static double thread_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

static void read_packets(pcap_t *pcap)
{
	struct pcap_pkthdr *header;
	const unsigned char *data;
	while (packet_count < max_packets && pcap_next_ex(pcap, &header, &data) == 1) {
		struct packet *packet = &packets[packet_count++];
		packet->length = header->caplen;
		packet->wire_length = header->len;
		packet->data = malloc(header->caplen);
		if (packet->data == NULL)
			abort();
		memcpy(packet->data, data, header->caplen);
	}
}

int main(int argc, char **argv)
{
	char error[256];
	static char line[65536];
	if (argc != 3) {
		fprintf(stderr, "usage: %s CAPTURE TURNS < expressions\n", argv[0]);
		return 2;
	}
	pcap_t *pcap = pcap_open_offline(argv[1], error);
	if (pcap == NULL) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	read_packets(pcap);
	long turns = atol(argv[2]);
	while (fgets(line, sizeof line, stdin) != NULL) {
		struct bpf_program program;
		line[strcspn(line, "\n")] = 0;
		if (pcap_compile(pcap, &program, line, 1, 0xffffffff) != 0) {
			fprintf(stderr, "%s: %s\n", line, pcap_geterr(pcap));
			return 1;
		}
		unsigned long matches = 0;
		double start = thread_ns();
		for (long turn = 0; turn < turns; turn++)
			for (size_t i = 0; i < packet_count; i++)
				matches += bpf_filter(program.bf_insns, packets[i].data,
						      packets[i].wire_length, packets[i].length) != 0;
		double ns = (thread_ns() - start) / ((double)turns * packet_count);
		printf("%lu %.3f\n", matches / turns, ns);
		pcap_freecode(&program);
	}
	return 0;
}
