// Tells user space of each packet: in a ringbuf, as a struct of the usual name; in a perf_event_array
// with the packet's first bytes behind it; and in a second ringbuf, bytes that no type describes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u64 number;
	__u32 length;
	__u32 mark;
};

/* Puts the struct into BTF. */
struct event event_type;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1048576);
} told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} narrow SEC(".maps");

volatile const __u32 copies = 1;
__u64 packets;

SEC("xdp") int xdp_tell(struct xdp_md *ctx)
{
	struct event event = { .length = ctx->data_end - ctx->data, .mark = 7 };
	event.number = __sync_fetch_and_add(&packets, 1);
	for (int i = 0; i < 64 && i < copies; i++)
		bpf_ringbuf_output(&told, &event, sizeof event, 0);
	bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU | 14ULL << 32, &event, sizeof event);
	__u8 bytes[3] = { 1, 2, 3 };
	bpf_ringbuf_output(&narrow, bytes, sizeof bytes, 0);
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
