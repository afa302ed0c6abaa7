// What programs see of a packet besides its bytes, and what they leave there.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 seen[16];

static __always_inline void see_all(struct __sk_buff *skb) {
  seen[0] = skb->ifindex;
  seen[1] = skb->ingress_ifindex;
  seen[2] = skb->mark;
  seen[3] = skb->priority;
  for (int i = 0; i < 5; i++) seen[4 + i] = skb->cb[i];
  seen[10] = skb->gso_segs;
  seen[11] = skb->gso_size;
  seen[12] = skb->tstamp;
}

SEC("tc") int on_tc(struct __sk_buff *skb) {
  see_all(skb);
  seen[9] = skb->wire_len;
  seen[13] = skb->hwtstamp;
  skb->mark += 1;
  skb->priority ^= 0xff;
  skb->cb[3] = skb->cb[0] + skb->cb[4];
  skb->tstamp += 5;
  skb->queue_mapping = 4;
  skb->tc_index = 7;
  skb->tc_classid = 0x10002;
  bpf_skb_vlan_push(skb, 0xa888, 0x2005);
  return 0;
}

SEC("cgroup_skb/ingress") int on_cgroup(struct __sk_buff *skb) {
  see_all(skb);
  skb->mark -= 1;
  skb->priority += 3;
  skb->cb[0] = skb->cb[1];
  skb->tstamp ^= 1;
  return 1;
}

SEC("socket") int on_socket(struct __sk_buff *skb) {
  for (int i = 0; i < 5; i++) seen[4 + i] = skb->cb[i];
  seen[2] = skb->mark;
  seen[3] = skb->priority;
  skb->cb[2] = skb->mark;
  return 0;
}

SEC("xdp") int on_xdp(struct xdp_md *ctx) {
  __u8 *meta = (void *)(long)ctx->data_meta, *data = (void *)(long)ctx->data;
  seen[0] = ctx->ingress_ifindex;
  seen[1] = ctx->rx_queue_index;
  seen[2] = data - meta;
  if (meta + 4 <= data) {
    seen[3] = meta[0];
    meta[1] = 9;
  }
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
