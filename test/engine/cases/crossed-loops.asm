; Two loops that overlap and jump into each other's middle.
; type raw
; packet 0300000000000000
  r0 = 1
  r9 = 40
a:
  r0 *= 3
  r9 += -1
  if r9 == 0 goto out
b:
  r0 ^= 21
  if r0 s> 100 goto d
c:
  r0 += 9
  r9 += -1
  if r9 == 0 goto out
  if w0 & 4 goto a
d:
  r0 >>= 1
  r9 += -1
  if r9 == 0 goto out
  if r0 & 1 goto b
  goto c
out:
  exit
