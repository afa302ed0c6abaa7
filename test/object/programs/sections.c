/* A section for each way to name a program type. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define PROGRAM(section, name)      \
	SEC(section)                \
	int name(void *context)     \
	{                           \
		return 0;           \
	}

PROGRAM("xdp", xdp_plain)
PROGRAM("xdp/name", xdp_named)
PROGRAM("xdp.frags", xdp_frags)
PROGRAM("xdp_old", old_xdp)
PROGRAM("?xdp", xdp_optional)
PROGRAM("socket", socket_plain)
PROGRAM("socket1", socket_numbered)
PROGRAM("tc", tc_plain)
PROGRAM("tc/ingress", tc_ingress)
PROGRAM("tcx/ingress", tcx_ingress)
PROGRAM("tcx/egress", tcx_egress)
PROGRAM("classifier", classifier_plain)
PROGRAM("classifier/name", classifier_named)
PROGRAM("from-container", cilium)
PROGRAM("action", action_plain)
PROGRAM("cgroup_skb/ingress", cgroup_ingress)
PROGRAM("cgroup_skb/egress", cgroup_egress)
PROGRAM("cgroup/skb", old_cgroup)
PROGRAM("kprobe/tcp_connect", kprobe)
PROGRAM("prog", no_type)

char _license[] SEC("license") = "GPL";
