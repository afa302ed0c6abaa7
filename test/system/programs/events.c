// A filter that tells user space of each packet, counts in a map that all filters share, and keeps
// what it has seen.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u32);
} tokens SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} tenants SEC(".maps");

SEC("xdp") int xdp_events(struct xdp_md *ctx)
{
	__u32 key = 0, length = ctx->data_end - ctx->data;
	__u64 one = 1, *count = bpf_map_lookup_elem(&shared, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_ringbuf_output(&ring, &length, sizeof length, 0);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU | 14ULL << 32, &length, sizeof length);
	count = bpf_map_lookup_elem(&seen, &length);
	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&seen, &length, &one, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
