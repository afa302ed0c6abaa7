/* More WebAssembly than V8 takes of one function: each of these instructions becomes some 40 bytes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int xdp_large(struct xdp_md *context)
{
	(void)context;
	asm volatile("r2 = 1\n"
		     ".rept 200000\n"
		     "r2 = be64 r2\n"
		     ".endr\n" ::: "r2");
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
