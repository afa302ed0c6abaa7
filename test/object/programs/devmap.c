// Programs that a devmap's or a cpumap's entry would name, and one that asks for what only the first are told.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp/devmap")
int leaves(struct xdp_md *ctx)
{
	return ctx->egress_ifindex == 0 ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags/devmap")
int leaves_in_parts(struct xdp_md *ctx)
{
	return ctx->egress_ifindex + ctx->ingress_ifindex == 1 ? XDP_DROP : XDP_PASS;
}

SEC("xdp/cpumap")
int on_another_cpu(struct xdp_md *ctx)
{
	return ctx->egress_ifindex == 0 ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
