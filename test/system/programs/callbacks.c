// Helpers that call back, each program's return a number that tells what came of it. Maps are filled by
// the programs themselves, so that one run is one result.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#pragma clang diagnostic ignored "-Wunused-parameter"

#define MAP(name, map_type, entries)      \
  struct {                                \
    __uint(type, map_type);               \
    __uint(max_entries, entries);         \
    __type(key, __u32);                   \
    __type(value, __u64);                 \
  } name SEC(".maps")

MAP(hash, BPF_MAP_TYPE_HASH, 64);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, 64);
MAP(percpu, BPF_MAP_TYPE_PERCPU_HASH, 64);
MAP(array, BPF_MAP_TYPE_ARRAY, 16);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 16);

struct sum {
  __u64 total;
  __u32 turns;
  __u32 stop_at;
};

static long add_index(__u32 index, struct sum *sum) {
  sum->total += index;
  sum->turns++;
  return sum->turns == sum->stop_at;
}

SEC("xdp")
int loop_to_end(struct xdp_md *ctx) {
  struct sum sum = {};
  long turns = bpf_loop(1000, add_index, &sum, 0);
  return sum.total * 10 + (turns == sum.turns);
}

SEC("xdp")
int loop_stopped(struct xdp_md *ctx) {
  struct sum sum = {.stop_at = 17};
  long turns = bpf_loop(1000, add_index, &sum, 0);
  return sum.total * 1000 + turns;
}

SEC("xdp")
int loop_never(struct xdp_md *ctx) {
  struct sum sum = {};
  return bpf_loop(0, add_index, &sum, 0) + sum.turns;
}

SEC("xdp")
int loop_with_flags(struct xdp_md *ctx) {
  struct sum sum = {};
  return bpf_loop(3, add_index, &sum, 1);
}

SEC("xdp")
int loop_too_long(struct xdp_md *ctx) {
  struct sum sum = {};
  return bpf_loop((1 << 23) + 1, add_index, &sum, 0);
}

/// In place of this call the kernel has a loop, whose error has 32 bits.
SEC("xdp")
int loop_too_long_inlined(struct xdp_md *ctx) {
  struct sum sum = {};
  long turns = bpf_loop((1 << 23) + 1, add_index, &sum, 0);
  return turns == 0xfffffff9 ? 1 : turns == -7 ? 2 : 3;
}

/// Not in place of one whose callback or flags depend on the packet.
SEC("xdp")
int loop_too_long_called(struct xdp_md *ctx) {
  struct sum sum = {};
  __u64 flags = ctx->data_end - ctx->data > 1000;
  long turns = bpf_loop((1 << 23) + 1, add_index, &sum, flags);
  return turns == 0xfffffff9 ? 1 : turns == -7 ? 2 : 3;
}

static long (*const loop64)(__u64, void *, void *, __u64) = (void *)BPF_FUNC_loop;

SEC("xdp")
int loop_of_high_word_inlined(struct xdp_md *ctx) {
  struct sum sum = {};
  long turns = loop64((1ull << 32) + 5, add_index, &sum, 0);
  return turns == 0xfffffff9 ? 1000 : turns * 10 + sum.turns;
}

SEC("xdp")
int loop_of_high_word_called(struct xdp_md *ctx) {
  struct sum sum = {};
  __u64 flags = ctx->data_end - ctx->data > 1000;
  long turns = loop64((1ull << 32) + 5, add_index, &sum, flags);
  return turns == 0xfffffff9 ? 1000 : turns * 10 + sum.turns;
}

/// How many turns depends on the packet: the kernel cannot know.
SEC("xdp")
int loop_by_length(struct xdp_md *ctx) {
  struct sum sum = {};
  __u32 length = ctx->data_end - ctx->data;
  bpf_loop(length, add_index, &sum, 0);
  return sum.total;
}

static long add_inner(__u32 index, struct sum *sum) {
  return bpf_loop(index, add_index, sum, 0) == 9;
}

SEC("xdp")
int loops_nested(struct xdp_md *ctx) {
  struct sum sum = {};
  long turns = bpf_loop(100, add_inner, &sum, 0);
  return sum.total * 100 + turns;
}

static long add_twice(__u32 index, struct sum *sum) {
  sum->total += 2 * index;
  return 0;
}

/// One call of a callback that depends on the packet.
SEC("xdp")
int loop_either(struct xdp_md *ctx) {
  struct sum sum = {};
  if (ctx->data_end - ctx->data > 50)
    bpf_loop(20, add_twice, &sum, 0);
  else
    bpf_loop(20, add_index, &sum, 0);
  return sum.total;
}

static long add_entry(void *map, __u32 *key, __u64 *value, struct sum *sum) {
  sum->total += *key * 1000 + *value;
  sum->turns++;
  return sum->turns == sum->stop_at;
}

// The counter is no key: what a helper has had a pointer to is unknown to the kernel afterwards.
#define FILL(name)                                      \
  for (__u32 i = 0; i < 12; i++) {                      \
    __u32 key = i;                                      \
    __u64 value = 3 * i + 1;                            \
    bpf_map_update_elem(&name, &key, &value, BPF_ANY);  \
  }

#define WALK(name)                                               \
  SEC("xdp") int walk_##name(struct xdp_md *ctx) {               \
    struct sum sum = {};                                         \
    FILL(name)                                                   \
    long turns = bpf_for_each_map_elem(&name, add_entry, &sum, 0); \
    return sum.total * 100 + turns;                              \
  }

WALK(hash)
WALK(lru)
WALK(percpu)
WALK(array)
WALK(percpu_array)

SEC("xdp")
int walk_stopped(struct xdp_md *ctx) {
  struct sum sum = {.stop_at = 5};
  FILL(hash)
  return bpf_for_each_map_elem(&hash, add_entry, &sum, 0);
}

SEC("xdp")
int walk_with_flags(struct xdp_md *ctx) {
  struct sum sum = {};
  return bpf_for_each_map_elem(&hash, add_entry, &sum, 1);
}

static long delete_odd(void *map, __u32 *key, __u64 *value, struct sum *sum) {
  if (*key & 1) {
    __u32 odd = *key;
    bpf_map_delete_elem(&hash, &odd);
  }
  return 0;
}

SEC("xdp")
int walk_deleting(struct xdp_md *ctx) {
  struct sum sum = {};
  FILL(hash)
  long first = bpf_for_each_map_elem(&hash, delete_odd, &sum, 0);
  long second = bpf_for_each_map_elem(&hash, add_entry, &sum, 0);
  return sum.total * 10000 + first * 100 + second;
}

static long write_value(void *map, __u32 *key, __u64 *value, struct sum *sum) {
  *value += 5;
  return 0;
}

SEC("xdp")
int walk_writing(struct xdp_md *ctx) {
  struct sum sum = {};
  FILL(lru)
  bpf_for_each_map_elem(&lru, write_value, &sum, 0);
  bpf_for_each_map_elem(&lru, add_entry, &sum, 0);
  return sum.total;
}

char _license[] SEC("license") = "GPL";
