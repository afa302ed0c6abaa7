/* struct bpf_map_def, 20 bytes, in a "maps" section: what libbpf read before version 1. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

struct bpf_map_def SEC("maps") first = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 4,
	.value_size = 16,
	.max_entries = 10,
	.map_flags = BPF_F_NO_PREALLOC,
};

struct bpf_map_def SEC("maps") second = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = 4,
	.value_size = 8,
	.max_entries = 20,
};

struct pair {
	__u64 one;
	__u64 other;
};

/* How the types were told before __type: BPF_ANNOTATE_KV_PAIR. */
struct ____btf_map_first {
	__u32 key;
	struct pair value;
};
struct ____btf_map_first
	__attribute__((section(".maps.first"), used)) ____btf_map_first = {};

SEC("socket1")
int both(struct __sk_buff *context)
{
	__u32 key = 1;

	bpf_map_lookup_elem(&first, &key);
	return bpf_map_lookup_elem(&second, &key) ? -1 : 0;
}

char _license[] SEC("license") = "GPL";
