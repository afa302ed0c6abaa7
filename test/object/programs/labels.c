/* Hand-written assembly: labels without .type and .size. */
__asm__(".section xdp,\"ax\",@progbits\n"
	".globl one\n"
	"one:\n"
	"r0 = 1\n"
	"exit\n"
	".globl two\n"
	"two:\n"
	"r0 = 2\n"
	"if r0 == 2 goto +0\n"
	"exit\n");
