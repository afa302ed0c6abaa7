// More code than V8 takes as one function.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int large(struct xdp_md *ctx)
{
	asm volatile("r2 = 1\n\t.rept 200000\n\tr2 = be64 r2\n\t.endr" ::: "r2");
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
