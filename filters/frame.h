/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Finding the network header of an Ethernet frame. Shared by the filters in this folder.
 */
#ifndef WEIR_FRAME_H
#define WEIR_FRAME_H

#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* One 802.1Q or 802.1ad tag, as it follows the EtherType that announced it. */
struct vlan_tag {
	__be16 control;
	__be16 ether_type;
};

/* An outer (service) and an inner (customer) tag: what 802.1ad allows. */
#define MAX_VLAN_TAGS 2

/* What a frame carries, and where. */
struct network {
	void *header;      /* the first byte after Ethernet and its tags */
	__be16 ether_type; /* 0: the frame ends before it is known */
};

static __always_inline struct network find_network(void *data, void *data_end)
{
	struct network found = {};
	struct ethhdr *ethernet = data;
	struct vlan_tag *tag;
	__be16 ether_type;
	int i;

	if ((void *)(ethernet + 1) > data_end)
		return found;
	ether_type = ethernet->h_proto;
	tag = (void *)(ethernet + 1);

#pragma unroll
	for (i = 0; i < MAX_VLAN_TAGS; i++) {
		if (ether_type != bpf_htons(ETH_P_8021Q) && ether_type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > data_end)
			return found;
		ether_type = tag->ether_type;
		tag++;
	}

	found.header = tag;
	found.ether_type = ether_type;
	return found;
}

#endif
