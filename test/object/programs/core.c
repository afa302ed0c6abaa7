/* CO-RE: stable structs need no kernel; others do. Compiled once for each, chosen by -D. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct iphdr {
	unsigned char version_and_length;
	unsigned char tos;
	unsigned short total_length;
	unsigned char rest[16];
} __attribute__((preserve_access_index));

struct sk_buff {
	unsigned int len;
	unsigned int data_len;
} __attribute__((preserve_access_index));

enum tcp_states { TCP_FIRST, TCP_SECRET = 99 };

SEC("xdp")
int program(struct xdp_md *context)
{
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;

	if (data + 20 > end)
		return XDP_DROP;
#if defined(ENUM_EXISTS)
	return __builtin_preserve_enum_value(*(typeof(enum tcp_states) *)TCP_SECRET, 0) ? XDP_ABORTED : XDP_PASS;
#elif defined(ENUM_VALUE)
	return __builtin_preserve_enum_value(*(typeof(enum tcp_states) *)TCP_SECRET, 1);
#elif defined(GUARDED)
	if (__builtin_preserve_field_info(((struct sk_buff *)data)->data_len, 2))
		return ((struct sk_buff *)data)->data_len;
	return XDP_PASS;
#elif defined(EXISTS)
	if (__builtin_preserve_field_info(((struct sk_buff *)data)->data_len, 2))
		return XDP_ABORTED;
	return __builtin_preserve_field_info(((struct iphdr *)data)->tos, 2) ? XDP_PASS : XDP_DROP;
#elif defined(STABLE)
	return ((struct iphdr *)data)->total_length ? XDP_PASS : XDP_DROP;
#else
	return ((struct sk_buff *)data)->data_len ? XDP_PASS : XDP_DROP;
#endif
}

char _license[] SEC("license") = "GPL";
