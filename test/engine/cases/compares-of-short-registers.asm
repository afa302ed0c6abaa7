; type raw
; packet fffffffffeffffff0000008001
; Loaded words at the edges of 32 bits, compared as numbers of 64: with each other, with what is
; negative, and with a number that was loaded for the compare alone.
r0 = 0
r2 = *(u32 *)(r1 + 0)
if r2 s< 0 goto +1
r0 |= 1
r3 = *(u32 *)(r1 + 8)
if r3 s> -1 goto +1
r0 |= 2
if r2 == -1 goto +1
r0 |= 4
if r2 s> r3 goto +1
r0 |= 8
r4 = *(u32 *)(r1 + 4)
if r4 != 2147483647 goto +1
r0 |= 16
r4 = *(u8 *)(r1 + 12)
if r4 == 1 goto +1
r0 |= 32
r4 = *(u16 *)(r1 + 11)
if r4 != 384 goto +1
r0 |= 64
r4 = *(u16 *)(r1 + 11)
r4 = be16 r4
if r4 != 32769 goto +1
r0 |= 128
if r2 & -2147483648 goto +1
r0 |= 256
w5 = -1
r5 s>>= 4
r0 <<= 32
r0 |= r5
r2 /= -1
r3 %= -1
r0 += r2
r0 += r3
exit
