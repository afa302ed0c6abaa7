/* As objects built away from their sources are: with the numbers of lines, without their text. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#line 70 "/elsewhere/filter.c"
SEC("xdp") int port(struct xdp_md *context) {
  if (context->ingress_ifindex == 1)
    return XDP_DROP;
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
