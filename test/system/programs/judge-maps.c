// One program for each map type: what it does to the map depends on the packet alone.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define MAP(name, kind, entries, key_type, value_type) \
  struct { \
    __uint(type, kind); \
    __uint(max_entries, entries); \
    __type(key, key_type); \
    __type(value, value_type); \
  } name SEC(".maps")

struct five { __u8 bytes[5]; };
struct counted { __u64 packets; __u32 last; __u32 flags; };
struct prefix { __u32 length; __u32 address; };
struct locked { struct bpf_spin_lock lock; __u32 count; };

MAP(array_map, BPF_MAP_TYPE_ARRAY, 16, __u32, struct counted);
MAP(cpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 16, __u32, __u64);
MAP(hash_map, BPF_MAP_TYPE_HASH, 12, __u32, struct counted);
MAP(odd_hash, BPF_MAP_TYPE_HASH, 64, struct five, struct five);
MAP(cpu_hash, BPF_MAP_TYPE_PERCPU_HASH, 64, __u16, __u64);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, 4096, __u64, __u64);
MAP(cpu_lru, BPF_MAP_TYPE_LRU_PERCPU_HASH, 4096, __u32, __u32);
MAP(locks, BPF_MAP_TYPE_HASH, 64, __u32, struct locked);

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 64);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct prefix);
  __type(value, __u32);
} trie SEC(".maps");

#define KEYLESS(name, kind, entries) \
  struct { \
    __uint(type, kind); \
    __uint(max_entries, entries); \
    __type(value, __u32); \
  } name SEC(".maps")
KEYLESS(queue, BPF_MAP_TYPE_QUEUE, 8);
KEYLESS(stack, BPF_MAP_TYPE_STACK, 8);
KEYLESS(bloom, BPF_MAP_TYPE_BLOOM_FILTER, 1024);

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} ring SEC(".maps");

#define DEVICES(name, kind) \
  struct { \
    __uint(type, kind); \
    __uint(max_entries, 8); \
    __uint(key_size, 4); \
    __uint(value_size, 4); \
  } name SEC(".maps")
DEVICES(devices, BPF_MAP_TYPE_DEVMAP);
DEVICES(device_hash, BPF_MAP_TYPE_DEVMAP_HASH);
DEVICES(sockets, BPF_MAP_TYPE_XSKMAP);
DEVICES(workers, BPF_MAP_TYPE_CPUMAP);

struct inner {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} inner_even SEC(".maps"), inner_odd SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 4);
  __uint(key_size, 4);
  __array(values, struct inner);
} array_of_maps SEC(".maps") = {.values = {[0] = &inner_even, [1] = &inner_odd}};

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, 4);
  __uint(key_size, 4);
  __array(values, struct inner);
} hash_of_maps SEC(".maps") = {.values = {[0] = &inner_odd, [3] = &inner_even}};

int counted_drop(struct xdp_md *ctx);
int counted_tx(struct xdp_md *ctx);
struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 4);
  __uint(key_size, 4);
  __array(values, int(void *));
} calls SEC(".maps") = {.values = {[0] = (void *)&counted_drop, [2] = (void *)&counted_tx}};

static __always_inline __u32 length_of(struct xdp_md *ctx) { return ctx->data_end - ctx->data; }

// The last of the first 34 bytes, or 0: differs from packet to packet.
static __always_inline __u32 byte_of(struct xdp_md *ctx) {
  __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
  return data + 34 > end ? 0 : data[33];
}

SEC("xdp") int on_array(struct xdp_md *ctx) {
  __u32 key = length_of(ctx) % 20;
  struct counted *value = bpf_map_lookup_elem(&array_map, &key);
  if (!value) return XDP_DROP;
  __sync_fetch_and_add(&value->packets, 1);
  value->last = length_of(ctx);
  return XDP_PASS;
}

SEC("xdp") int on_array_update(struct xdp_md *ctx) {
  __u32 key = length_of(ctx) % 20;
  struct counted value = {.packets = 7, .last = key, .flags = 1};
  return (-bpf_map_update_elem(&array_map, &key, &value, length_of(ctx) % 3) & 0xff) << 8;
}

SEC("xdp") int on_cpu_array(struct xdp_md *ctx) {
  __u32 key = byte_of(ctx) % 16;
  __u64 *value = bpf_map_lookup_elem(&cpu_array, &key);
  if (value) *value += length_of(ctx);
  return XDP_PASS;
}

SEC("xdp") int on_hash(struct xdp_md *ctx) {
  __u32 key = length_of(ctx);
  struct counted fresh = {.packets = 1, .last = key}, *value = bpf_map_lookup_elem(&hash_map, &key);
  if (!value) return -bpf_map_update_elem(&hash_map, &key, &fresh, BPF_NOEXIST);
  value->packets++;
  return 100;
}

SEC("xdp") int on_hash_delete(struct xdp_md *ctx) {
  __u32 key = length_of(ctx);
  return key % 2 ? -bpf_map_delete_elem(&hash_map, &key) : 0;
}

SEC("xdp") int on_odd_hash(struct xdp_md *ctx) {
  struct five key = {{byte_of(ctx) % 4, 1, 2, 3, 4}}, value = {{length_of(ctx)}};
  long result = bpf_map_update_elem(&odd_hash, &key, &value, length_of(ctx) % 3);
  return -result;
}

SEC("xdp") int on_cpu_hash(struct xdp_md *ctx) {
  __u16 key = length_of(ctx) % 32;
  __u64 one = 1, *value = bpf_map_lookup_elem(&cpu_hash, &key);
  if (value) *value += 1;
  else bpf_map_update_elem(&cpu_hash, &key, &one, BPF_ANY);
  return XDP_PASS;
}

SEC("xdp") int on_lru(struct xdp_md *ctx) {
  __u64 key = (__u64)byte_of(ctx) << 40 | length_of(ctx), one = 1;
  __u64 *value = bpf_map_lookup_elem(&lru, &key);
  if (value) return (*value)++;
  return bpf_map_update_elem(&lru, &key, &one, BPF_ANY);
}

SEC("xdp") int on_cpu_lru(struct xdp_md *ctx) {
  __u32 key = length_of(ctx), value = byte_of(ctx);
  return -bpf_map_update_elem(&cpu_lru, &key, &value, BPF_NOEXIST);
}

SEC("xdp") int on_trie(struct xdp_md *ctx) {
  struct prefix key = {.length = 8 + byte_of(ctx) % 25, .address = 0x0100a8c0 + byte_of(ctx)};
  __u32 value = byte_of(ctx);
  bpf_map_update_elem(&trie, &key, &value, BPF_ANY);
  key.length = 32;
  __u32 *found = bpf_map_lookup_elem(&trie, &key);
  return found ? *found : 1000;
}

SEC("xdp") int on_queue(struct xdp_md *ctx) {
  __u32 value = length_of(ctx);
  long pushed = bpf_map_push_elem(&queue, &value, byte_of(ctx) % 2 ? BPF_EXIST : BPF_ANY);
  long popped = byte_of(ctx) % 3 == 0 ? bpf_map_pop_elem(&queue, &value) : 0;
  return (-pushed & 0xff) << 24 | (-popped & 0xff) << 16 | (value & 0xffff);
}

SEC("xdp") int on_stack(struct xdp_md *ctx) {
  __u32 value = length_of(ctx);
  long pushed = bpf_map_push_elem(&stack, &value, BPF_ANY);
  if (byte_of(ctx) % 2) bpf_map_pop_elem(&stack, &value);
  long peeked = bpf_map_peek_elem(&stack, &value);
  return (-pushed & 0xff) << 24 | (-peeked & 0xff) << 16 | (value & 0xffff);
}

SEC("xdp") int on_bloom(struct xdp_md *ctx) {
  __u32 value = length_of(ctx);
  bpf_map_push_elem(&bloom, &value, BPF_ANY);
  return -bpf_map_peek_elem(&bloom, &value);
}

SEC("xdp") int on_ring_output(struct xdp_md *ctx) {
  __u32 value[2] = {length_of(ctx), byte_of(ctx)};
  return -bpf_ringbuf_output(&ring, value, sizeof value, 0);
}

SEC("xdp") int on_ring_reserve(struct xdp_md *ctx) {
  __u64 *value = bpf_ringbuf_reserve(&ring, 16, 0);
  if (!value) return XDP_DROP;
  value[0] = length_of(ctx);
  value[1] = byte_of(ctx);
  if (byte_of(ctx) % 2) bpf_ringbuf_discard(value, 0);
  else bpf_ringbuf_submit(value, 0);
  return XDP_PASS;
}

SEC("xdp") int on_ring_query(struct xdp_md *ctx) {
  (void)ctx;
  return bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE);
}

SEC("xdp") int on_devices(struct xdp_md *ctx) {
  return bpf_redirect_map(&devices, byte_of(ctx) % 10, XDP_PASS);
}

SEC("xdp") int on_device_hash(struct xdp_md *ctx) {
  return bpf_redirect_map(&device_hash, byte_of(ctx) % 3, XDP_TX);
}

SEC("xdp") int on_sockets(struct xdp_md *ctx) {
  return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp") int on_workers(struct xdp_md *ctx) {
  return bpf_redirect_map(&workers, byte_of(ctx) % 10, XDP_DROP);
}

SEC("xdp") int to_all_devices(struct xdp_md *ctx) {
  __u64 flags = byte_of(ctx) % 2 ? BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS : BPF_F_BROADCAST;
  return bpf_redirect_map(&devices, 0, flags);
}

SEC("xdp") int not_to_ingress(struct xdp_md *ctx) {
  return bpf_redirect_map(&device_hash, byte_of(ctx) % 3, BPF_F_EXCLUDE_INGRESS | XDP_PASS);
}

SEC("xdp") int on_array_of_maps(struct xdp_md *ctx) {
  __u32 key = byte_of(ctx) % 4, place = 1;
  void *map = bpf_map_lookup_elem(&array_of_maps, &key);
  __u64 *value = map ? bpf_map_lookup_elem(map, &place) : 0;
  return value ? (*value)++ : 999;
}

SEC("xdp") int on_hash_of_maps(struct xdp_md *ctx) {
  __u32 key = byte_of(ctx) % 4, place = 2;
  void *map = bpf_map_lookup_elem(&hash_of_maps, &key);
  __u64 *value = map ? bpf_map_lookup_elem(map, &place) : 0;
  return value ? (*value)++ : 999;
}

SEC("xdp") int counted_drop(struct xdp_md *ctx) {
  (void)ctx;
  return XDP_DROP;
}

SEC("xdp") int counted_tx(struct xdp_md *ctx) {
  return length_of(ctx);
}

SEC("xdp") int on_calls(struct xdp_md *ctx) {
  bpf_tail_call(ctx, &calls, byte_of(ctx) % 6);
  return 5000;
}

SEC("xdp") int on_locks(struct xdp_md *ctx) {
  __u32 key = byte_of(ctx) % 8;
  struct locked fresh = {.count = 1}, *value = bpf_map_lookup_elem(&locks, &key);
  if (!value) return -bpf_map_update_elem(&locks, &key, &fresh, BPF_NOEXIST);
  bpf_spin_lock(&value->lock);
  __u32 count = ++value->count;
  bpf_spin_unlock(&value->lock);
  return count;
}

char _license[] SEC("license") = "GPL";
