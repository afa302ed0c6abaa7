/* Programs of one object, of which some need what only a kernel has. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern int kernel_function(int) __ksym;

const volatile int asks_kernel = 0;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, int);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 0);
	__type(key, int);
	__type(value, int);
} unsized SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, int);
	__array(values, struct inner);
} nested SEC(".maps");

static __always_inline void count(void)
{
	int key = 0;
	long *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		*value += 1;
}

SEC("xdp")
int plain(struct xdp_md *context)
{
	count();
	return XDP_PASS;
}

SEC("xdp")
int guarded(struct xdp_md *context)
{
	count();
	return asks_kernel ? kernel_function(1) : XDP_PASS;
}

SEC("sk_skb/stream_verdict")
int verdict(struct __sk_buff *skb)
{
	return bpf_sk_redirect_map(skb, &peers, 0, 0);
}

SEC("xdp")
int in_sockmap(struct xdp_md *context)
{
	int key = 0;

	count();
	return bpf_map_lookup_elem(&peers, &key) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int in_unsized(struct xdp_md *context)
{
	int key = 0;

	return bpf_map_lookup_elem(&unsized, &key) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int in_nested(struct xdp_md *context)
{
	int key = 0;

	return bpf_map_lookup_elem(&nested, &key) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
