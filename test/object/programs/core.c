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
	unsigned int flag : 1;
	struct {
		unsigned int id;
	} parts[4];
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
#elif defined(NESTED)
	return ((struct sk_buff *)data)->parts[2].id ? XDP_PASS : XDP_DROP;
#elif defined(ELEMENT)
	return __builtin_preserve_field_info(((struct sk_buff *)data)[3], 0);
#elif defined(FIELD_SIZE)
	return __builtin_preserve_field_info(((struct sk_buff *)data)->data_len, 1);
#elif defined(LEFT_SHIFT)
	return __builtin_preserve_field_info(((struct sk_buff *)data)->flag, 4);
#elif defined(TYPE_SIZE)
	return __builtin_preserve_type_info(*(struct sk_buff *)0, 1);
#elif defined(TYPE_ID)
	return __builtin_btf_type_id(*(struct sk_buff *)0, 1);
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
