; type raw
; packet 00010203040506070809
; What begins as a number of 32 bits is one of 64 from the second round on, and the other way round.
r0 = *(u32 *)(r1 + 0)
r2 = 5
r3 = -1
r5 = -1
again:
r4 = r0
r0 <<= 9
r0 += -1
r3 >>= 33
r5 ^= r0
r2 += -1
if r2 == 3 goto other
if r2 != 0 goto again
r0 ^= r3
r0 += r4
r0 ^= r5
exit
other:
w5 = w0
r4 = 0x123456789abcdef0 ll
goto again
