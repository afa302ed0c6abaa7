; Both ways of one branch lead into an irreducible part, one of them alone to its dispatcher.
; type raw
; packet 0500000000000000
  r9 = 20
  r2 = *(u64 *)(r1 + 0)
  if r2 == 5 goto left
  goto right
left:
  r0 += 1
  r9 += -1
  if r9 s<= 0 goto out
right:
  r0 <<= 1
  r9 += -1
  if r9 s<= 0 goto out
  goto left
out:
  exit
