// Programs on prog_arrays: one with slots that the object fills, one that it leaves empty.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int again(struct xdp_md *ctx);
int second(struct xdp_md *ctx);
int holes(struct xdp_md *ctx);

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 8);
  __uint(key_size, 4);
  __array(values, int(void *));
} filled SEC(".maps") = {
    .values = {[1] = (void *)&again, [3] = (void *)&second, [4] = (void *)&holes},
};

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 4);
  __uint(key_size, 4);
  __uint(value_size, 4);
} chosen SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} runs SEC(".maps");

static __always_inline __u64 count(__u32 key) {
  __u64 *value = bpf_map_lookup_elem(&runs, &key);
  return value ? ++*value : 0;
}

SEC("xdp") int again(struct xdp_md *ctx) {
  __u64 n = count(0);
  bpf_tail_call(ctx, &filled, 1);
  return 1000 + n;
}

SEC("xdp") int second(struct xdp_md *ctx) {
  (void)ctx;
  return 42;
}

SEC("xdp") int to_second(struct xdp_md *ctx) {
  bpf_tail_call(ctx, &filled, 3);
  return 7;
}

SEC("xdp") int to_empty(struct xdp_md *ctx) {
  bpf_tail_call(ctx, &filled, 2);
  return 7;
}

SEC("xdp") int to_beyond(struct xdp_md *ctx) {
  volatile __u32 index = 8;
  bpf_tail_call(ctx, &filled, index);
  return 7;
}

// Calls that find nothing, by an index that no compiler knows, between those that do.
SEC("xdp") int holes(struct xdp_md *ctx) {
  volatile __u32 empty = 2, own = 4;
  __u64 n = count(1);
  bpf_tail_call(ctx, &filled, empty);
  bpf_tail_call(ctx, &filled, own);
  return 1000 + n;
}

static __attribute__((noinline)) int call_second(struct xdp_md *ctx) {
  volatile int kept = 5;
  bpf_tail_call(ctx, &filled, 3);
  return kept;
}

static __attribute__((noinline)) int call_again(struct xdp_md *ctx) {
  volatile int kept = 5;
  bpf_tail_call(ctx, &filled, 1);
  return kept;
}

SEC("xdp") int from_function(struct xdp_md *ctx) {
  volatile int before = 100;
  return call_second(ctx) + before;
}

SEC("xdp") int from_functions(struct xdp_md *ctx) {
  int first = call_again(ctx);
  return first * 10000 + call_again(ctx);
}

// What the config puts into slot 0 and 1 decides over the packet by its last byte.
SEC("xdp") int dispatch(struct xdp_md *ctx) {
  __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  if (data + 43 > end) return XDP_ABORTED;
  bpf_tail_call(ctx, &chosen, data[42] - '0');
  return XDP_PASS;
}

SEC("xdp") int drop_it(struct xdp_md *ctx) {
  (void)ctx;
  count(2);
  return XDP_DROP;
}

SEC("xdp") int send_back(struct xdp_md *ctx) {
  (void)ctx;
  count(3);
  return XDP_TX;
}

SEC("socket") int of_a_socket(struct __sk_buff *skb) {
  (void)skb;
  return 0;
}

char _license[] SEC("license") = "GPL";
