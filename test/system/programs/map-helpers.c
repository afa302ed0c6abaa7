// What helpers on maps return, written to `results`: the same here and in the kernel. Each program
// is run several times on one packet, so that maps fill up and run empty.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define UNUSED __attribute__((unused))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} results SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__uint(value_size, 12);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 3);
	__uint(value_size, 12);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 20);
	__uint(map_flags, 64 /* BPF_F_ZERO_SEED */);
	__uint(map_extra, 3);
	__type(value, __u64);
} bloom SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 20);
	__uint(map_flags, 64);
	__uint(value_size, 27);
} odd_bloom SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first, [2] = &second } };

struct inner_array {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner_array);
} named SEC(".maps") = { .values = { [1] = &numbers } };

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} workers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} per_cpu SEC(".maps");

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
} locked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct guarded);
} locked_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} runs SEC(".maps");

static __always_inline void note(__u32 at, __u64 what)
{
	bpf_map_update_elem(&results, &at, &what, 0);
}

// How often the object's programs have run: the number of this run, from 1.
static __always_inline __u64 run(void)
{
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&runs, &key);
	return count ? ++*count : 0;
}

struct twelve {
	__u32 a, b, c;
};

#define QUEUE_PROGRAM(name)                                                    \
	SEC("xdp") int on_##name(UNUSED struct xdp_md *ctx)                           \
	{                                                                      \
		struct twelve value = { run(), 2, 3 }, out = { 9, 9, 9 };      \
		note(0, bpf_map_push_elem(&name, &value, 0));                  \
		note(1, bpf_map_peek_elem(&name, &out));                       \
		note(2, out.a);                                                \
		note(3, bpf_map_push_elem(&name, &value, 1));                  \
		note(4, bpf_map_push_elem(&name, &value, 3));                  \
		value.a += 100;                                                \
		note(5, bpf_map_push_elem(&name, &value, BPF_EXIST));          \
		note(6, bpf_map_push_elem(&name, &value, 1ULL << 32));         \
		if (value.a % 2) {                                             \
			note(7, bpf_map_pop_elem(&name, &out));                \
			note(8, out.a);                                        \
		}                                                              \
		if (value.a % 5 == 0) {                                        \
			for (int i = 0; i < 4; i++) {                          \
				note(9 + 2 * i, bpf_map_pop_elem(&name, &out)); \
				note(10 + 2 * i, out.a | (__u64)out.c << 32);  \
			}                                                      \
			note(17, bpf_map_peek_elem(&name, &out));              \
		}                                                              \
		return XDP_PASS;                                               \
	}

QUEUE_PROGRAM(queue)
QUEUE_PROGRAM(stack)

SEC("xdp") int on_bloom(UNUSED struct xdp_md *ctx)
{
	__u64 number = run();
	__u64 found = 0;
	char text[27] = { number, number >> 8, 3 };
	note(0, bpf_map_push_elem(&bloom, &number, 0));
	note(1, bpf_map_push_elem(&bloom, &number, 1));
	note(2, bpf_map_peek_elem(&bloom, &number));
	note(3, bpf_map_push_elem(&odd_bloom, text, 0));
	note(4, bpf_map_peek_elem(&odd_bloom, text));
	for (__u64 i = 0; i < 64; i++) {
		__u64 other = i * 77;
		if (bpf_map_peek_elem(&bloom, &other) == 0)
			found |= 1ULL << i;
	}
	note(5, found);
	found = 0;
	for (__u64 i = 0; i < 64; i++) {
		text[0] = i * 7;
		if (bpf_map_peek_elem(&odd_bloom, text) == 0)
			found |= 1ULL << i;
	}
	note(6, found);
	return XDP_PASS;
}

// The reader does not look before the end: the ring of 4,096 bytes fills up.
SEC("xdp") int on_ring(UNUSED struct xdp_md *ctx)
{
	__u64 number = run();
	struct twelve value = { number, 2, 3 };
	note(0, bpf_ringbuf_output(&ring, &value, sizeof value, 0));
	note(1, bpf_ringbuf_output(&ring, &value, sizeof value, 4));
	note(2, bpf_ringbuf_output(&ring, &value, 0, BPF_RB_FORCE_WAKEUP));
	note(3, bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA));
	note(4, bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE));
	note(5, bpf_ringbuf_query(&ring, BPF_RB_CONS_POS));
	note(6, bpf_ringbuf_query(&ring, BPF_RB_PROD_POS));
	note(7, bpf_ringbuf_query(&ring, 9));
	__u64 *room = bpf_ringbuf_reserve(&ring, 600, 0);
	note(8, room != 0);
	if (room) {
		room[0] = number;
		room[74] = ~number;
		if (number % 3 == 0)
			bpf_ringbuf_discard(room, 0);
		else
			bpf_ringbuf_submit(room, BPF_RB_NO_WAKEUP);
	}
	char *much = bpf_ringbuf_reserve(&ring, 4089, 0);
	note(9, much != 0);
	if (much)
		bpf_ringbuf_discard(much, 0);
	char *wrong = bpf_ringbuf_reserve(&ring, 8, 1);
	note(10, wrong != 0);
	if (wrong)
		bpf_ringbuf_discard(wrong, 0);
	// One that is not committed yet lets others be reserved, and is waited for.
	char *held = bpf_ringbuf_reserve(&ring, 16, 0);
	note(11, held != 0);
	if (held) {
		note(12, bpf_ringbuf_output(&ring, &value, 12, 0));
		note(13, bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA));
		held[0] = 7;
		for (int i = 1; i < 16; i++)
			held[i] = i;
		bpf_ringbuf_submit(held, 0);
	}
	return XDP_PASS;
}

SEC("xdp") int on_events(struct xdp_md *ctx)
{
	// 12 bytes and 8: perf rounds the size of a sample, and its own length, up to 8.
	struct twelve value = { run(), 2, 3 };
	note(0, bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &value, 12));
	note(1, bpf_perf_event_output(ctx, &events, 0, &value, 12));
	note(2, bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU | 24ULL << 32, &value, 4));
	note(3, bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU | 65ULL << 32, &value, 4));
	note(4, bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU | 1ULL << 52, &value, 4));
	note(5, bpf_perf_event_output(ctx, &events, 100000, &value, 4));
	return XDP_PASS;
}

static __always_inline void look_into_array(__u32 i, __u64 number)
{
	void *map = bpf_map_lookup_elem(&outer, &i);
	note(i, map != 0);
	if (!map)
		return;
	__u32 key = number % 7;
	note(5 + i, bpf_map_update_elem(map, &key, &number, BPF_NOEXIST));
	__u64 *value = bpf_map_lookup_elem(map, &key);
	note(10 + i, value ? *value : 0);
	if (value)
		*value += i;
	key = number % 3;
	note(15 + i, bpf_map_delete_elem(map, &key));
}

static __always_inline void look_into_hash(__u32 i, __u64 number)
{
	void *map = bpf_map_lookup_elem(&named, &i);
	note(20 + i, map != 0);
	if (!map)
		return;
	__u32 key = number % 4;
	__u64 *value = bpf_map_lookup_elem(map, &key);
	note(24 + key, value ? *value : 77);
	if (value)
		__sync_fetch_and_add(value, number);
}

SEC("xdp") int on_inner(UNUSED struct xdp_md *ctx)
{
	__u64 number = run();
	look_into_array(0, number);
	look_into_array(1, number);
	look_into_array(2, number);
	look_into_array(4, number);
	look_into_hash(0, number);
	look_into_hash(1, number);
	return XDP_PASS;
}

SEC("xdp") int on_redirect(UNUSED struct xdp_md *ctx)
{
	note(0, bpf_redirect_map(&workers, 0, 0));
	note(1, bpf_redirect_map(&workers, 1, XDP_TX));
	note(2, bpf_redirect_map(&workers, 9, XDP_DROP));
	note(3, bpf_redirect_map(&workers, 0, BPF_F_BROADCAST));
	note(4, bpf_redirect_map(&sockets, 0, XDP_PASS));
	note(5, bpf_redirect_map(&sockets, 100, XDP_PASS));
	note(6, bpf_redirect_map(&sockets, 0, BPF_F_BROADCAST));
	__u32 key = 1;
	note(7, bpf_map_lookup_elem(&sockets, &key) != 0);
	return XDP_PASS;
}

SEC("xdp") int on_per_cpu(UNUSED struct xdp_md *ctx)
{
	__u32 key = run() % 6;
	__u64 value = key + 100;
	note(0, bpf_map_update_elem(&per_cpu, &key, &value, BPF_NOEXIST));
	for (__u32 cpu = 0; cpu < 3; cpu++) {
		__u64 *there = bpf_map_lookup_percpu_elem(&per_cpu, &key, cpu);
		note(1 + cpu, there ? *there : 1);
	}
	note(5, bpf_map_lookup_percpu_elem(&per_cpu, &key, 1 << 20) != 0);
	key = 2;
	note(6, bpf_map_delete_elem(&per_cpu, &key));
	return XDP_PASS;
}

#define LOCK_PROGRAM(name)                                                     \
	SEC("xdp") int on_##name(UNUSED struct xdp_md *ctx)                           \
	{                                                                      \
		__u64 number = run();                                          \
		__u32 key = number % 4;                                        \
		struct guarded fresh = { .before = number, .after = 5 };       \
		note(0, bpf_map_update_elem(&name, &key, &fresh, BPF_NOEXIST)); \
		struct guarded *value = bpf_map_lookup_elem(&name, &key);      \
		note(1, value != 0);                                           \
		if (value) {                                                   \
			bpf_spin_lock(&value->lock);                           \
			value->before += 1;                                    \
			value->after += value->before;                         \
			bpf_spin_unlock(&value->lock);                         \
			note(2, value->before);                                \
			note(3, value->after);                                 \
		}                                                              \
		fresh.after = 1000 + number;                                   \
		note(4, bpf_map_update_elem(&name, &key, &fresh, BPF_F_LOCK)); \
		note(5, value ? value->after : 1);                             \
		note(6, bpf_map_update_elem(&name, &key, &fresh, BPF_F_LOCK | BPF_EXIST)); \
		note(7, bpf_map_update_elem(&name, &key, &fresh, BPF_F_LOCK | BPF_NOEXIST)); \
		note(8, bpf_map_update_elem(&name, &key, &fresh, 3));          \
		__u32 other = 1;                                               \
		note(9, bpf_map_delete_elem(&name, &other));                   \
		note(10, bpf_map_update_elem(&results, &key, &number, BPF_F_LOCK)); \
		return XDP_PASS;                                               \
	}

LOCK_PROGRAM(locked)
LOCK_PROGRAM(locked_array)

char _license[] SEC("license") = "GPL";
