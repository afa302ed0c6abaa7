/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Does anything to a packet that a program can: writes random bytes anywhere, moves both ends, sends
 * it where it must not go, and returns whatever comes.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* A socket that nothing in the config names. */
volatile const __be32 unlisted_address = 0;
volatile const __u16 unlisted_port = 0;

/* One packet in so many is spared, so that the listener has something to go on with. */
volatile const __u32 spared_one_in = 4;

enum mischief { spared, aimed, wrote, moved_head, moved_tail, redirected, judged, mischiefs };

/* What was done, so that a test knows that it was. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, mischiefs);
	__type(key, __u32);
	__type(value, __u64);
} mischief SEC(".maps");

static __always_inline void note(__u32 what)
{
	__u64 *count = bpf_map_lookup_elem(&mischief, &what);

	if (count)
		*count += 1;
}

/* A right frame in all but where it goes: what a proxy would carry out if it did not look. */
static __always_inline void aim(struct xdp_md *context)
{
	void *data_end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;
	struct iphdr *ip = (void *)(ethernet + 1);
	__be16 *ports = (void *)(ip + 1);

	if ((void *)(ports + 2) > data_end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return;
	ip->daddr = unlisted_address;
	ports[1] = bpf_htons(unlisted_port);
	note(aimed);
}

static __always_inline void write(struct xdp_md *context, __u32 mask)
{
	__u8 *data = (void *)(long)context->data;

	data += bpf_get_prandom_u32() & mask;
	if ((void *)(data + 1) > (void *)(long)context->data_end)
		return;
	*data = bpf_get_prandom_u32();
	note(wrote);
}

SEC("xdp")
int xdp_fuzz(struct xdp_md *context)
{
	__u32 dice = bpf_get_prandom_u32();
	__u64 length = (void *)(long)context->data_end - (void *)(long)context->data;
	int i;

	if (bpf_get_prandom_u32() % spared_one_in == 0) {
		note(spared);
		return XDP_PASS;
	}
	if (dice & 1)
		aim(context);
	if (dice & 2)
		for (i = 0; i < 16; i++)
			/* Mostly in the headers. */
			write(context, i & 1 ? 63 : 2047);
	if (dice & 4) {
		/* From far beyond the headroom to far into the frame. */
		if (!bpf_xdp_adjust_head(context, (int)(bpf_get_prandom_u32() % 700) - 350))
			note(moved_head);
	}
	if (dice & 8) {
		if (!bpf_xdp_adjust_tail(context, (int)(bpf_get_prandom_u32() % (2 * length + 64)) -
							  (int)length))
			note(moved_tail);
	}
	if (dice & 16)
		for (i = 0; i < 4; i++)
			write(context, 63);
	switch ((dice >> 8) & 3) {
	case 0:
		note(redirected);
		return bpf_redirect(bpf_get_prandom_u32() % 8, 0);
	case 1:
		note(judged);
		return bpf_get_prandom_u32();
	case 2:
		note(judged);
		return bpf_get_prandom_u32() % 6;
	default:
		return XDP_PASS;
	}
}

char _license[] SEC("license") = "Apache-2.0";
