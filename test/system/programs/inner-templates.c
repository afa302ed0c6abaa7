// Maps of maps of which only templates are declared: user space makes what they hold.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, 4);
  __type(key, __u32);
  __array(values, struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
  });
} tenants SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 4);
  __type(key, __u32);
  __array(values, struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 3);
    __type(key, __u32);
    __type(value, __u64);
  });
} tables SEC(".maps");

// How often the last byte was seen by the tenant of the byte before it: kept in the maps themselves.
SEC("xdp") int count(struct xdp_md *ctx) {
  __u8 *data = (void *)(long)ctx->data;
  __u64 first = 1, *seen;
  if (data + 16 > (__u8 *)(long)ctx->data_end) return 0x7fff;
  __u32 tenant = data[14], what = data[15];
  void *inner = bpf_map_lookup_elem(&tenants, &tenant);
  if (inner == NULL) return 0x7000;
  seen = bpf_map_lookup_elem(inner, &what);
  if (seen == NULL) return -bpf_map_update_elem(inner, &what, &first, BPF_NOEXIST) << 8 | 0xff;
  int result = ++*seen;
  inner = bpf_map_lookup_elem(&tables, &tenant);
  if (inner == NULL) return 0x6000 | result;
  seen = bpf_map_lookup_elem(inner, &what);
  if (seen == NULL) return 0x5000 | result;
  *seen += result;
  return *seen << 16 | result;
}

char _license[] SEC("license") = "GPL";
