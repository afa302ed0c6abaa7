// Answers what has a route out of port 7, drops what it may not send there, and passes the rest.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int xdp_route(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	struct bpf_fib_lookup route = { .family = 2, .ifindex = ctx->ingress_ifindex };
	route.ipv4_src = ip->saddr;
	route.ipv4_dst = ip->daddr;
	if (bpf_fib_lookup(ctx, &route, sizeof route, 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return XDP_PASS;
	return route.ifindex == 7 && route.dmac[5] == 0x55 ? XDP_TX : XDP_DROP;
}
char _license[] SEC("license") = "GPL";
