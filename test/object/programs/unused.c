/* `broken` calls what is not there, but nobody calls `broken`. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern int nowhere(int);

int broken(int x)
{
	return nowhere(x);
}

SEC("xdp")
int program(struct xdp_md *context)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
