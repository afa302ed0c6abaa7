/* Maps that are wrong, one at a time, chosen by -D. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#ifndef TYPE
#define TYPE BPF_MAP_TYPE_HASH
#endif

#ifdef SHORT
struct {
	__u32 type;
	__u32 key_size;
} bad SEC("maps") = { 1, 4 };
#else
struct {
#if defined(PLAIN)
	int type;
#elif !defined(UNTYPED)
	__uint(type, TYPE);
#endif
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
#ifdef DISAGREE
	__uint(key_size, 8);
#endif
#ifdef UNKNOWN
	__uint(colour, 3);
#endif
#ifdef PINNING
	__uint(pinning, PINNING);
#endif
} bad SEC(".maps");
#endif

SEC("xdp")
int program(struct xdp_md *context)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&bad, &key) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
