// The programs of the engine bench (engine.ts), all xdp, on one packet: Ethernet, IPv4, UDP, 1400
// bytes of payload. Their names are in the order of the table.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PAYLOAD 1400

struct flow {
  __u32 source, destination;
  __u16 source_port, destination_port;
  __u32 protocol;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 10000);
  __type(key, struct flow);
  __type(value, __u64);
} flows SEC(".maps");

/* The UDP header of an IPv4 packet without options, or null. */
static __always_inline struct udphdr *udp_of(struct xdp_md *ctx, struct iphdr **ip) {
  void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  struct ethhdr *eth = data;
  if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP)) return 0;
  *ip = (void *)(eth + 1);
  if ((void *)(*ip + 1) > end || (*ip)->ihl != 5 || (*ip)->protocol != IPPROTO_UDP) return 0;
  if ((*ip)->frag_off & bpf_htons(0x3fff)) return 0;
  struct udphdr *udp = (void *)(*ip + 1);
  return (void *)(udp + 1) > end ? 0 : udp;
}

SEC("xdp")
int pass(struct xdp_md *ctx) { return XDP_PASS; }

SEC("xdp")
int parse(struct xdp_md *ctx) {
  struct iphdr *ip;
  struct udphdr *udp = udp_of(ctx, &ip);
  if (!udp) return XDP_PASS;
  if (udp->dest == bpf_htons(53) && bpf_ntohs(udp->len) > 512) return XDP_DROP;
  if (ip->ttl < 2 || ip->saddr == 0 || ip->daddr == bpf_htonl(0x7f000001)) return XDP_DROP;
  return XDP_PASS;
}

SEC("xdp")
int array_counter(struct xdp_md *ctx) {
  struct iphdr *ip;
  struct udphdr *udp = udp_of(ctx, &ip);
  if (!udp) return XDP_PASS;
  __u32 key = ip->protocol;
  __u64 *count = bpf_map_lookup_elem(&counters, &key);
  if (count) __sync_fetch_and_add(count, 1);
  return XDP_PASS;
}

/* The same 256 times: what the work itself takes, where the rest of a run is a small part. */
#define REPEATED _Pragma("clang loop unroll(disable)") for (int i = 0; i < 256; i++)
/* What is in memory and in registers may have changed: nothing is moved out of the loop. */
#define CHANGED(pointer) asm volatile("" : "+r"(pointer) : : "memory")

SEC("xdp")
int parse_256(struct xdp_md *ctx) {
  struct iphdr *ip;
  REPEATED {
    CHANGED(ctx);
    struct udphdr *udp = udp_of(ctx, &ip);
    if (!udp) return XDP_DROP;
    if (udp->dest == bpf_htons(53) && bpf_ntohs(udp->len) > 512) return XDP_DROP;
    if (ip->ttl < 2 || ip->saddr == 0 || ip->daddr == bpf_htonl(0x7f000001)) return XDP_DROP;
  }
  return XDP_PASS;
}

SEC("xdp")
int array_counter_256(struct xdp_md *ctx) {
  struct iphdr *ip;
  REPEATED {
    CHANGED(ctx);
    struct udphdr *udp = udp_of(ctx, &ip);
    if (!udp) return XDP_DROP;
    __u32 key = ip->protocol;
    __u64 *count = bpf_map_lookup_elem(&counters, &key);
    if (count) __sync_fetch_and_add(count, 1);
  }
  return XDP_PASS;
}

SEC("xdp")
int hash_flow(struct xdp_md *ctx) {
  struct iphdr *ip;
  struct udphdr *udp = udp_of(ctx, &ip);
  if (!udp) return XDP_PASS;
  struct flow key = {ip->saddr, ip->daddr, udp->source, udp->dest, ip->protocol};
  __u64 *count = bpf_map_lookup_elem(&flows, &key);
  if (!count) return XDP_DROP;
  __sync_fetch_and_add(count, 1);
  return XDP_PASS;
}

SEC("xdp")
int checksum(struct xdp_md *ctx) {
  void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  __u16 *word = data + 42;
  __u64 sum = 0;
#pragma clang loop unroll(disable)
  for (int i = 0; i < PAYLOAD / 2; i++) {
    if ((void *)(word + 1) > end) break;
    sum += *word++;
  }
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int fnv(struct xdp_md *ctx) {
  void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  __u8 *byte = data + 42;
  __u64 hash = 0xcbf29ce484222325ull;
#pragma clang loop unroll(disable)
  for (int i = 0; i < PAYLOAD; i++) {
    if ((void *)(byte + 1) > end) break;
    hash = (hash ^ *byte++) * 0x100000001b3ull;
  }
  return hash == 0 ? XDP_DROP : XDP_PASS;
}

static __noinline __u64 mix(__u64 a, __u64 b) {
  a ^= b >> 7;
  a *= 0x9e3779b97f4a7c15ull;
  return a ^ (a >> 32);
}

static __noinline __u64 mix_four(__u64 a, __u64 b) {
  return mix(a, b) + mix(b, a) + mix(a + b, b) + mix(a - b, a);
}

SEC("xdp")
int calls(struct xdp_md *ctx) {
  __u64 seed = ctx->data_end - ctx->data;
  __u64 sum = mix_four(seed, 1) + mix_four(2, seed);
  return sum == 0 ? XDP_DROP : XDP_PASS;
}

char program_license[] SEC("license") = "GPL";
