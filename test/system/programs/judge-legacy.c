// The same programs on maps that are declared in three ways: for libbpf, by its struct of old
// (-DLEGACY) and by that of iproute2 (-DIPROUTE2), of which libbpf reads the first only.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#if defined(LEGACY)
// Longer than libbpf's own: samples/bpf had two more members.
struct bpf_map_def {
  unsigned type, key_size, value_size, max_entries, map_flags, inner_map_idx, numa_node;
};
#define MAP(NAME, TYPE, KEY, VALUE, ENTRIES, FLAGS, ID) \
  struct bpf_map_def SEC("maps") NAME = { \
      .type = TYPE, .key_size = KEY, .value_size = VALUE, .max_entries = ENTRIES, .map_flags = FLAGS}
#elif defined(IPROUTE2)
struct bpf_elf_map {
  __u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
};
#define MAP(NAME, TYPE, KEY, VALUE, ENTRIES, FLAGS, ID) \
  struct bpf_elf_map SEC("maps") NAME = { \
      .type = TYPE, .size_key = KEY, .size_value = VALUE, .max_elem = ENTRIES, .flags = FLAGS, .id = ID}
#else
#define MAP(NAME, TYPE, KEY, VALUE, ENTRIES, FLAGS, ID) \
  struct { \
    __uint(type, TYPE); \
    __uint(key_size, KEY); \
    __uint(value_size, VALUE); \
    __uint(max_entries, ENTRIES); \
    __uint(map_flags, FLAGS); \
  } NAME SEC(".maps")
#endif

MAP(lengths, BPF_MAP_TYPE_HASH, 4, 16, 10, BPF_F_NO_PREALLOC, 1);
MAP(totals, BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0, 2);
MAP(networks, BPF_MAP_TYPE_LPM_TRIE, 8, 4, 16, BPF_F_NO_PREALLOC, 3);
MAP(recent, BPF_MAP_TYPE_LRU_HASH, 2, 2, 4096, 0, 4);
MAP(jumps, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0, 5);

struct sums { __u64 packets, bytes; };

SEC("classifier") int on_lengths(struct __sk_buff *skb) {
  __u32 key = skb->len;
  struct sums fresh = {1, skb->len}, *sums = bpf_map_lookup_elem(&lengths, &key);
  if (!sums) return -bpf_map_update_elem(&lengths, &key, &fresh, BPF_NOEXIST);
  sums->packets++;
  sums->bytes += skb->len;
  return 0;
}

SEC("classifier") int on_totals(struct __sk_buff *skb) {
  __u32 key = skb->len % 5;
  __u64 *total = bpf_map_lookup_elem(&totals, &key);
  if (total) *total += skb->len;
  return total ? 0 : 2;
}

SEC("classifier") int on_networks(struct __sk_buff *skb) {
  struct { __u32 length, address; } key = {16, 0};
  __u32 value = skb->len;
  if (bpf_skb_load_bytes(skb, 26, &key.address, 4)) return 2;
  bpf_map_update_elem(&networks, &key, &value, BPF_ANY);
  key.length = 32;
  __u32 *found = bpf_map_lookup_elem(&networks, &key);
  return found ? *found : -1;
}

SEC("classifier") int on_recent(struct __sk_buff *skb) {
  __u16 key = skb->protocol, value = skb->len;
  long removed = bpf_map_delete_elem(&recent, &key);
  return -removed << 8 | -bpf_map_update_elem(&recent, &key, &value, BPF_ANY);
}

SEC("classifier") int target(struct __sk_buff *skb) { return skb->len + 1; }

SEC("classifier") int jump(struct __sk_buff *skb) {
  bpf_tail_call(skb, &jumps, skb->len % 4);
  return 3;
}

char _license[] SEC("license") = "GPL";
