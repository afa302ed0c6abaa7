// A switch: a frame's first byte behind its Ethernet header says where it goes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PORTS(name, map_type)           \
  struct {                              \
    __uint(type, map_type);             \
    __uint(max_entries, 8);             \
    __type(key, __u32);                 \
    __type(value, __u32);               \
  } name SEC(".maps")

PORTS(listed, BPF_MAP_TYPE_DEVMAP);
PORTS(hashed, BPF_MAP_TYPE_DEVMAP_HASH);
// All ports by their number, for frames that go to one.
PORTS(each, BPF_MAP_TYPE_DEVMAP);

SEC("xdp") int forward(struct xdp_md *ctx) {
  unsigned char *data = (void *)(long)ctx->data;
  if (data + 15 > (unsigned char *)(long)ctx->data_end) return XDP_DROP;
  switch (data[14]) {
  case 0: return bpf_redirect_map(&listed, 0, BPF_F_BROADCAST);
  case 1: return bpf_redirect_map(&listed, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
  case 2: return bpf_redirect_map(&hashed, 0, BPF_F_BROADCAST);
  case 3: return bpf_redirect_map(&hashed, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
  case 4:
    // The last call decides.
    bpf_redirect_map(&listed, 0, BPF_F_BROADCAST);
    return bpf_redirect_map(&each, 1, 0);
  case 5:
    bpf_redirect_map(&each, 1, 0);
    return bpf_redirect_map(&hashed, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
  case 6:
    // A refused call is none: what was chosen before stays.
    bpf_redirect_map(&listed, 0, BPF_F_BROADCAST);
    bpf_redirect_map(&each, 1, 32);
    return XDP_REDIRECT;
  case 7:
    bpf_redirect_map(&listed, 0, BPF_F_BROADCAST);
    return bpf_redirect_map(&each, 99, XDP_DROP);
  default: return bpf_redirect_map(&each, data[14] - 16, 0);
  }
}

// For frames of any kind.
SEC("xdp") int to_all(struct xdp_md *ctx) {
  (void)ctx;
  return bpf_redirect_map(&listed, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
}

SEC("xdp") int take(struct xdp_md *ctx) {
  (void)ctx;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "Apache-2.0";
