/*
 * Runs 500 million instructions on frames whose payload begins with an s: a verifier looks at a
 * global function once and accepts it, and an engine that counts ends the run.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__noinline int spin(int from)
{
	volatile int at = from;
	int i;

	for (i = 0; i < 9000; i++)
		at += i;
	return at;
}

SEC("xdp")
int xdp_long_run(struct xdp_md *context)
{
	char *data = (void *)(long)context->data;
	int sum = 0, i;

	if ((void *)(data + 43) > (void *)(long)context->data_end || data[42] != 's')
		return XDP_PASS;
	for (i = 0; i < 9000; i++)
		sum = spin(sum);
	return sum == 1 ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
