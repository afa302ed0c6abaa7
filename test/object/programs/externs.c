/* What only a kernel can provide. Compiled once for each, chosen by -D. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern const void jiffies_symbol __ksym;
extern const void missing_symbol __ksym __weak;
extern int kernel_function(int) __ksym;
extern int nowhere(int);

SEC("xdp")
int program(struct xdp_md *context)
{
#if defined(KSYM)
	return (long)&jiffies_symbol & 1 ? XDP_PASS : XDP_DROP;
#elif defined(WEAK)
	return &missing_symbol ? XDP_PASS : XDP_DROP;
#elif defined(KFUNC)
	return kernel_function(1);
#else
	return nowhere(1);
#endif
}

char _license[] SEC("license") = "GPL";
