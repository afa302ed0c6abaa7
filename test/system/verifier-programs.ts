/** A program that kernel and verifier judge: what stands behind the preamble. */
export interface CProgram {
  readonly name: string;
  readonly accepted: boolean;
  readonly code: string;
  /** The kernel refuses it with this in its log, and why that is no danger here. */
  readonly onlyHere?: { readonly log: RegExp; readonly reason: string };
  /** The kernel accepts it, and why it is refused here. */
  readonly onlyKernel?: string;
}

const locked = `
  struct guarded { struct bpf_spin_lock lock; __u32 packets; };
  struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct guarded); } totals SEC(".maps");`;

const count = `
  __u32 key = 0;
  struct guarded *g = bpf_map_lookup_elem(&totals, &key);
  if (!g) return 0;
  bpf_spin_lock(&g->lock);
  g->packets++;
  bpf_spin_unlock(&g->lock);
  return 1;`;

const walk = (times: number): string => `
  struct place { void *data, *end; __u64 at; };
  static long step(__u32 i, void *c) {
    struct place *p = c;
    __u8 *byte = p->data + p->at;
    if ((void *)(byte + 2) > p->end) return 1;
    p->at += byte[1];
    return 0;
  }
  SEC("xdp") int p(struct xdp_md *ctx) {
    struct place p = { (void *)(long)ctx->data, (void *)(long)ctx->data_end, 14 };
    bpf_loop(${times}, step, &p, 0);
    return p.at & 1;
  }`;

const tagged =
  '__attribute__((noinline)) int get(struct sum *s __attribute__((btf_decl_tag("arg:nonnull")))) { return s->value; }';

/** In C, since callbacks, global functions and spin locks need BTF. */
export const cPrograms: readonly CProgram[] = [
  {
    name: "a callback that counts in its context",
    accepted: true,
    code: `static long add(__u32 i, void *c) { struct sum *s = c; s->value += i; return 0; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; bpf_loop(100, add, &s, 0); return s.value & 1; }`,
  },
  {
    name: "a callback that returns 2",
    accepted: false,
    code: `static long add(__u32 i, void *c) { return 2; }
      SEC("xdp") int p(struct xdp_md *ctx) { bpf_loop(100, add, 0, 0); return 0; }`,
  },
  {
    name: "a callback whose index bounds nothing",
    accepted: false,
    code: `static long add(__u32 i, void *c) { struct sum *s = c; s->bytes[i] = 1; return 0; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; bpf_loop(8, add, &s, 0); return s.value & 1; }`,
  },
  {
    name: "a callback that bounds its index",
    accepted: true,
    code: `static long add(__u32 i, void *c) { struct sum *s = c; if (i >= 8) return 1; s->bytes[i] = 1; return 0; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; bpf_loop(8, add, &s, 0); return s.value & 1; }`,
  },
  {
    name: "an index that a callback raises and the program uses",
    accepted: false,
    code: `static long add(__u32 i, void *c) { struct sum *s = c; s->value += 1; return 0; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; bpf_loop(100, add, &s, 0); return s.bytes[s.value]; }`,
  },
  {
    name: "an index that a callback raises only so far",
    accepted: true,
    code: `static long add(__u32 i, void *c) { struct sum *s = c; s->value += 1; return 0; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; bpf_loop(4, add, &s, 0); return s.bytes[s.value]; }`,
  },
  {
    name: "a walk over a map",
    accepted: true,
    code: `static long each(struct bpf_map *m, __u32 *key, struct sum *v, void *c) { v->value += *key; return 0; }
      SEC("xdp") int p(struct xdp_md *ctx) { bpf_for_each_map_elem(&sums, each, 0, 0); return 0; }`,
  },
  {
    name: "a walk over a map that reads beyond a value",
    accepted: false,
    code: `static long each(struct bpf_map *m, __u32 *key, struct sum *v, void *c) { return v[1].value & 1; }
      SEC("xdp") int p(struct xdp_md *ctx) { bpf_for_each_map_elem(&sums, each, 0, 0); return 0; }`,
  },
  {
    name: "a global function with a pointer it looks at",
    accepted: true,
    code: `__attribute__((noinline)) int get(struct sum *s) { if (!s) return 0; return s->value; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; return get(&s); }`,
  },
  {
    name: "a global function that trusts its pointer",
    accepted: false,
    code: `__attribute__((noinline)) int get(struct sum *s) { return s->value; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; return get(&s); }`,
  },
  {
    name: "a global function that trusts its pointer, which is tagged __arg_nonnull",
    accepted: true,
    code: `${tagged} SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; return get(&s); }`,
  },
  {
    name: "a map value that may not be there, passed to a parameter tagged __arg_nonnull",
    accepted: false,
    code: `${tagged} SEC("xdp") int p(struct xdp_md *ctx) { __u32 key = 0; return get(bpf_map_lookup_elem(&sums, &key)); }`,
  },
  {
    name: "a constant null, passed to a parameter tagged __arg_nonnull",
    accepted: false,
    onlyKernel: "the function would read at address 0",
    code: `${tagged} SEC("xdp") int p(struct xdp_md *ctx) { return get(0); }`,
  },
  {
    name: "a context that is passed as a pointer to void, tagged __arg_ctx",
    accepted: true,
    code: `__attribute__((noinline)) int queue(void *ctx __attribute__((btf_decl_tag("arg:ctx")))) { return ((struct xdp_md *)ctx)->rx_queue_index; }
      SEC("xdp") int p(struct xdp_md *ctx) { return queue(ctx); }`,
  },
  {
    name: "a context that is passed as a pointer to void without a tag",
    accepted: false,
    code: `__attribute__((noinline)) int queue(void *ctx) { return ((struct xdp_md *)ctx)->rx_queue_index; }
      SEC("xdp") int p(struct xdp_md *ctx) { return queue(ctx); }`,
  },
  {
    name: "a number that is tagged as a pointer",
    accepted: false,
    code: `__attribute__((noinline)) int get(int n __attribute__((btf_decl_tag("arg:nonnull")))) { barrier(); return n; }
      SEC("xdp") int p(struct xdp_md *ctx) { return get(1); }`,
  },
  {
    name: "a global function that relies on what its caller passes",
    accepted: false,
    code: `__attribute__((noinline)) int get(struct sum *s, int i) { if (!s) return 0; return s->bytes[i]; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; return get(&s, 3); }`,
  },
  {
    name: "a result of a global function that bounds nothing",
    accepted: false,
    code: `__attribute__((noinline)) int three(void) { int r = 3; asm volatile("" : "+r"(r)); return r; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; barrier(); return s.bytes[three()]; }`,
  },
  {
    name: "a global function that moves the packet",
    accepted: false,
    code: `__attribute__((noinline)) int grow(struct xdp_md *ctx) { return bpf_xdp_adjust_head(ctx, -4); }
      SEC("xdp") int p(struct xdp_md *ctx) {
        char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
        if (data + 1 > end) return 0;
        grow(ctx);
        return data[0];
      }`,
  },
  {
    name: "a function known by its caller alone",
    accepted: true,
    code: `static __attribute__((noinline)) int get(struct sum *s, int i) { return s->bytes[i]; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; barrier(); return get(&s, 3); }`,
  },
  {
    name: "read-only data that switches a forbidden helper off",
    accepted: true,
    code: `const volatile int on = 0;
      SEC("xdp") int p(struct xdp_md *ctx) { if (on) bpf_skb_load_bytes(ctx, 0, (void *)ctx, 4); return 0; }`,
  },
  {
    name: "a socket that is compared with 0 and read",
    accepted: true,
    code: `SEC("tc") int p(struct __sk_buff *ctx) { struct bpf_sock *sk = ctx->sk; return sk ? sk->family + sk->src_port : 0; }`,
  },
  {
    name: "a socket that is read as it comes",
    accepted: false,
    code: `SEC("tc") int p(struct __sk_buff *ctx) { struct bpf_sock *sk = ctx->sk; return sk->family; }`,
  },
  {
    name: "a full socket and its TCP state",
    accepted: true,
    code: `SEC("cgroup_skb/egress") int p(struct __sk_buff *ctx) {
        struct bpf_sock *sk = ctx->sk;
        if (!sk || !(sk = bpf_sk_fullsock(sk))) return 1;
        struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
        return tcp && tcp->snd_cwnd < 10 ? 3 : sk->mark == 7;
      }`,
  },
  {
    name: "a verdict about congestion on the way out",
    accepted: true,
    code: `SEC("cgroup_skb/egress") int p(struct __sk_buff *ctx) { return ctx->len > 1000 ? 3 : 2; }`,
  },
  {
    name: "a verdict about congestion on the way in",
    accepted: false,
    code: `SEC("cgroup_skb/ingress") int p(struct __sk_buff *ctx) { return ctx->len > 1000 ? 3 : 1; }`,
  },
  {
    name: "a spin lock in a tc program",
    accepted: true,
    code: `${locked} SEC("tc") int p(struct __sk_buff *ctx) { ${count} }`,
  },
  {
    name: "a spin lock in a socket filter",
    accepted: false,
    code: `${locked} SEC("socket") int p(struct __sk_buff *ctx) { ${count} }`,
  },
  {
    name: "a global function that returns nothing",
    accepted: false,
    code: `__attribute__((noinline)) void nothing(struct sum *s) { if (s) s->value = 1; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; nothing(&s); return s.value & 1; }`,
  },
  {
    name: "a global function that would be refused, and is never called",
    accepted: true,
    code: `const volatile int on = 0;
      __attribute__((noinline)) int get(struct sum *s) { return s->value; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; return on ? get(&s) : 0; }`,
  },
  {
    name: "a number read into an unaligned place",
    accepted: false,
    code: `SEC("xdp") int p(struct xdp_md *ctx) { char b[24] = {}; return bpf_strtol(b, 8, 0, (long *)(b + 12)); }`,
  },
  {
    name: "a format with too few arguments",
    accepted: false,
    code: `SEC("xdp") int p(struct xdp_md *ctx) { char b[24]; __u64 v[1] = {1}; return bpf_snprintf(b, 24, "%d %d", v, 8); }`,
  },
  {
    name: "a format with arguments to spare",
    accepted: true,
    code: `SEC("xdp") int p(struct xdp_md *ctx) { char b[24]; __u64 v[2] = {1, 2}; return bpf_snprintf(b, 24, "%d", v, 16); }`,
  },
  {
    name: "a format whose size of arguments is not known",
    accepted: false,
    code: `SEC("xdp") int p(struct xdp_md *ctx) { char b[24]; __u64 v[2] = {1, 2}; return bpf_snprintf(b, 24, "%d", v, ctx->rx_queue_index & 8); }`,
  },
  {
    name: "callbacks within callbacks that count only so far",
    accepted: true,
    code: `static long inner(__u32 i, void *c) { struct sum *s = c; if (s->value >= 8) return 1; s->bytes[s->value] = i; s->value++; return 0; }
      static long outer(__u32 i, void *c) { bpf_loop(8, inner, c, 0); return 0; }
      SEC("xdp") int p(struct xdp_md *ctx) { struct sum s = {}; bpf_loop(8, outer, &s, 0); return s.bytes[3]; }`,
  },
  {
    name: "a callback that walks the packet by an offset it keeps, 64 times",
    accepted: true,
    code: walk(64),
  },
  {
    name: "a callback that walks the packet by an offset it keeps, until that may be anywhere",
    accepted: false,
    code: walk(300),
  },
  {
    name: "callbacks within callbacks that count on and on",
    accepted: true,
    onlyHere: {
      log: /The sequence of 8193 jumps is too complex/,
      reason: "numbers that change in each round are taken as any number here, and the search ends",
    },
    code: `static long inner(__u32 i, __u64 *c) {
        struct sum *s = bpf_map_lookup_elem(&sums, &i);
        if (s) s->value += *c;
        (*c)++;
        return 0;
      }
      static long outer(void *m, __u32 *k, struct sum *v, __u64 *c) { bpf_loop(8, inner, c, 0); v->value = *c; return *c > 1000; }
      SEC("xdp") int p(struct xdp_md *ctx) { __u64 c = 0; bpf_for_each_map_elem(&sums, outer, &c, 0); return c & 1; }`,
  },
];

/** What stands before each. */
export const preamble = `
  #include <linux/bpf.h>
  #include <bpf/bpf_helpers.h>
  #define barrier() asm volatile("" ::: "memory")
  struct sum { __u64 value; __u8 bytes[8]; };
  struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, struct sum); } sums SEC(".maps");
  char _license[] SEC("license") = "GPL";
`;
