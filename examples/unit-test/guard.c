// Drops UDP datagrams from blocked IPv4 addresses, and all that are longer than a limit.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 longest_payload = 512;

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, struct in_addr);
  __type(value, __u64); // packets dropped
} blocked SEC(".maps");

SEC("xdp")
int guard(struct xdp_md *ctx) {
  void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  struct ethhdr *ethernet = data;
  struct iphdr *ip = (void *)(ethernet + 1);
  struct udphdr *udp = (void *)(ip + 1);
  if ((void *)(udp + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
  if (ip->ihl != 5 || ip->protocol != IPPROTO_UDP) return XDP_PASS;
  struct in_addr source = {.s_addr = ip->saddr};
  __u64 *dropped = bpf_map_lookup_elem(&blocked, &source);
  if (dropped) {
    __sync_fetch_and_add(dropped, 1);
    return XDP_DROP;
  }
  if (bpf_ntohs(udp->len) - sizeof *udp > longest_payload) {
    bpf_printk("too long: %d", bpf_ntohs(udp->len));
    return XDP_DROP;
  }
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
