/** A program that kernel and verifier judge: what stands behind the preamble. */
export interface CProgram {
  readonly name: string;
  readonly accepted: boolean;
  readonly code: string;
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

/** Callbacks that count in a number on the stack, which is then the place in a value of 56 bytes. */
const counting = (body: string): string => `
  struct place { __u8 bytes[56]; };
  struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct place); } places SEC(".maps");
  struct count { __u64 pad, n; };
  static __attribute__((noinline)) int one(__u32 i, struct count *c) { c->n++; return 0; }
  static __attribute__((noinline)) int some(__u32 i, struct count *c) { if (bpf_get_prandom_u32() & 1) c->n++; return 0; }
  static __attribute__((noinline)) int stop(__u32 i, struct count *c) { c->n++; return bpf_get_prandom_u32() & 1; }
  static __attribute__((noinline)) int fifty(__u32 i, struct count *c) { bpf_loop(50, one, c, 0); return 0; }
  static __attribute__((noinline)) void thirty(struct count *c) { bpf_loop(30, one, c, 0); }
  SEC("xdp") int p(struct xdp_md *ctx) {
    struct count c = {};
    __u32 key = 0;
    struct place *place = bpf_map_lookup_elem(&places, &key);
    if (!place) return 1;
    ${body}
    return place->bytes[c.n];
  }`;

const times = (calls: number, rounds: number, callback = "one"): string =>
  `bpf_loop(${rounds}, ${callback}, &c, 0); `.repeat(calls);

/** What callbacks count in more than one loop: each place that the count names is out of reach, or within. */
const countedTwice: readonly CProgram[] = [
  { name: "one loop after another", within: times(1, 25) + times(1, 30), beyond: times(2, 30) },
  {
    name: "a write behind many loops",
    within: times(2, 20),
    beyond: `${times(6, 55)}place->bytes[c.n] = 1;`,
  },
  {
    name: "a mask between two loops",
    within: `${times(1, 30)}c.n &= 15; ${times(1, 30)}`,
    beyond: `${times(1, 30)}c.n &= 63; ${times(1, 30)}`,
  },
  {
    name: "loops whose callback counts by chance",
    within: times(2, 20, "some"),
    beyond: times(2, 30, "some"),
  },
  {
    name: "loops whose callback ends by chance",
    within: times(2, 20, "stop"),
    beyond: times(2, 30, "stop"),
  },
  {
    name: "a callback's loop in a loop",
    within: `for (int i = 0; i < 3; i++) ${times(1, 5)}`,
    beyond: `for (int i = 0; i < 3; i++) ${times(1, 20)}`,
  },
  {
    name: "a loop in a function that is called twice",
    within: `thirty(&c); ${times(1, 20)}`,
    beyond: "thirty(&c); thirty(&c);",
  },
  {
    name: "a loop of many rounds in each of many",
    within: times(1, 1, "fifty"),
    beyond: times(1, 20_000, "fifty"),
  },
  {
    name: "a number of rounds that one path knows to be fewer",
    within: "__u32 n = ctx->rx_queue_index ? 20 : 55; barrier_var(n); bpf_loop(n, one, &c, 0);",
    beyond: "__u32 n = ctx->rx_queue_index ? 20 : 60; barrier_var(n); bpf_loop(n, one, &c, 0);",
  },
  {
    name: "a walk over a map's entries behind a loop",
    within: times(1, 50),
    beyond: `${times(1, 50)}bpf_for_each_map_elem(&places, one, &c, 0);`,
  },
].flatMap(({ name, within, beyond }) => [
  { name: `a place within reach, counted by ${name}`, accepted: true, code: counting(within) },
  { name: `a place out of reach, counted by ${name}`, accepted: false, code: counting(beyond) },
]);

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
  ...countedTwice,
  {
    name: "a loop of loops that count what nothing relies on",
    accepted: true,
    code: counting(`for (int i = 0; i < 12; i++) { barrier_var(i); ${times(1, 13)} } return 2;`),
  },
  {
    name: "a loop of loops that ends if it is let to",
    accepted: false,
    onlyKernel: "it sees no infinite loop around a callback's",
    code: counting(`while (ctx->rx_queue_index < 12) ${times(1, 13)} return 2;`),
  },
  {
    name: "a byte of the packet that two loops count up to",
    accepted: false,
    code: counting(`__u8 *d = (void *)(long)ctx->data, *e = (void *)(long)ctx->data_end;
      if (d + 56 > e) return 1;
      ${times(2, 30)} return d[c.n];`),
  },
  {
    name: "a byte of the stack that three loops count up to",
    accepted: false,
    code: counting(`struct { __u64 pad, n; __u8 bytes[56]; } big = {};
      barrier_var(key);
      ${times(3, 30).replaceAll("&c", "(struct count *)&big")} return big.bytes[big.n];`),
  },
  {
    name: "a loop that never ends once two others have counted far enough",
    accepted: false,
    code: counting(`${times(2, 30)} while (c.n > 40) barrier(); return 2;`),
  },
];

/** What stands before each. */
export const preamble = `
  #include <linux/bpf.h>
  #include <bpf/bpf_helpers.h>
  #define barrier() asm volatile("" ::: "memory")
  #define barrier_var(x) asm volatile("" : "+r"(x))
  struct sum { __u64 value; __u8 bytes[8]; };
  struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, struct sum); } sums SEC(".maps");
  char _license[] SEC("license") = "GPL";
`;
