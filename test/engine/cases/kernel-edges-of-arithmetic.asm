; Division by zero and by -1, shifts, sign extension and byte swaps, and atomics that fetch.
; maps structured
; type xdp
; packet 000102030405060708090a0b0c0d0e0f
  r6 = 0x8000000000000000 ll
  r2 = 0
  r3 = r6
  r3 /= r2
  r0 = r3
  r3 = r6
  r3 %= r2
  r0 ^= r3
  r4 = -1
  r3 = r6
  r3 s/= r4
  r0 ^= r3
  r3 = r6
  r3 s%= r4
  r0 += r3
  w3 = -2147483648
  w4 = -1
  w3 s/= w4
  r0 ^= r3
  r3 = r6
  r3 s>>= 63
  r3 = (s16)r3
  w3 = (s8)w3
  r3 = be32 r3
  r0 += r3
  r3 = r6
  r3 = bswap64 r3
  r0 ^= r3
  *(u64 *)(r10 - 8) = r0
  r5 = 77
  r5 = atomic_fetch_xor((u64 *)(r10 - 8), r5)
  r0 += r5
  r5 = r0
  r5 >>= 32
  w0 ^= w5
  exit
