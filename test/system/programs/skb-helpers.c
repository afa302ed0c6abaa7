// One program a helper of the skb types (and some of XDP): `io` says with which arguments to call it,
// and takes what it returned and how the program's context looks afterwards.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct io {
  __s64 arg[5];
  __s64 result;
  char text[64];
  __u32 context[24];
  __u64 tstamp;
};

struct io io;

// Every field that a tc program may read, but for those that only a kernel knows.
static __always_inline int see(struct __sk_buff *skb, __s64 result) {
  io.result = result;
  io.context[0] = skb->len;
  io.context[1] = skb->pkt_type;
  io.context[2] = skb->mark;
  io.context[3] = skb->queue_mapping;
  io.context[4] = skb->protocol;
  io.context[5] = skb->vlan_present;
  io.context[6] = skb->vlan_tci;
  io.context[7] = skb->vlan_proto;
  io.context[8] = skb->priority;
  io.context[9] = skb->ingress_ifindex;
  io.context[10] = skb->ifindex;
  io.context[11] = skb->tc_index;
  for (int i = 0; i < 5; i++) io.context[12 + i] = skb->cb[i];
  io.context[17] = skb->tc_classid;
  io.context[18] = skb->napi_id;
  io.context[19] = skb->gso_segs;
  io.context[20] = skb->gso_size;
  io.context[21] = (__u32)((long)skb->data_end - (long)skb->data);
  io.context[22] = (__u32)((long)skb->data - (long)skb->data_meta);
  io.tstamp = skb->tstamp;
  return (int)result;
}

#define program(NAME, CALL)                             \
  SEC("tc") int NAME(struct __sk_buff *skb) {           \
    const volatile __s64 *a = io.arg; (void)a;                           \
    return see(skb, CALL);                              \
  }

program(tc_nothing, a[0])
program(tc_l3_csum_replace, bpf_l3_csum_replace(skb, a[0], a[1], a[2], a[3]))
program(tc_l4_csum_replace, bpf_l4_csum_replace(skb, a[0], a[1], a[2], a[3]))
program(tc_change_tail, bpf_skb_change_tail(skb, a[0], a[1]))
program(tc_change_head, bpf_skb_change_head(skb, a[0], a[1]))
program(tc_change_proto, bpf_skb_change_proto(skb, a[0], a[1]))
program(tc_change_type, bpf_skb_change_type(skb, a[0]))
program(tc_adjust_room, bpf_skb_adjust_room(skb, a[0], a[1], a[2]))
program(tc_pull_data, bpf_skb_pull_data(skb, a[0]))
program(tc_csum_update, bpf_csum_update(skb, a[0]))
program(tc_store_bytes, bpf_skb_store_bytes(skb, a[0], io.text, 8, a[1]))
program(tc_load_bytes, bpf_skb_load_bytes(skb, a[0], io.text, 16))
program(tc_load_relative, bpf_skb_load_bytes_relative(skb, a[0], io.text, 16, a[1]))
program(tc_vlan_push, bpf_skb_vlan_push(skb, a[0], a[1]))
program(tc_vlan_pop, bpf_skb_vlan_pop(skb))
program(tc_redirect, bpf_redirect(a[0], a[1]))
program(tc_redirect_peer, bpf_redirect_peer(a[0], a[1]))
program(tc_ecn, bpf_skb_ecn_set_ce(skb))
program(tc_set_tstamp, bpf_skb_set_tstamp(skb, a[0], a[1]))
program(tc_csum_diff, bpf_csum_diff((__be32 *)io.text, 16, (__be32 *)(io.text + 32), 24, a[0]))
program(tc_route_realm, bpf_get_route_realm(skb))
program(tc_check_mtu, bpf_check_mtu(skb, a[0], (__u32 *)io.text, a[1], a[2]))
program(tc_strncmp, bpf_strncmp(io.text, 16, "needle"))

// What `text` holds is the key; then what is there to be read, by the size and flags of arg[2] and arg[3].
static __always_inline long tunnel_key(struct __sk_buff *skb, __s64 size, __s64 flags, int set) {
#define OF_SIZE(n) \
  case n: return set ? bpf_skb_set_tunnel_key(skb, (void *)io.text, n, flags) \
                     : bpf_skb_get_tunnel_key(skb, (void *)io.text, n, flags);
  switch (size) {
    OF_SIZE(44) OF_SIZE(28) OF_SIZE(24) OF_SIZE(22) OF_SIZE(8) OF_SIZE(20) OF_SIZE(48)
  }
  return 0;
}

SEC("tc") int tc_tunnel_key(struct __sk_buff *skb) {
  long first = bpf_skb_get_tunnel_key(skb, (void *)(io.text + 44), 20, 0);
  long set = tunnel_key(skb, io.arg[0], io.arg[1], 1);
  long get = tunnel_key(skb, io.arg[2], io.arg[3], 0);
  return see(skb, (-first & 0xff) << 16 | (-set & 0xff) << 8 | (-get & 0xff));
}

SEC("tc") int tc_tunnel_options(struct __sk_buff *skb) {
  long early = bpf_skb_set_tunnel_opt(skb, io.text, 8);
  long none = bpf_skb_get_tunnel_opt(skb, io.text + 56, 4);
  struct bpf_tunnel_key key = {.tunnel_id = 77, .remote_ipv4 = 0x7f000001};
  if (io.arg[0]) bpf_skb_set_tunnel_key(skb, &key, sizeof key, 0);
  long set = io.arg[1] == 0   ? bpf_skb_set_tunnel_opt(skb, io.text, 8)
             : io.arg[1] == 1 ? bpf_skb_set_tunnel_opt(skb, io.text, 6)
                              : bpf_skb_set_tunnel_opt(skb, io.text, 32);
  long get = io.arg[2] == 0   ? bpf_skb_get_tunnel_opt(skb, io.text + 12, 8)
             : io.arg[2] == 1 ? bpf_skb_get_tunnel_opt(skb, io.text + 12, 4)
                              : bpf_skb_get_tunnel_opt(skb, io.text + 12, 44);
  bpf_skb_get_tunnel_key(skb, &key, sizeof key, 16);
  io.arg[4] = key.tunnel_flags;
  if (io.arg[3]) bpf_skb_set_tunnel_key(skb, &key, 8, 0);
  long after = bpf_skb_get_tunnel_opt(skb, io.text + 60, 4);
  return see(skb, (early & 0xff) << 24 | (none & 0xff) << 16 | (set & 0xff) << 8 | (get & 0xff)) ^ after;
}

SEC("tc") int tc_redirect_neigh(struct __sk_buff *skb) {
  struct bpf_redir_neigh to = {.nh_family = 2};
  if (io.arg[1]) return see(skb, bpf_redirect_neigh(io.arg[0], &to, sizeof to, io.arg[2]));
  return see(skb, bpf_redirect_neigh(io.arg[0], 0, 0, io.arg[2]));
}

SEC("tc") int tc_csum_level(struct __sk_buff *skb) {
  __s64 all = 0;
  for (int i = 0; i < 5; i++) all = all * 257 + bpf_csum_level(skb, io.arg[i]);
  return see(skb, all);
}

SEC("tc") int tc_hash(struct __sk_buff *skb) {
  __u32 computed = bpf_get_hash_recalc(skb);
  bpf_set_hash(skb, io.arg[0]);
  __u64 set = bpf_get_hash_recalc(skb);
  __u64 seen = skb->hash;
  bpf_set_hash_invalid(skb);
  __u64 cleared = skb->hash;
  return see(skb, set << 32 | (seen == set) << 2 | (cleared == 0) << 1 | (computed != 0));
}

SEC("tc") int tc_write_context(struct __sk_buff *skb) {
  skb->mark = io.arg[0];
  skb->priority = io.arg[1];
  skb->queue_mapping = io.arg[2] & 0x7fff;
  skb->tc_index = io.arg[3] & 0xffff;
  skb->tc_classid = io.arg[4] & 0xffff;
  skb->tstamp = io.arg[0] * 3;
  for (int i = 0; i < 5; i++) skb->cb[i] = io.arg[i] ^ 0x55;
  return see(skb, 0);
}

// Direct writes, from the start of the packet as tc has it.
SEC("tc") int tc_write_packet(struct __sk_buff *skb) {
  unsigned char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  if (data + 20 > end) return see(skb, -1);
  for (int i = 0; i < 20; i++) data[i] ^= 0x80;
  return see(skb, data[12]);
}

// Tags below tags, and back: what is beside the packet and what is in it.
SEC("tc") int tc_vlan_stack(struct __sk_buff *skb) {
  __s64 all = bpf_skb_vlan_push(skb, io.arg[0], io.arg[1]);
  all = all * 257 + bpf_skb_vlan_push(skb, io.arg[2], io.arg[3]);
  all = all * 257 + bpf_skb_change_tail(skb, skb->len + 3, 0);
  if (io.arg[4] & 1) all = all * 257 + bpf_skb_vlan_pop(skb);
  if (io.arg[4] & 2) all = all * 257 + bpf_skb_vlan_pop(skb);
  return see(skb, all);
}

// Encapsulates, then finds what lies where.
SEC("tc") int tc_room_twice(struct __sk_buff *skb) {
  __s64 all = bpf_skb_adjust_room(skb, io.arg[0], io.arg[1], io.arg[2]);
  all = all * 257 + bpf_skb_adjust_room(skb, io.arg[3], io.arg[1], io.arg[4]);
  all = all * 257 + bpf_skb_load_bytes_relative(skb, 0, io.text, 16, 1);
  all = all * 257 + bpf_skb_load_bytes_relative(skb, 0, io.text + 16, 14, 0);
  return see(skb, all);
}

// What an encapsulated packet lets do with it, after the room behind its link header has changed again.
SEC("tc") int tc_encapsulated(struct __sk_buff *skb) {
  __s64 all = bpf_skb_adjust_room(skb, io.arg[0], 1, io.arg[1]);
  all = all * 257 + bpf_skb_adjust_room(skb, io.arg[2], 1, 0);
  if (io.arg[3] == 0) all = all * 257 + bpf_skb_change_tail(skb, io.arg[4], 0);
  if (io.arg[3] == 1) all = all * 257 + bpf_skb_change_head(skb, io.arg[4], 0);
  if (io.arg[3] == 2) all = all * 257 + bpf_skb_change_proto(skb, io.arg[4], 0);
  if (io.arg[3] == 3) all = all * 257 + bpf_skb_vlan_push(skb, io.arg[4], 5);
  if (io.arg[3] == 4) all = all * 257 + bpf_skb_change_type(skb, io.arg[4]);
  if (io.arg[3] == 5) all = all * 257 + bpf_l3_csum_replace(skb, io.arg[4], 1, 2, 2);
  if (io.arg[3] == 6) all = all * 257 + bpf_l4_csum_replace(skb, io.arg[4], 1, 2, 0x12);
  if (io.arg[3] == 7) all = all * 257 + bpf_csum_level(skb, io.arg[4]);
  all = all * 257 + bpf_skb_vlan_pop(skb);
  all = all * 257 + bpf_skb_change_tail(skb, 58, 0);
  all = all * 257 + bpf_skb_pull_data(skb, 0);
  return see(skb, all);
}

SEC("tc") int tc_head_then_tail(struct __sk_buff *skb) {
  __s64 all = bpf_skb_change_head(skb, io.arg[0], 0);
  all = all * 257 + bpf_skb_change_tail(skb, io.arg[1], 0);
  all = all * 257 + bpf_skb_load_bytes_relative(skb, 0, io.text, 16, 1);
  return see(skb, all);
}

SEC("tc") int tc_strtol(struct __sk_buff *skb) {
  long to = 7;
  __s64 got = bpf_strtol(io.text, 32, io.arg[0], &to);
  io.arg[1] = to;
  return see(skb, got);
}

SEC("tc") int tc_strtoul(struct __sk_buff *skb) {
  unsigned long to = 7;
  __s64 got = bpf_strtoul(io.text, 32, io.arg[0], &to);
  io.arg[1] = to;
  return see(skb, got);
}

SEC("tc") int tc_snprintf(struct __sk_buff *skb) {
  static const char format[] = "%d %5u|%-6x|%08llx %s %c%%";
  __u64 values[] = {io.arg[0], io.arg[1], io.arg[2], io.arg[3], (long)"text\n", 'z'};
  __u64 room = io.arg[4] & 63;
  return see(skb, bpf_snprintf(io.text, room, format, values, sizeof values));
}

SEC("tc") int tc_vprintk(struct __sk_buff *skb) {
  static const char format[] = "%d %d %d %d %d";
  __u64 values[] = {io.arg[0], io.arg[1], io.arg[2], io.arg[3], io.arg[4]};
  return see(skb, bpf_trace_vprintk(format, sizeof format, values, sizeof values));
}

SEC("tc") int tc_clone(struct __sk_buff *skb) {
  __s64 all = bpf_clone_redirect(skb, io.arg[0], io.arg[1]);
  return see(skb, all);
}

SEC("xdp") int xdp_bytes(struct xdp_md *xdp) {
  __s64 length = bpf_xdp_get_buff_len(xdp);
  __s64 loaded = bpf_xdp_load_bytes(xdp, io.arg[0], io.text, 16);
  __s64 stored = bpf_xdp_store_bytes(xdp, io.arg[1], io.text, 16);
  io.result = length << 32 | (loaded & 0xffff) << 16 | (stored & 0xffff);
  return 2;
}

SEC("xdp") int xdp_check_mtu(struct xdp_md *xdp) {
  io.result = bpf_check_mtu(xdp, io.arg[0], (__u32 *)io.text, io.arg[1], io.arg[2]);
  return 2;
}

SEC("cgroup_skb/ingress") int cgroup_context(struct __sk_buff *skb) {
  unsigned char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  io.result = bpf_skb_load_bytes(skb, io.arg[0], io.text, 16);
  io.arg[1] = bpf_skb_load_bytes_relative(skb, io.arg[0], io.text + 16, 16, 1);
  io.arg[2] = bpf_skb_load_bytes_relative(skb, io.arg[0], io.text + 32, 16, 0);
  io.arg[3] = bpf_skb_ecn_set_ce(skb);
  io.context[0] = skb->len;
  io.context[1] = skb->pkt_type;
  io.context[2] = skb->protocol;
  io.context[3] = (__u32)(end - data);
  io.context[4] = data + 4 <= end ? *(__u32 *)data : 0;
  io.context[5] = skb->family;
  io.context[6] = skb->remote_ip4;
  io.context[7] = skb->local_ip4;
  for (int i = 0; i < 4; i++) io.context[8 + i] = skb->remote_ip6[i];
  for (int i = 0; i < 4; i++) io.context[12 + i] = skb->local_ip6[i];
  skb->mark = 5;
  skb->priority = 6;
  skb->cb[2] = 7;
  io.context[16] = skb->mark + skb->priority + skb->cb[2];
  return io.arg[0] & 1;
}
