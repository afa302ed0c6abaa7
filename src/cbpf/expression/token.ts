/** Names of protocols that qualify an address or stand for themselves. pcap-filter(7). */
export const protocolWords = [
  "link",
  "ip",
  "arp",
  "rarp",
  "sctp",
  "tcp",
  "udp",
  "icmp",
  "igmp",
  "igrp",
  "pim",
  "vrrp",
  "carp",
  "atalk",
  "aarp",
  "decnet",
  "lat",
  "sca",
  "mopdl",
  "moprc",
  "ip6",
  "icmp6",
  "ah",
  "esp",
  "iso",
  "esis",
  "isis",
  "l1",
  "l2",
  "iih",
  "lsp",
  "snp",
  "csnp",
  "psnp",
  "clnp",
  "stp",
  "ipx",
  "netbeui",
] as const;

export type ProtocolWord = (typeof protocolWords)[number];

const otherWords = [
  "src",
  "dst",
  "host",
  "net",
  "mask",
  "port",
  "portrange",
  "proto",
  "protochain",
  "gateway",
  "less",
  "greater",
  "byte",
  "broadcast",
  "multicast",
  "and",
  "or",
  "len",
  "inbound",
  "outbound",
  "ifindex",
  "vlan",
  "mpls",
  "pppoed",
  "pppoes",
  "geneve",
  "llc",
  "rnr",
] as const;

export type Word = ProtocolWord | (typeof otherWords)[number];

/** Other spellings of keywords; their meaning is the canonical one. */
const aliases = {
  ether: "link",
  ppp: "link",
  slip: "link",
  fddi: "link",
  tr: "link",
  wlan: "link",
  "es-is": "esis",
  "is-is": "isis",
  length: "len",
  rulenum: "rnr",
} as const satisfies Record<string, Word>;

export const words: ReadonlyMap<string, Word> = new Map<string, Word>([
  ...protocolWords.map((word) => [word, word] as const),
  ...otherWords.map((word) => [word, word] as const),
  ...Object.entries(aliases),
]);

/** Keywords that make sense on other link types only, with what they are for. */
export const foreignWords: ReadonlyMap<string, string> = new Map([
  ...spread(
    "802.11",
    "radio type subtype direction dir address1 addr1 address2 addr2 address3 addr3 address4 addr4 ra ta",
  ),
  ...spread(
    "ATM",
    "lane metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect",
  ),
  ...spread("PF log", "on ifname rset ruleset srnr subrulenum reason action"),
  ...spread("MTP2", "fisu lssu lsu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls"),
]);

function spread(what: string, list: string): (readonly [string, string])[] {
  return list.split(" ").map((word) => [word, what] as const);
}

/** Names for numbers: offsets and values of ICMP, ICMPv6 and TCP fields. */
export const namedNumbers: ReadonlyMap<string, number> = new Map(
  Object.entries({
    icmptype: 0,
    icmpcode: 1,
    "icmp-echoreply": 0,
    "icmp-unreach": 3,
    "icmp-sourcequench": 4,
    "icmp-redirect": 5,
    "icmp-echo": 8,
    "icmp-routeradvert": 9,
    "icmp-routersolicit": 10,
    "icmp-timxceed": 11,
    "icmp-paramprob": 12,
    "icmp-tstamp": 13,
    "icmp-tstampreply": 14,
    "icmp-ireq": 15,
    "icmp-ireqreply": 16,
    "icmp-maskreq": 17,
    "icmp-maskreply": 18,
    icmp6type: 0,
    icmp6code: 1,
    "icmp6-destinationunreach": 1,
    "icmp6-packettoobig": 2,
    "icmp6-timeexceeded": 3,
    "icmp6-parameterproblem": 4,
    "icmp6-echo": 128,
    "icmp6-echoreply": 129,
    "icmp6-multicastlistenerquery": 130,
    "icmp6-multicastlistenerreportv1": 131,
    "icmp6-multicastlistenerdone": 132,
    "icmp6-routersolicit": 133,
    "icmp6-routeradvert": 134,
    "icmp6-neighborsolicit": 135,
    "icmp6-neighboradvert": 136,
    "icmp6-redirect": 137,
    "icmp6-routerrenum": 138,
    "icmp6-nodeinformationquery": 139,
    "icmp6-nodeinformationresponse": 140,
    "icmp6-ineighbordiscoverysolicit": 141,
    "icmp6-ineighbordiscoveryadvert": 142,
    "icmp6-multicastlistenerreportv2": 143,
    "icmp6-homeagentdiscoveryrequest": 144,
    "icmp6-homeagentdiscoveryreply": 145,
    "icmp6-mobileprefixsolicit": 146,
    "icmp6-mobileprefixadvert": 147,
    "icmp6-certpathsolicit": 148,
    "icmp6-certpathadvert": 149,
    "icmp6-multicastrouteradvert": 151,
    "icmp6-multicastroutersolicit": 152,
    "icmp6-multicastrouterterm": 153,
    tcpflags: 13,
    "tcp-fin": 0x01,
    "tcp-syn": 0x02,
    "tcp-rst": 0x04,
    "tcp-push": 0x08,
    "tcp-ack": 0x10,
    "tcp-urg": 0x20,
    "tcp-ece": 0x40,
    "tcp-cwr": 0x80,
  }),
);

/** Operators and brackets. `==`, `&&`, `||` and `not` are read as `=`, `and`, `or` and `!`. */
export const tokenSymbols = [
  ">=",
  "<=",
  "!=",
  "<<",
  ">>",
  "+",
  "-",
  "*",
  "/",
  "%",
  ":",
  "[",
  "]",
  "!",
  "<",
  ">",
  "(",
  ")",
  "&",
  "|",
  "^",
  "=",
] as const;

export type TokenSymbol = (typeof tokenSymbols)[number];

/** One token; `at` is its first character in the text, `text` what is written there. */
export type Token = { readonly at: number; readonly text: string } & (
  | { readonly kind: "word"; readonly word: Word }
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "name"; readonly name: string }
  /** Two to four numbers with dots: an IPv4 address or network, or DECnet's area.node. */
  | { readonly kind: "dotted" }
  /** Four 32-bit words, big-endian. */
  | { readonly kind: "ip6"; readonly address: Ip6Address }
  | { readonly kind: "mac"; readonly address: Uint8Array }
  | { readonly kind: "symbol"; readonly symbol: TokenSymbol }
  | { readonly kind: "end" }
);

/** An IPv6 address as four unsigned 32-bit words, the first one first. */
export type Ip6Address = readonly [number, number, number, number];
