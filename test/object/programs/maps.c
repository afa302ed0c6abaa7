/* BTF-defined maps in every form that libbpf reads. -DPINNED pins one. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct key {
	__u16 port;
	__u8 protocol;
	__u8 padding;
};

typedef __u64 counter;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, struct key);
	__type(value, counter);
#ifdef PINNED
	__uint(pinning, LIBBPF_PIN_BY_NAME);
#endif
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__uint(key_size, 6);
	__uint(value_size, 12);
	__uint(map_flags, BPF_F_NUMA_NODE);
	__uint(numa_node, 0);
} sized SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
	__uint(map_flags, BPF_F_RDONLY_PROG);
} constants SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} blue SEC(".maps"), green SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, struct inner);
} colours SEC(".maps") = {
	.values = { [0] = &blue, [2] = &green },
};

int leaf(struct xdp_md *context);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = { [3] = (void *)&leaf },
};

SEC("xdp")
int leaf(struct xdp_md *context)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&blue, &key);

	return value ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int root(struct xdp_md *context)
{
	struct key key = { .port = 53 };
	__u32 index = 0;
	char raw[6] = {};

	bpf_map_lookup_elem(&typed, &key);
	bpf_map_lookup_elem(&sized, raw);
	bpf_map_lookup_elem(&constants, &index);
	bpf_map_lookup_elem(&colours, &index);
	bpf_map_lookup_elem(&green, &index);
	bpf_tail_call(context, &jumps, 3);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "GPL";
