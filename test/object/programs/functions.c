/* Several programs and sections; calls within and across sections; a callback. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} totals SEC(".maps");

__u64 calls;

static __attribute__((noinline)) int count(__u32 index)
{
	__u64 *total = bpf_map_lookup_elem(&totals, &index);

	calls++;
	if (total)
		*total += 1;
	return index & 1;
}

static __attribute__((noinline)) int count_twice(__u32 index)
{
	return count(index) + count(index + 1);
}

/* Not static: the kernel checks it on its own. */
__attribute__((noinline)) int shared(__u32 index)
{
	return count_twice(index) + 1;
}

static long each(__u32 index, void *context)
{
	__u32 *sum = context;

	*sum += count(index);
	return 0;
}

SEC("xdp")
int first(struct xdp_md *context)
{
	return count(context->rx_queue_index) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int second(struct xdp_md *context)
{
	return shared(context->rx_queue_index) + count(2) > 2 ? XDP_PASS : XDP_DROP;
}

SEC("xdp.frags")
int loops(struct xdp_md *context)
{
	__u32 sum = 0;

	bpf_loop(4, each, &sum, 0);
	return sum > 1 ? XDP_PASS : XDP_DROP;
}

SEC("tc")
int classify(struct __sk_buff *context)
{
	return shared(context->mark) & 1 ? -1 : 2;
}

char _license[] SEC("license") = "GPL";
