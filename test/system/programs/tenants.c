// What may pass is in a map of the tenant's own: it is found in another map, by the payload's first byte.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum { headers = 14 + 20 + 8, allowed = 0, seen = 1 };

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, 8);
  __type(key, __u32);
  __array(values, struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u64);
  });
} tenants SEC(".maps");

SEC("xdp")
int by_tenant(struct xdp_md *ctx) {
  unsigned char *payload = (void *)(long)ctx->data + headers;
  if (payload + 1 > (unsigned char *)(long)ctx->data_end) return XDP_DROP;
  __u32 tenant = *payload, key = seen;
  void *rules = bpf_map_lookup_elem(&tenants, &tenant);
  if (!rules) return XDP_DROP;
  __u64 first = 1, *count = bpf_map_lookup_elem(rules, &key);
  if (count)
    __sync_fetch_and_add(count, 1);
  else
    bpf_map_update_elem(rules, &key, &first, BPF_ANY);
  key = allowed;
  __u64 *may = bpf_map_lookup_elem(rules, &key);
  return may && *may ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
