; The first instruction is the target of a jump back.
; type raw
; packet 0400000000000000
again:
  r0 += 7
  r6 += 1
  r2 = *(u64 *)(r1 + 0)
  if r6 < r2 goto again
  exit
