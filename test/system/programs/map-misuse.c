// Programs that the kernel refuses for what they do with maps. What each does wrong is its name.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define UNUSED __attribute__((unused))

struct guarded {
	__u32 before;
	struct bpf_spin_lock lock;
	__u64 after;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct guarded);
} locked SEC(".maps"), other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first } };

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__uint(value_size, 8);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} programs SEC(".maps");

#define PROGRAM(name) SEC("xdp") int name(UNUSED struct xdp_md *ctx)

static __always_inline struct guarded *value_of(void *map, __u32 key)
{
	return bpf_map_lookup_elem(map, &key);
}

PROGRAM(lock_not_freed)
{
	struct guarded *value = value_of(&locked, 1);
	if (value)
		bpf_spin_lock(&value->lock);
	return 2;
}

PROGRAM(lock_taken_twice)
{
	struct guarded *value = value_of(&locked, 1);
	if (value) {
		bpf_spin_lock(&value->lock);
		bpf_spin_lock(&value->lock);
		bpf_spin_unlock(&value->lock);
	}
	return 2;
}

PROGRAM(other_lock_freed)
{
	struct guarded *value = value_of(&locked, 1);
	struct guarded *second = value_of(&locked, 1);
	if (value && second) {
		bpf_spin_lock(&value->lock);
		bpf_spin_unlock(&second->lock);
	}
	return 2;
}

PROGRAM(other_maps_lock_freed)
{
	struct guarded *value = value_of(&locked, 1);
	struct guarded *second = value_of(&other, 1);
	if (value && second) {
		bpf_spin_lock(&value->lock);
		bpf_spin_unlock(&second->lock);
	}
	return 2;
}

PROGRAM(lock_never_taken)
{
	struct guarded *value = value_of(&locked, 1);
	if (value)
		bpf_spin_unlock(&value->lock);
	return 2;
}

PROGRAM(helper_under_lock)
{
	struct guarded *value = value_of(&locked, 1);
	if (value) {
		bpf_spin_lock(&value->lock);
		value->after = bpf_ktime_get_ns();
		bpf_spin_unlock(&value->lock);
	}
	return 2;
}

PROGRAM(lock_read)
{
	struct guarded *value = value_of(&locked, 1);
	return value ? *(volatile __u32 *)&value->lock : 2;
}

PROGRAM(lock_written)
{
	struct guarded *value = value_of(&locked, 1);
	if (value)
		*(volatile __u64 *)&value->before = 5;
	return 2;
}

PROGRAM(lock_given_to_helper)
{
	struct guarded *value = value_of(&locked, 1);
	return value ? bpf_ringbuf_output(&ring, value, sizeof *value, 0) : 2;
}

PROGRAM(lock_elsewhere)
{
	struct guarded *value = value_of(&locked, 1);
	if (value) {
		bpf_spin_lock((struct bpf_spin_lock *)&value->after);
		bpf_spin_unlock((struct bpf_spin_lock *)&value->after);
	}
	return 2;
}

PROGRAM(record_kept)
{
	__u64 *room = bpf_ringbuf_reserve(&ring, 8, 0);
	if (room)
		*room = 1;
	return 2;
}

PROGRAM(record_used_after)
{
	__u64 *room = bpf_ringbuf_reserve(&ring, 8, 0);
	if (!room)
		return 2;
	bpf_ringbuf_submit(room, 0);
	*room = 1;
	return 2;
}

PROGRAM(record_overrun)
{
	__u64 *room = bpf_ringbuf_reserve(&ring, 8, 0);
	if (!room)
		return 2;
	room[1] = 1;
	bpf_ringbuf_submit(room, 0);
	return 2;
}

PROGRAM(record_not_checked)
{
	__u64 *room = bpf_ringbuf_reserve(&ring, 8, 0);
	bpf_ringbuf_submit(room, 0);
	return 2;
}

PROGRAM(record_kept_over_tail_call)
{
	__u64 *room = bpf_ringbuf_reserve(&ring, 8, 0);
	if (!room)
		return 2;
	bpf_tail_call(ctx, &programs, 0);
	bpf_ringbuf_submit(room, 0);
	return 2;
}

PROGRAM(inner_not_checked)
{
	__u32 key = 0;
	void *map = bpf_map_lookup_elem(&outer, &key);
	return bpf_map_lookup_elem(map, &key) != 0;
}

PROGRAM(inner_value_overrun)
{
	__u32 key = 0;
	void *map = bpf_map_lookup_elem(&outer, &key);
	__u64 *value = map ? bpf_map_lookup_elem(map, &key) : 0;
	return value ? value[1] : 2;
}

PROGRAM(outer_updated)
{
	__u32 key = 0;
	return bpf_map_update_elem(&outer, &key, &key, 0);
}

PROGRAM(socket_written)
{
	__u32 key = 0;
	struct bpf_xdp_sock *socket = bpf_map_lookup_elem(&sockets, &key);
	if (socket)
		socket->queue_id = 3;
	return 2;
}

PROGRAM(queue_looked_up)
{
	__u32 key = 0;
	return bpf_map_lookup_elem(&queue, &key) != 0;
}

PROGRAM(ring_pushed)
{
	__u64 value = 0;
	return bpf_map_push_elem(&ring, &value, 0);
}

PROGRAM(events_without_context)
{
	__u64 value = 0;
	return bpf_perf_event_output(&value, &events, 0, &value, 8);
}

char _license[] SEC("license") = "GPL";
