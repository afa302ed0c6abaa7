/**
 * What is known of a packet besides its bytes, as its program sees it: what BPF_PROG_TEST_RUN takes as
 * `ctx_in`. Numbers are unsigned, of 32 bits where nothing else is said, and 0 by default.
 */
export interface PacketContext {
  /** The device it came in by (`ingress_ifindex`) and, in a `__sk_buff`, is on. Default: 1, loopback. */
  readonly ifindex?: number;
  /** XDP: `rx_queue_index`. */
  readonly rxQueueIndex?: number;
  /** XDP: bytes at `data_meta`, as an earlier program left them: a multiple of 4, at most 216. */
  readonly metadata?: Uint8Array;
  /** `__sk_buff`: `ingress_ifindex` where it is not `ifindex`, as for a packet that is sent. */
  readonly ingressIfindex?: number;
  /** `__sk_buff`: what a netfilter rule or another program has marked it with. */
  readonly mark?: number;
  /** `__sk_buff`: its traffic class for queues. */
  readonly priority?: number;
  /** `__sk_buff`: up to five words that programs hand on. */
  readonly cb?: readonly number[];
  /** `__sk_buff`: nanoseconds, 64 bits. */
  readonly tstamp?: bigint;
  /** `__sk_buff`: nanoseconds of the network card's clock, 64 bits. */
  readonly hwtstamp?: bigint;
  /** `__sk_buff`: bytes on the wire, headers of every segment: from the frame's length to 65,536. */
  readonly wireLength?: number;
  /** `__sk_buff`: of a packet that stands for several segments, how many: at most 65,535. */
  readonly gsoSegments?: number;
  /** `__sk_buff`: and the bytes of each: 16 bits. */
  readonly gsoSize?: number;
}

/** What a program that has a `__sk_buff` left in it. */
export interface SkbContext {
  /** What the program marked it with. */
  readonly mark: number;
  /** Its traffic class for queues. */
  readonly priority: number;
  /** `queue_mapping`: the queue it is to leave by. */
  readonly queueMapping: number;
  /** `tc_index` */
  readonly tcIndex: number;
  /** `tc_classid`: the class of a queueing discipline, of a tc program. */
  readonly tcClassid: number;
  /** Five words. */
  readonly cb: readonly number[];
  /** Nanoseconds. */
  readonly tstamp: bigint;
  /** `pkt_type`, linux/if_packet.h: 0 for this host, 1 for all, 2 for a group, 3 for another host. */
  readonly packetType: number;
  /** The tag beside the packet's bytes, where it has one. */
  readonly vlan?: VlanTag;
}

/** A VLAN tag. */
export interface VlanTag {
  /** 0x8100, or 0x88a8 for a provider's. */
  readonly protocol: number;
  /** Priority, the drop eligible bit, and the network's number in its low 12 bits. */
  readonly tci: number;
}
