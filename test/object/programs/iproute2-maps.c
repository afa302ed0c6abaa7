/* struct bpf_elf_map, 36 bytes: ids, pinning, inner maps and tail-call sections as tc has them. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct bpf_elf_map {
	__u32 type;
	__u32 size_key;
	__u32 size_value;
	__u32 max_elem;
	__u32 flags;
	__u32 id;
	__u32 pinning;
	__u32 inner_id;
	__u32 inner_idx;
};

#define JUMPS 7
#define INNER 8

struct bpf_elf_map SEC("maps") jumps = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = 4,
	.size_value = 4,
	.max_elem = 4,
	.id = JUMPS,
	.pinning = 2,
};

struct bpf_elf_map SEC("maps") inner = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = 4,
	.size_value = 8,
	.max_elem = 1,
	.id = INNER,
	.inner_idx = 1,
};

struct bpf_elf_map SEC("maps") outer = {
	.type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
	.size_key = 4,
	.size_value = 4,
	.max_elem = 2,
	.inner_id = INNER,
};

SEC("7/2")
int continues(struct __sk_buff *context)
{
	__u32 key = 1;

	return bpf_map_lookup_elem(&outer, &key) ? 0 : 2;
}

SEC("classifier")
int begins(struct __sk_buff *context)
{
	bpf_tail_call(context, &jumps, 2);
	return 2;
}

char _license[] SEC("license") = "GPL";
