// Candidates that do to a packet whatever a program may, and say what its payload's first byte asks.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>

#ifndef SHARED_ENTRIES
#define SHARED_ENTRIES 1
#endif

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHARED_ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} shared SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u32 zero = 0;
	__u64 one = 1, *value = bpf_map_lookup_elem(&seen, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	value = bpf_map_lookup_elem(&shared, &zero);
	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline __u8 asked(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end)
		return 0;
	void *payload = (void *)(ip + 1);
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = payload;
		if ((void *)(tcp + 1) > end)
			return 0;
		payload += tcp->doff * 4;
	} else
		payload += sizeof(struct udphdr);
	__u8 *first = payload;
	return (void *)(first + 1) > end ? 0 : *first;
}

SEC("xdp") int xdp_scribble(struct xdp_md *ctx)
{
	__u8 what = asked((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	count(what);
	bpf_xdp_adjust_tail(ctx, 32);
	bpf_xdp_adjust_head(ctx, -32);
	bpf_xdp_adjust_meta(ctx, -8);
	__u8 *bytes = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (bytes + 96 <= end)
		__builtin_memset(bytes, 0xee, 96);
	switch (what) {
	case 'd':
		return XDP_DROP;
	case 't':
		return XDP_TX;
	case 'r':
		return bpf_redirect(7, 0);
	case 'a':
		return XDP_ABORTED;
	}
	return XDP_PASS;
}

SEC("tc") int tc_scribble(struct __sk_buff *skb)
{
	bpf_skb_pull_data(skb, 0);
	__u8 what = asked((void *)(long)skb->data, (void *)(long)skb->data_end), zeros[8] = {};
	count(what);
	skb->mark = 77;
	bpf_clone_redirect(skb, 7, 0);
	bpf_skb_store_bytes(skb, 20, zeros, sizeof zeros, 0);
	bpf_skb_vlan_push(skb, 8, 5);
	bpf_skb_change_tail(skb, 300, 0);
	return what == 'd' ? TC_ACT_SHOT : TC_ACT_OK;
}

/* A live one, that shares the map by its name. */
SEC("xdp") int xdp_live(struct xdp_md *ctx)
{
	count(asked((void *)(long)ctx->data, (void *)(long)ctx->data_end));
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
