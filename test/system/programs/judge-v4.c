// What -mcpu=v4 brought: signed division, sign-extending moves and loads, byte swaps, far jumps. The
// operands are the packet's bytes and, by its length, the numbers at the edges. clang 18 or newer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define EDGES 8
const volatile __s64 edges[EDGES] = {
  0, 1, -1, -7, 0x7fffffff, -0x7fffffff - 1, 0x7fffffffffffffff, -0x7fffffffffffffff - 1,
};
__u64 results[64];

struct bytes { __s8 one; __s8 pad; __s16 two; __s32 four; __s64 eight; } __attribute__((packed));

static __always_inline struct bytes *first_bytes(struct xdp_md *ctx) {
  struct bytes *bytes = (void *)(long)ctx->data;
  return (void *)(bytes + 1) > (void *)(long)ctx->data_end ? NULL : bytes;
}

// Those bytes of the packet that differ: its length's, from 0 to 63.
static __always_inline __u32 slot(struct xdp_md *ctx) {
  __u32 length = ctx->data_end - ctx->data;
  asm volatile("" : "+r"(length));
  return length & 63;
}

SEC("xdp") int signed_division(struct xdp_md *ctx) {
  __u64 sum = 0;
  for (int i = 0; i < EDGES; i++)
    for (int j = 0; j < EDGES; j++) {
      __s64 a = edges[i] + slot(ctx) - 16, b = edges[j];
      __s32 c = a, d = b;
      sum = sum * 31 + (a / b ^ a % b);
      sum = sum * 31 + (c / d ^ c % d);
      sum = sum * 31 + (a / -3 + c / 5 + a % 1000 + c % -9);
    }
  results[slot(ctx)] ^= sum;
  return sum;
}

SEC("xdp") int signed_loads(struct xdp_md *ctx) {
  struct bytes *bytes = first_bytes(ctx);
  if (bytes == NULL) return XDP_ABORTED;
  __s64 sum = bytes->one * 3L + bytes->two * 5L + bytes->four * 7L + bytes->eight;
  volatile struct bytes on_stack = *bytes;
  sum ^= (on_stack.one * 11L + on_stack.two * 13L + on_stack.four * 17L) << 3;
  results[slot(ctx)] += sum;
  return sum;
}

SEC("xdp") int signed_moves(struct xdp_md *ctx) {
  struct bytes *bytes = first_bytes(ctx);
  if (bytes == NULL) return XDP_ABORTED;
  __u64 wide = bytes->eight * 0x9e3779b97f4a7c15ULL;
  __s64 sum = (__s64)(__s8)wide + (__s64)(__s16)(wide >> 8) * 3 + (__s64)(__s32)(wide >> 16) * 5;
  __s32 narrow = (__s32)(__s8)(wide >> 24) + (__s32)(__s16)(wide >> 32) * 3;
  results[slot(ctx)] += sum ^ narrow;
  return sum - narrow;
}

SEC("xdp") int swaps(struct xdp_md *ctx) {
  struct bytes *bytes = first_bytes(ctx);
  if (bytes == NULL) return XDP_ABORTED;
  __u64 wide = bytes->eight * 0x9e3779b97f4a7c15ULL;
  results[slot(ctx)] ^= __builtin_bswap64(wide) + __builtin_bswap32(wide) + __builtin_bswap16(wide);
  return __builtin_bswap32(wide >> 7);
}

SEC("xdp") int far_jumps(struct xdp_md *ctx) {
  __u64 number = slot(ctx);
  asm volatile("if %[n] > 20 goto 1f;"
               "gotol 2f;"
               "1: %[n] *= 3;"
               "gotol 3f;"
               "4: %[n] ^= 9;"
               "gotol 5f;"
               "2: %[n] += 100;"
               "3: gotol 4b;"
               "5: %[n] += 1;"
               : [n] "+r"(number));
  return number;
}

char _license[] SEC("license") = "GPL";
