/* What a kernel's configuration says, as far as it is known here. -DUNKNOWN asks for more. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern char CONFIG_INET __kconfig;
extern enum libbpf_tristate CONFIG_IPV6 __kconfig;
extern unsigned long CONFIG_HZ __kconfig;
extern int CONFIG_OF_NOBODY __kconfig __weak;
extern const char CONFIG_TEXT_OF_NOBODY[16] __kconfig __weak;
#ifdef UNKNOWN
extern int CONFIG_NR_OF_TOES __kconfig;
#endif

struct seen {
	__u64 version, syscall, inet, ipv6, hz, nobody, text;
} seen;

SEC("xdp")
int program(struct xdp_md *context)
{
	seen.version = LINUX_KERNEL_VERSION;
	seen.syscall = CONFIG_BPF_SYSCALL;
	seen.inet = CONFIG_INET;
	seen.ipv6 = CONFIG_IPV6;
	seen.hz = CONFIG_HZ;
	seen.nobody = CONFIG_OF_NOBODY + 7;
	seen.text = CONFIG_TEXT_OF_NOBODY[3] + 8;
#ifdef UNKNOWN
	seen.text = CONFIG_NR_OF_TOES;
#endif
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
