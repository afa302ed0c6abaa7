; A loop that is entered at two places: no structured form without a dispatcher.
; type raw
; packet 0100000000000000
  r0 = 0
  r3 = 10
  r2 = *(u64 *)(r1 + 0)
  if r2 == 0 goto second
first:
  r0 += 3
  r0 *= 5
second:
  r0 += 1
  r3 += -1
  if r3 != 0 goto first
  exit
