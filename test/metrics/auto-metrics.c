/* Maps of every form that `metrics: auto` reads, and of those that it leaves out. */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_helpers.h>

#define MAP(name, kind, entries, key_type, value_type)                                             \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

enum reason { too_short, too_long = 7, unknown = -1 };

struct totals {
	__u64 packets;
	__s32 balance;
	__u32 pad;
	struct {
		__u16 low;
		union {
			__u32 worst;
			__s16 half;
		};
	} depth;
	__u64 buckets[4];
	double ratio;
	__be32 last_source;
	__u32 flag : 1;
	struct bpf_spin_lock lock;
};

struct flow {
	__be32 source;
	union {
		__u8 bytes[16];
		struct in6_addr address;
	} destination;
	__be16 port;
	__u8 hardware[6];
	char name[8];
	__s16 delta;
	enum reason reason;
	__u8 _pad[3];
	__u8 urgent;
};

struct prefix {
	__u32 prefixlen;
	__u32 address;
};

struct packed {
	__u32 low : 4;
	__u32 high : 28;
};

struct on_cpu {
	__u16 queue;
	__u16 cpu;
};

struct wide {
	char text[300];
};

MAP(single, ARRAY, 1, __u32, __u64);
MAP(by_index, PERCPU_ARRAY, 8, __u32, __u32);
MAP(by_reason, ARRAY, 8, enum reason, __s64);
MAP(by_reason_total, HASH, 8, enum reason, struct totals);
MAP(flows, HASH, 8, struct flow, __u8);
/* As the kernel wants tries. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8);
	__type(key, struct prefix);
	__type(value, __u32);
} rules SEC(".maps");
MAP(bits, HASH, 8, struct packed, enum reason);
MAP(queues, PERCPU_HASH, 8, struct on_cpu, __u64);
MAP(too_wide, HASH, 8, struct wide, __u64);
MAP(texts, HASH, 8, __u32, char[8]);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u64);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, __u64);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 8);
} untyped SEC(".maps");

__u64 seen;
static volatile __s32 weight = 5;
const volatile __u32 limit = 3;

SEC("xdp")
int touch(struct xdp_md *context)
{
	__u32 zero = 0;

	seen += limit + weight;
	bpf_map_lookup_elem(&single, &zero);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
