// What a source may do is in a map of its own: it is found in another map, by the frame's length.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct rules {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} strict SEC(".maps"), loose SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} unlike SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct rules);
} tenants SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct rules);
} defaults SEC(".maps") = { .values = { [1] = &loose } };

SEC("xdp") int xdp_nested(struct xdp_md *ctx)
{
	__u32 length = ctx->data_end - ctx->data, one = 1, port = 7;
	void *rules = bpf_map_lookup_elem(&tenants, &length);
	if (!rules)
		rules = bpf_map_lookup_elem(&defaults, &one);
	if (!rules)
		return XDP_ABORTED;
	__u32 *verdict = bpf_map_lookup_elem(rules, &port);
	return verdict && *verdict == 1 ? XDP_DROP : XDP_PASS;
}
char _license[] SEC("license") = "GPL";
