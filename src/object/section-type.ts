import type { ProgramType } from "./object-spec.ts";

/**
 * Section names and the program types they stand for, as libbpf's section table gives them
 * (libbpf documentation, program_types.rst) and as older loaders matched them: by prefix.
 * First match wins.
 */
const sectionTypes: readonly { readonly name: RegExp; readonly type: ProgramType }[] = [
  { name: /^xdp/, type: "xdp" },
  // netkit's answers are tcx's, by name and number: net/core/netkit.c.
  { name: /^(tcx|netkit)\//, type: "tcx" },
  { name: /^tc($|\/)/, type: "tc" },
  { name: /^(classifier|cls)/, type: "tc" },
  // Cilium's and iproute2's names for programs on the two sides of a device.
  { name: /^(from|to)-/, type: "tc" },
  { name: /^(action|act_|act$)/, type: "action" },
  { name: /^socket/, type: "socket" },
  { name: /^cgroup(_skb|\/skb)/, type: "cgroup_skb" },
];

/** libbpf's names for programs of other types: probes, and hooks of sockets, cgroups and routes. */
const otherSections =
  /^(k(ret)?(probe|syscall)|u(ret)?probe|usdt|(raw_)?tp|(raw_)?tracepoint|f(entry|exit|mod_ret)|freplace|lsm|iter|perf_event|syscall|struct_ops|sockops|sk_(skb|msg|lookup|reuseport)|flow_dissector|lwt_|lirc|netfilter|cgroup\/)/;

/** Whether a section's name says that its programs run elsewhere than on packets. */
export function belongsElsewhere(section: string): boolean {
  const name = section.replace(/^\?/, "");
  return sectionProgramType(section) === undefined && otherSections.test(name);
}

/** `2/5`: iproute2 puts such a program into the map with id 2, at index 5. */
const tailCallSection = /^(\d+)\/(\d+)$/;

/** The type that a section's name says its programs have, or undefined. */
export function sectionProgramType(section: string): ProgramType | undefined {
  // libbpf: a leading "?" means "do not load unless asked".
  const name = section.replace(/^\?/, "");
  return sectionTypes.find((row) => row.name.test(name))?.type;
}

/** Whether a cgroup_skb section says that its programs are for packets on their way out. */
export function isCgroupEgress(section: string): boolean {
  return /^\??cgroup_skb\/egress$/.test(section);
}

/** Whether a section's name says that its programs run on packets that leave through a devmap's entry. */
export function isOnDevmap(section: string): boolean {
  return /^\??xdp(\.frags)?\/devmap$/.test(section);
}

/** Map id and index of an iproute2 tail-call section, or undefined for any other name. */
export function tailCallSlot(section: string): { mapId: number; index: number } | undefined {
  const match = tailCallSection.exec(section);
  return match === null ? undefined : { mapId: Number(match[1]), index: Number(match[2]) };
}

/**
 * The type of programs in tail-call sections: that of the object's other programs where they agree,
 * else tc, where such sections come from.
 */
export function tailCallType(others: readonly (ProgramType | undefined)[]): ProgramType {
  const named = new Set(others.filter((type) => type !== undefined));
  const [only] = named;
  return named.size === 1 && only !== undefined ? only : "tc";
}
