// Counts packets in a map whose shape the test chooses, and in .bss.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef ENTRIES
#define ENTRIES 4
#endif
#ifndef VALUE
#define VALUE __u64
#endif

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, VALUE);
} counts SEC(".maps");

__u32 since_load;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = 1;
	VALUE one = 1;
	VALUE *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		*value += 1;
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	since_load += 1;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
