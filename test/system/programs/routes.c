// bpf_fib_lookup with parameters and flags that are in the packet behind its Ethernet header; what it
// leaves in them goes back to where they were.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

struct request {
  struct ethhdr ethernet;
  struct bpf_fib_lookup parameters;
  __u32 flags;
} __attribute__((packed));

#define LOOK_UP(ctx) \
  struct request *request = (void *)(long)ctx->data; \
  if ((void *)(request + 1) > (void *)(long)ctx->data_end) return -1; \
  struct bpf_fib_lookup parameters; \
  __builtin_memcpy(&parameters, &request->parameters, sizeof parameters); \
  long found = bpf_fib_lookup(ctx, &parameters, sizeof parameters, request->flags); \
  __builtin_memcpy(&request->parameters, &parameters, sizeof parameters); \
  return found;

SEC("xdp") int xdp_route(struct xdp_md *ctx) { LOOK_UP(ctx) }
SEC("tc") int tc_route(struct __sk_buff *ctx) { LOOK_UP(ctx) }

char _license[] SEC("license") = "GPL";
