/**
 * Linux's ancillary data: loads from these negative offsets read the packet's metadata, not its
 * bytes. linux/filter.h, SKF_*; Documentation/networking/filter.rst.
 */

/** SKF_AD_OFF, -0x1000 as unsigned 32 bits: where the ancillary offsets start. */
export const ancillaryBase = 0xffff_f000;

/** Offsets from `ancillaryBase`. */
export const ancillary = {
  protocol: 0,
  packetType: 4,
  ifindex: 8,
  netlinkAttribute: 12,
  netlinkNested: 16,
  mark: 20,
  queue: 24,
  hardwareType: 28,
  rxHash: 32,
  cpu: 36,
  xorX: 40,
  vlanTag: 44,
  vlanTagPresent: 48,
  payloadOffset: 52,
  random: 56,
  vlanProtocol: 60,
} as const;

/** SKF_AD_MAX. */
export const ancillaryBytes = 64;

/** As tcpdump writes them in listings, `[type]`. */
export const ancillaryNames: ReadonlyMap<number, string> = new Map([
  [ancillary.protocol, "proto"],
  [ancillary.packetType, "type"],
  [ancillary.ifindex, "ifidx"],
  [ancillary.netlinkAttribute, "nla"],
  [ancillary.netlinkNested, "nlan"],
  [ancillary.mark, "mark"],
  [ancillary.queue, "queue"],
  [ancillary.hardwareType, "hatype"],
  [ancillary.rxHash, "rxhash"],
  [ancillary.cpu, "cpu"],
  [ancillary.xorX, "xor_x"],
  [ancillary.vlanTag, "vlan_tci"],
  [ancillary.vlanTagPresent, "vlanp"],
  [ancillary.payloadOffset, "poff"],
  [ancillary.random, "random"],
  [ancillary.vlanProtocol, "vlan_tpid"],
]);

/** The ancillary offset that an absolute load with this `k` reads, or undefined. */
export function ancillaryOffset(k: number): number | undefined {
  const offset = k - ancillaryBase;
  return offset >= 0 && offset < ancillaryBytes ? offset : undefined;
}
