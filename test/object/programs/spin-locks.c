// Values of maps with a spin lock in different places. SEVERAL adds a second one.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__u32 before;
	struct bpf_spin_lock lock;
};

struct own {
	__u64 count;
	struct bpf_spin_lock lock;
};

struct nested {
	__u64 count;
	struct {
		__u32 before;
		struct inner inner;
	} outer;
};

struct one {
	__u64 count;
	struct inner inner[1];
};

struct none {
	__u64 count;
	struct inner *pointer;
	struct inner empty[0];
};

#define MAP(name, of)                            \
	struct {                                 \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(max_entries, 4);          \
		__type(key, __u32);              \
		__type(value, struct of);        \
	} name SEC(".maps")

MAP(in_value, own);
MAP(in_nested_struct, nested);
MAP(in_array_of_one, one);
MAP(in_none, none);

#ifdef SEVERAL
struct several {
	SEVERAL;
};
MAP(in_several, several);
#endif

SEC("xdp")
int locks(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct nested *value = bpf_map_lookup_elem(&in_nested_struct, &key);

	if (!value)
		return XDP_DROP;
	bpf_spin_lock(&value->outer.inner.lock);
	value->count++;
	bpf_spin_unlock(&value->outer.inner.lock);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
