/* Every kind of data section, and variables of every shape. */
#include <linux/bpf.h>
#include <linux/in6.h>

#include <bpf/bpf_helpers.h>

enum action { ACTION_ABORT, ACTION_DROP, ACTION_PASS };

struct limits {
	__u32 packets;
	__u16 burst;
	struct {
		__u8 low : 3;
		__u8 high : 5;
	};
	_Bool strict;
	union {
		__u32 number;
		__u8 bytes[4];
	};
};

volatile const __u32 answer = 42;
volatile const struct in6_addr home = {};
volatile const __be32 gateway = 0;
volatile const char name[8] = "eth0";
volatile const _Bool enabled = 1;
volatile const enum action on_match = ACTION_PASS;
volatile const struct limits limits = { .packets = 7 };

__u64 total = 0x1122334455667788;
__s16 offsets[4] = { 1, -2, 3, -4 };
static volatile __u32 hidden = 9;

__u64 seen;
static volatile __u8 recent[16];

__u32 separate SEC(".data.apart") = 5;

SEC("xdp")
int reads_all(struct xdp_md *context)
{
	static volatile __u32 calls;

	calls++;
	seen += answer + home.in6_u.u6_addr8[3] + gateway + name[1] + enabled + on_match;
	seen += limits.packets + limits.burst + separate;
	total += offsets[context->rx_queue_index & 3];
	recent[seen & 15] = hidden;
	bpf_printk("calls %d", calls);
	return recent[total & 15] ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
