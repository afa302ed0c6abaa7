// Maps that have no keys, and globals: what the control API writes without a key.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, __u32);
} jobs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 4);
	__type(value, __u32);
} undo SEC(".maps");

volatile __u32 limit = 4;
volatile __u64 mark = 1;
volatile __u64 seen;
const volatile __u32 fixed = 9;

// Passes what is below the limit, counting; what is above is for whoever reads the queue.
SEC("xdp")
int xdp_limit(struct xdp_md *context)
{
	__u32 length = context->data_end - context->data;

	__sync_fetch_and_add(&seen, mark);
	if (length > limit + fixed) {
		bpf_map_push_elem(&jobs, &length, 0);
		bpf_map_push_elem(&undo, &length, 0);
		return XDP_DROP;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
