// SPDX-License-Identifier: Apache-2.0
/* A histogram of frame sizes by powers of two, their sum behind it, and the last size as a gauge. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define BUCKETS 16

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, BUCKETS + 2);
  __type(key, __u32);
  __type(value, __u64);
} frame_bytes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} last_frame_bytes SEC(".maps");

static void add(__u32 key, __u64 amount) {
  __u64 *value = bpf_map_lookup_elem(&frame_bytes, &key);
  if (value) *value += amount;
}

SEC("xdp")
int sizes(struct xdp_md *ctx) {
  __u32 bytes = ctx->data_end - ctx->data, bucket = 0, zero = 0;
#pragma unroll
  for (int i = 0; i < BUCKETS; i++)
    if (bytes > (1u << i)) bucket = i + 1;
  add(bucket, 1);
  add(BUCKETS + 1, bytes);
  __u64 *last = bpf_map_lookup_elem(&last_frame_bytes, &zero);
  if (last) *last = bytes;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "Apache-2.0";
