// Helpers and relocations that the other judged programs leave out.
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(key_size, 4);
  __uint(value_size, 4);
} events SEC(".maps");

// The whole packet behind what the program says of it: its length is in the flags.
SEC("xdp") int xdp_sample(struct xdp_md *ctx) {
  __u32 length = ctx->data_end - ctx->data;
  __u64 flags = BPF_F_CURRENT_CPU | (__u64)(length % 100) << 32;
  return -bpf_perf_event_output(ctx, &events, flags, &length, sizeof length);
}

SEC("tc") int tc_sample(struct __sk_buff *skb) {
  __u32 note[3] = {skb->len, skb->protocol, 7};
  __u64 flags = BPF_F_CURRENT_CPU | (__u64)skb->len << 32;
  return -bpf_perf_event_output(skb, &events, flags, note, sizeof note);
}

SEC("tc") int tc_sample_nowhere(struct __sk_buff *skb) {
  __u32 note = skb->len;
  return -bpf_perf_event_output(skb, &events, 1000 + skb->len, &note, sizeof note);
}

// CO-RE: the context's types are here too, and what only a kernel has can be asked for.
SEC("tc") int core_context(struct __sk_buff *skb) {
  int there = bpf_core_field_exists(skb->wire_len) + 2 * bpf_core_field_exists(skb->gso_size);
  return there << 8 | bpf_core_field_size(skb->tstamp) << 4 | bpf_core_type_exists(struct bpf_tunnel_key);
}

// Parameters that no table of routes is asked for: the kernel's and ours refuse them alike.
static __always_inline long lookup(void *ctx, __u32 length, __u32 flags, __u32 size) {
  struct bpf_fib_lookup fib = {.family = length & 1 ? 2 : 10, .ifindex = 1 + length % 3 * 4000};
  return size == 64 ? bpf_fib_lookup(ctx, &fib, 64, flags) : bpf_fib_lookup(ctx, &fib, 60, flags);
}
SEC("xdp") int fib_parameters(struct xdp_md *ctx) {
  __u32 length = ctx->data_end - ctx->data;
  // A device that is not there, a struct cut short, flags that do not exist.
  if (length % 3 == 0) return -lookup(ctx, length, 1 << 12, 64);
  if (length % 3 == 1) return -lookup(ctx, length, 0, 60);
  return -lookup(ctx, length, 0, 64);
}

SEC("tc") int encapsulate(struct __sk_buff *skb) {
  struct { __u8 bytes[20]; } header = {{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 4}};
  long grown = bpf_skb_adjust_room(skb, sizeof header, BPF_ADJ_ROOM_MAC,
                                   BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
  if (grown) return -grown;
  return -bpf_skb_store_bytes(skb, 14, &header, sizeof header, 0);
}

SEC("tc") int decapsulate(struct __sk_buff *skb) {
  return -bpf_skb_adjust_room(skb, -8, BPF_ADJ_ROOM_NET, 0) & 0xff;
}

SEC("tc") int tunnel(struct __sk_buff *skb) {
  struct bpf_tunnel_key key = {.tunnel_id = skb->len, .remote_ipv4 = 0xc0000201, .tunnel_ttl = 9};
  long before = bpf_skb_get_tunnel_key(skb, &key, sizeof key, 0);
  key.tunnel_id = skb->len;
  key.tunnel_tos = 4;
  long set = bpf_skb_set_tunnel_key(skb, &key, sizeof key, BPF_F_ZERO_CSUM_TX);
  long after = bpf_skb_get_tunnel_key(skb, &key, sizeof key, 0);
  return (-before & 0xff) << 24 | (-set & 0xff) << 16 | (-after & 0xff) << 8 | key.tunnel_id;
}

SEC("tc") int translate(struct __sk_buff *skb) {
  long changed = bpf_skb_change_proto(skb, bpf_htons(0x86dd), 0);
  return (-changed & 0xff) << 16 | skb->len;
}

char _license[] SEC("license") = "GPL";
