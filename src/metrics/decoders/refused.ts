/** Decoders that ebpf_exporter has and Weir cannot have, each with the reason. */
export const refusedDecoders: Readonly<Record<string, string>> = {
  cgroup: "needs the kernel's cgroup ids",
  errno: "names error numbers, which no packet carries; use static_map",
  ifname: "needs the kernel's interfaces; name the config's ports with static_map",
  kstack: "needs the kernel's stack traces",
  ksym: "needs the kernel's symbol table",
  majorminor: "needs the kernel's block devices",
  pci_class: "needs the kernel's PCI devices",
  pci_device: "needs the kernel's PCI devices",
  pci_subclass: "needs the kernel's PCI devices",
  pci_vendor: "needs the kernel's PCI devices",
  syscall: "names system calls, which no packet makes",
};
