/* String literals get a section of their own; a table of them holds pointers. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

const char *names[2] = { "one", "two" };

static __attribute__((noinline)) int print(const char *text)
{
	return bpf_trace_printk(text, 13);
}

SEC("xdp")
int prints(struct xdp_md *context)
{
	print("literal text");
	return names[context->rx_queue_index & 1] ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
