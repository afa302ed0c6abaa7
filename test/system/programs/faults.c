/*
 * The ways in which a run of a verified program ends before its exit, and others that one might take
 * for such. The payload's first byte says which, the second is its argument.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum cause {
	nothing,
	misaligned_atomic,
	callbacks,
	tail_calls,
	division,
	remainder,
	aborted,
	unknown_value,
	causes
};

int again(struct xdp_md *context);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(void *));
} programs SEC(".maps") = { .values = { [0] = (void *)&again } };

/* By cause: runs, or what they computed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, causes);
	__type(key, __u32);
	__type(value, __u64);
} done SEC(".maps");

struct words {
	__u32 word[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct words[2]);
} words SEC(".maps");

static __always_inline void count(__u32 cause, __u64 by)
{
	__u64 *value = bpf_map_lookup_elem(&done, &cause);

	if (value)
		__sync_fetch_and_add(value, by);
}

/* Programs that are tail-called: 34 runs, since 33 calls are all there may be. */
SEC("xdp") int again(struct xdp_md *context)
{
	count(tail_calls, 1);
	bpf_tail_call(context, &programs, 0);
	return XDP_PASS;
}

/*
 * Global: the verifier looks at it once, for any memory of that size, and does not know how that is
 * aligned.
 */
__noinline int add(struct words *to)
{
	if (!to)
		return 0;
	return __sync_fetch_and_add(&to->word[0], 1);
}

static long turn(__u32 index, void *context)
{
	(void)index;
	(void)context;
	return 0;
}

static long turns(__u32 index, void *context)
{
	(void)index;
	(void)context;
	bpf_loop(1 << 22, turn, 0, 0);
	return 0;
}

SEC("xdp") int xdp_faults(struct xdp_md *context)
{
	unsigned char *data = (void *)(long)context->data;
	__u32 zero = 0;

	if ((void *)(data + 44) > (void *)(long)context->data_end)
		return XDP_PASS;
	unsigned int argument = data[43];

	switch (data[42]) {
	case misaligned_atomic: {
		char *value = bpf_map_lookup_elem(&words, &zero);

		count(misaligned_atomic, 1);
		if (value)
			add((void *)(value + (argument & 7)));
		return XDP_PASS;
	}
	case callbacks:
		count(callbacks, 1);
		bpf_loop(4, turns, 0, 0);
		return XDP_PASS;
	case tail_calls:
		count(tail_calls, 1);
		bpf_tail_call(context, &programs, 0);
		return XDP_PASS;
	case division:
		count(division, 1 + 1000 / argument);
		return XDP_PASS;
	case remainder:
		count(remainder, 1000 % argument);
		return XDP_PASS;
	case aborted:
		return XDP_ABORTED;
	case unknown_value:
		return 77;
	default:
		return XDP_PASS;
	}
}

char _license[] SEC("license") = "GPL";
