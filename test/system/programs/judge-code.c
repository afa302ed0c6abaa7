// A program for each way that code and data refer to each other, and for helpers that work on packets.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct pair { __u32 one; __u64 other; };

const volatile __u32 constant = 0x1234;
const volatile struct pair pairs[3] = {{1, 10}, {2, 20}, {3, 30}};
__u32 initialised = 77;
struct pair filled[4] = {{9, 8}, {7, 6}};
__u64 zeroed;
__u32 histogram[16];
static __u32 hidden = 5;
__u32 weak_value __attribute__((weak)) = 11;
extern int LINUX_KERNEL_VERSION __kconfig;

// Whole before it is used: clang would add to data_end first, which is a pointer to the verifier.
static __always_inline __u32 length_of(struct xdp_md *ctx) {
  __u32 length = ctx->data_end - ctx->data;
  asm volatile("" : "+r"(length));
  return length;
}

SEC("xdp") int read_constants(struct xdp_md *ctx) {
  __u32 i = length_of(ctx) & 1;
  return constant + pairs[i].one + pairs[i].other;
}

SEC("xdp") int write_data(struct xdp_md *ctx) {
  initialised += length_of(ctx);
  filled[length_of(ctx) & 3].other ^= initialised;
  return initialised;
}

SEC("xdp") int write_zeroed(struct xdp_md *ctx) {
  __sync_fetch_and_add(&zeroed, length_of(ctx));
  histogram[length_of(ctx) & 15]++;
  return zeroed;
}

SEC("xdp") int static_data(struct xdp_md *ctx) {
  hidden = hidden * 31 + length_of(ctx);
  return hidden;
}

SEC("xdp") int weak_data(struct xdp_md *ctx) { return weak_value++ + length_of(ctx); }

SEC("xdp") int kernel_version(struct xdp_md *ctx) {
  (void)ctx;
  return LINUX_KERNEL_VERSION >= 0x050000;
}

static __noinline int static_function(struct xdp_md *ctx, int depth) {
  return length_of(ctx) * 3 + depth;
}

__noinline int global_function(struct xdp_md *ctx) { return static_function(ctx, 9) ^ 0x55; }

__attribute__((weak)) __noinline int weak_function(__u32 n) { return n / 7; }

SEC("xdp") int call_static(struct xdp_md *ctx) {
  return static_function(ctx, 1) + static_function(ctx, 2);
}
SEC("xdp") int call_global(struct xdp_md *ctx) { return global_function(ctx); }
SEC("xdp") int call_weak(struct xdp_md *ctx) { return weak_function(length_of(ctx)); }

struct sum { __u64 total; __u32 rounds; };
static long add(__u32 i, struct sum *sum) {
  sum->total += (__u64)i * i;
  return ++sum->rounds % 64 == 40;
}
SEC("xdp") int loop(struct xdp_md *ctx) {
  // Not known to the verifier, which would follow each round of a number that it knows.
  struct sum sum = {.rounds = length_of(ctx)};
  long rounds = bpf_loop(length_of(ctx), add, &sum, 0);
  return rounds << 16 ^ sum.total;
}

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, __u64);
} walked SEC(".maps");
static long visit(void *map, __u32 *key, __u64 *value, struct sum *sum) {
  (void)map;
  *value += *key + 1;
  sum->total += *value;
  return 0;
}
SEC("xdp") int walk(struct xdp_md *ctx) {
  struct sum sum = {};
  (void)ctx;
  long visited = bpf_for_each_map_elem(&walked, visit, &sum, 0);
  return visited << 16 | sum.total;
}

SEC("xdp") int divide(struct xdp_md *ctx) {
  __u64 n = length_of(ctx), by = n % 5;
  return n * 0x9e3779b97f4a7c15ULL / (by + 1) % 1000003 + (n / by);
}

SEC("xdp") int swap(struct xdp_md *ctx) {
  __u64 n = length_of(ctx) * 0x0102030405060708ULL;
  return bpf_htons(n) ^ bpf_htonl(n >> 8) ^ (__u32)(__builtin_bswap64(n) >> 17);
}

__u64 cell = 1;
SEC("xdp") int atomics(struct xdp_md *ctx) {
  __u64 n = length_of(ctx);
  __u64 before = __sync_fetch_and_or(&cell, n) + __sync_fetch_and_xor(&cell, n * 3);
  before += __sync_fetch_and_and(&cell, ~(n & 6)) + __sync_lock_test_and_set(&cell, n + 1);
  return before + __sync_val_compare_and_swap(&cell, 61, 7);
}

SEC("xdp") int text(struct xdp_md *ctx) {
  char out[24] = "";
  __u64 args[2] = {length_of(ctx), 0xbeef};
  long written = bpf_snprintf(out, sizeof out, "%d/%x", args, sizeof args);
  return written << 16 | bpf_strncmp(out, 3, "60/") << 8 | out[1];
}

SEC("xdp") int grow_head(struct xdp_md *ctx) {
  if (bpf_xdp_adjust_head(ctx, -(int)(length_of(ctx) % 50))) return XDP_DROP;
  __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  for (int i = 0; i < 14; i++) {
    if (data + i + 1 > end) return XDP_ABORTED;
    data[i] = i;
  }
  return XDP_TX;
}

SEC("xdp") int shrink_head(struct xdp_md *ctx) { return -bpf_xdp_adjust_head(ctx, 20); }
SEC("xdp") int shrink_tail(struct xdp_md *ctx) {
  return -bpf_xdp_adjust_tail(ctx, -(int)(length_of(ctx) % 64));
}
SEC("xdp") int grow_tail(struct xdp_md *ctx) { return -bpf_xdp_adjust_tail(ctx, length_of(ctx)); }

SEC("xdp") int metadata(struct xdp_md *ctx) {
  if (bpf_xdp_adjust_meta(ctx, -8)) return XDP_DROP;
  __u32 *meta = (void *)(long)ctx->data_meta;
  if ((void *)(meta + 2) > (void *)(long)ctx->data) return XDP_ABORTED;
  meta[0] = ctx->ingress_ifindex;
  meta[1] = ctx->rx_queue_index;
  return XDP_PASS;
}

SEC("xdp") int copy_bytes(struct xdp_md *ctx) {
  __u8 bytes[6];
  long loaded = bpf_xdp_load_bytes(ctx, length_of(ctx) % 70, bytes, sizeof bytes);
  long stored = loaded ? 0 : bpf_xdp_store_bytes(ctx, 0, bytes, sizeof bytes);
  return -loaded << 8 | -stored;
}

SEC("xdp") int buffer_length(struct xdp_md *ctx) { return bpf_xdp_get_buff_len(ctx); }

SEC("xdp") int checksum(struct xdp_md *ctx) {
  __u32 *data = (void *)(long)ctx->data;
  if ((void *)(data + 5) > (void *)(long)ctx->data_end) return XDP_DROP;
  return bpf_csum_diff(data, 8, data + 2, 12, 0xabcd);
}

SEC("xdp") int redirect(struct xdp_md *ctx) { return bpf_redirect(1, length_of(ctx) % 2); }

SEC("tc") int tc_context(struct __sk_buff *skb) {
  skb->mark = skb->len;
  skb->priority = 3;
  skb->cb[1] = skb->protocol;
  return skb->mark + skb->cb[1] + skb->ifindex + skb->vlan_present;
}

SEC("tc") int tc_store(struct __sk_buff *skb) {
  __u32 word = skb->len;
  long stored = bpf_skb_store_bytes(skb, 30, &word, sizeof word, BPF_F_RECOMPUTE_CSUM);
  long loaded = bpf_skb_load_bytes(skb, 28, &word, sizeof word);
  return (-stored & 0xff) << 8 | (-loaded & 0xff) | (word & 0xffff) << 16;
}

SEC("tc") int tc_checksums(struct __sk_buff *skb) {
  long third = bpf_l3_csum_replace(skb, 24, 0x1234, 0x4321, 2);
  long fourth = bpf_l4_csum_replace(skb, 40, 0x1234, 0x4321, 2 | BPF_F_MARK_MANGLED_0);
  return (-third & 0xff) << 8 | (-fourth & 0xff);
}

SEC("tc") int tc_resize(struct __sk_buff *skb) {
  return (-bpf_skb_change_tail(skb, skb->len / 2 + 20, 0) & 0xff) << 16 | skb->len;
}

SEC("tc") int tc_tag(struct __sk_buff *skb) {
  long pushed = bpf_skb_vlan_push(skb, bpf_htons(0x8100), 42);
  long popped = skb->len % 2 ? bpf_skb_vlan_pop(skb) : 0;
  return (-pushed & 0xff) << 16 | (-popped & 0xff) << 8 | skb->vlan_present;
}

SEC("tc") int tc_redirect(struct __sk_buff *skb) { return bpf_redirect(1 + skb->len % 2, 0); }

SEC("cgroup_skb/egress") int cgroup_odd(struct __sk_buff *skb) { return skb->len & 1; }

char _license[] SEC("license") = "GPL";
