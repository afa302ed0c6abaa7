// CO-RE with structs that are not laid out as the real ones: fewer members, in another order, of
// other sizes. What the source calls by name, the loader finds.
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
enum bpf_map_type { BPF_MAP_TYPE_ARRAY = 2 };
#define partial __attribute__((preserve_access_index))

struct xdp_md { __u32 rx_queue_index, ingress_ifindex, data_end, data; } partial;
struct __sk_buff { __u64 tstamp; __u32 cb[5], wire_len, len, data_end, data, protocol; } partial;
struct ethhdr { __u16 h_proto; __u8 h_source[6]; } partial;
struct iphdr { __u8 protocol; __u8 ttl; __u8 version : 4, ihl : 4; __u32 daddr; } partial;
struct in6_addr { union { __u32 u6_addr32[4]; } in6_u; } partial;
struct ipv6hdr { struct in6_addr daddr; __u8 hop_limit; } partial;
struct udphdr___short { __u16 dest; __u16 nothing; } partial;
struct tcphdr { __u16 window; __u16 syn : 1, doff : 4; __u32 seq; } partial;
struct icmphdr { union { struct { __u16 sequence; } echo; } un; } partial;
struct udphdr___wide { __u32 len; } partial;
struct none { int member; } partial;
enum xdp_action { XDP_PASS = 70, XDP_OTHER = 80 };

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u64);
} answers SEC(".maps");

static __always_inline void answer(__u32 key, __u64 value) {
  bpf_map_update_elem(&answers, &key, &value, 0);
}

static __always_inline void headers(void *packet) {
  struct ethhdr *eth = packet;
  struct iphdr *ip = packet + 14;
  struct ipv6hdr *ip6 = packet + 14;
  struct udphdr___short *udp = packet + 34;
  struct tcphdr *tcp = packet + 34;
  struct icmphdr *icmp = packet + 34;
  answer(0, eth->h_proto);
  answer(1, eth->h_source[3]);
  answer(2, ip->protocol);
  answer(3, ip->ttl);
  answer(4, ip->daddr);
  answer(5, BPF_CORE_READ_BITFIELD(ip, version));
  answer(6, BPF_CORE_READ_BITFIELD(ip, ihl));
  answer(7, ip6->hop_limit);
  answer(8, ip6->daddr.in6_u.u6_addr32[2]);
  answer(9, udp->dest);
  answer(10, bpf_core_field_exists(udp->nothing) ? udp->nothing : 12345);
  answer(11, tcp->window);
  answer(12, tcp->seq);
  answer(13, BPF_CORE_READ_BITFIELD(tcp, syn));
  answer(14, BPF_CORE_READ_BITFIELD(tcp, doff));
  answer(15, icmp->un.echo.sequence);
  answer(16, ((struct udphdr___wide *)udp)->len);
  answer(17, bpf_core_field_offset(struct iphdr, daddr));
  answer(18, bpf_core_field_size(ip6->daddr));
  answer(19, bpf_core_type_size(struct iphdr));
  answer(20, bpf_core_type_size(struct ipv6hdr));
  answer(21, bpf_core_type_exists(struct tcphdr));
  answer(22, bpf_core_type_exists(struct none));
  answer(23, bpf_core_field_exists(((struct none *)packet)->member));
  answer(24, bpf_core_enum_value_exists(enum xdp_action, XDP_PASS));
  answer(25, bpf_core_enum_value_exists(enum xdp_action, XDP_OTHER));
  answer(26, bpf_core_enum_value(enum xdp_action, XDP_PASS));
}

SEC("xdp") int core_xdp(struct xdp_md *ctx) {
  void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  answer(32, ctx->rx_queue_index);
  answer(33, ctx->ingress_ifindex);
  answer(34, bpf_core_type_size(struct xdp_md));
  if (data + 64 > end) return 1;
  headers(data);
  return 2;
}

SEC("tc") int core_tc(struct __sk_buff *skb) {
  void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  skb->cb[3] = skb->len;
  answer(40, skb->cb[3]);
  answer(41, skb->protocol);
  answer(42, skb->wire_len);
  answer(43, skb->tstamp);
  if (data + 64 > end) return 1;
  headers(data);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
