/** What follows a link-layer header. IEEE 802 EtherTypes, and below 1501 LLC service access points. */
export const etherType = {
  ip: 0x0800,
  arp: 0x0806,
  ns: 0x0600,
  mopdl: 0x6001,
  moprc: 0x6002,
  decnet: 0x6003,
  lat: 0x6004,
  sca: 0x6007,
  /** Transparent Ethernet bridging: an Ethernet frame follows. */
  ethernet: 0x6558,
  rarp: 0x8035,
  atalk: 0x809b,
  aarp: 0x80f3,
  vlan: 0x8100,
  ipx: 0x8137,
  ip6: 0x86dd,
  mpls: 0x8847,
  pppoeDiscovery: 0x8863,
  pppoeSession: 0x8864,
  serviceVlan: 0x88a8,
  loopback: 0x9000,
  oldServiceVlan: 0x9100,
} as const;

/** Values of the LLC service access points. IEEE 802.2. */
export const llcSap = {
  ip: 0x06,
  spanningTree: 0x42,
  snap: 0xaa,
  ipx: 0xe0,
  netbeui: 0xf0,
  iso: 0xfe,
} as const;

/** The largest value of an Ethernet type field that is a length: then an LLC header follows. */
export const maxEthernetLength = 1500;

/** PPP's protocol numbers for what Ethernet names by EtherType or access point. IANA. */
export const pppProtocol: ReadonlyMap<number, number> = new Map([
  [etherType.ip, 0x0021],
  [etherType.ip6, 0x0057],
  [etherType.decnet, 0x0027],
  [etherType.atalk, 0x0029],
  [etherType.ns, 0x0025],
  [llcSap.iso, 0x0023],
  [llcSap.spanningTree, 0x0031],
  [llcSap.ipx, 0x002b],
]);

/** PPP's number for MPLS unicast. RFC 3032 §4.3. */
export const pppMpls = 0x0281;

/** Names that `ether proto` takes. */
export const etherProtocolNames: ReadonlyMap<string, number> = new Map([
  ["aarp", etherType.aarp],
  ["arp", etherType.arp],
  ["atalk", etherType.atalk],
  ["decnet", etherType.decnet],
  ["ip", etherType.ip],
  ["ip6", etherType.ip6],
  ["lat", etherType.lat],
  ["loopback", etherType.loopback],
  ["mopdl", etherType.mopdl],
  ["moprc", etherType.moprc],
  ["rarp", etherType.rarp],
  ["sca", etherType.sca],
  ["iso", llcSap.iso],
  ["stp", llcSap.spanningTree],
  ["ipx", llcSap.ipx],
  ["netbeui", llcSap.netbeui],
]);
