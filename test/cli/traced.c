/* What traces show: pointers and numbers, calls of all kinds, a packet that moves. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define START(context) ((void *)(long)(context)->data)
#define END(context) ((void *)(long)(context)->data_end)

struct inner {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} own SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 2);
  __type(key, __u32);
  __array(values, struct inner);
} outer SEC(".maps") = {.values = {&own}};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} counter SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u32);
} programs SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_QUEUE);
  __uint(max_entries, 1);
  __type(value, __u32);
} jobs SEC(".maps");

__u64 total;

SEC("xdp") int count(struct xdp_md *context) {
  __u32 key = 0;
  __u64 *value = bpf_map_lookup_elem(&counter, &key);
  if (!value)
    return XDP_ABORTED;
  *value += 1;
  total = *value;
  __sync_fetch_and_add(value, 3);
  return XDP_PASS;
}

SEC("xdp") int bounds(struct xdp_md *context) {
  if (START(context) + 54 > END(context))
    return XDP_DROP;
  return XDP_PASS;
}

SEC("cgroup_skb/egress") int bounds_cgroup(struct __sk_buff *context) {
  if (START(context) + 54 > END(context))
    return 0;
  return 1;
}

SEC("xdp") int calls(struct xdp_md *context) {
  bpf_tail_call(context, &programs, 1);
  bpf_tail_call(context, &programs, 0);
  return XDP_ABORTED;
}

static long turn(__u32 i, __u64 *sum) {
  *sum += i;
  return i == 1;
}

static long each(void *map, __u32 *key, __u64 *value, __u64 *sum) {
  *sum += *value + *key;
  return 0;
}

SEC("xdp") int callbacks(struct xdp_md *context) {
  __u64 sum = 0;
  bpf_loop(4, turn, &sum, 0);
  bpf_for_each_map_elem(&counter, each, &sum, 0);
  return sum == 1 ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int nested(struct xdp_md *context) {
  __u32 key = 0;
  void *map = bpf_map_lookup_elem(&outer, &key);
  if (!map)
    return XDP_ABORTED;
  __u64 *value = bpf_map_lookup_elem(map, &key);
  if (!value)
    return XDP_DROP;
  *value += 1;
  return XDP_PASS;
}

SEC("xdp") int records(struct xdp_md *context) {
  __u32 job = 5;
  bpf_map_push_elem(&jobs, &job, 0);
  bpf_map_push_elem(&jobs, &job, 0);
  bpf_map_pop_elem(&jobs, &job);
  __u64 *record = bpf_ringbuf_reserve(&events, 16, 0);
  if (!record)
    return XDP_ABORTED;
  record[1] = 66368;
  bpf_ringbuf_submit(record, 0);
  return XDP_PASS;
}

SEC("xdp") int moves(struct xdp_md *context) {
  if (bpf_xdp_adjust_head(context, 4))
    return XDP_ABORTED;
  if (START(context) + 14 > END(context))
    return XDP_DROP;
  *(__u8 *)(START(context) + 1) = 7;
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
