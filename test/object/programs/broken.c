/* A call to where no function begins, which no compiler writes; with -DTWO a second, with -DBESIDE none. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* The call's target is byte 800 of the section. */
#define CALL_NOTHING(distance) asm volatile(".byte 0x85, 0x10, 0, 0, " #distance ", 0, 0, 0")

SEC("xdp")
int program(struct xdp_md *context)
{
	CALL_NOTHING(99);
	return XDP_PASS;
}

#if defined(TWO)
SEC("xdp")
int second(struct xdp_md *context)
{
	CALL_NOTHING(96);
	return XDP_PASS;
}
#elif defined(BESIDE)
SEC("xdp")
int beside(struct xdp_md *context)
{
	return XDP_PASS;
}
#endif

char _license[] SEC("license") = "GPL";
