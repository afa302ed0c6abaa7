import { expect, test } from "vitest";
import { type CompileOptions, compileExpression } from "../../src/cbpf/compile-expression.ts";
import { type ClassicPacket, runClassic } from "../../src/cbpf/interpreter.ts";
import { linkTypeByName, linkTypeByNumber } from "../../src/cbpf/link-type.ts";
import { listClassic } from "../../src/cbpf/listing.ts";
import { parseListing } from "../../src/cbpf/parse-listing.ts";
import { ExpressionGenerator, seeded } from "./expression-generator.ts";

function compile(text: string, options: Partial<CompileOptions> = {}) {
  return compileExpression(text, { linkType: "EN10MB", ...options });
}

function length(text: string, options: Partial<CompileOptions> = {}): number {
  const compiled = compile(text, options);
  if (!compiled.ok) throw compiled.error;
  return compiled.value.length;
}

const errors: readonly (readonly [string, number, RegExp])[] = [
  ["host", 5, /ends too early; expected an address/],
  ["tcp port", 9, /ends too early/],
  ["host example.org", 6, /"example\.org" is no address, and names are not looked up/],
  ["net 1.2.3.4/33", 13, /prefix length 33; at most 32/],
  ["net fe80::/129", 12, /prefix length 129; at most 128/],
  ["net 1.2.3.0 mask 255.255.256.0", 18, /255\.255\.256\.0 is no IPv4 address/],
  ["net 1.2.3.4/8", 5, /1\.2\.3\.4 has bits outside the mask/],
  ["net fe80::1/10", 5, /fe80::1 has bits outside the mask/],
  ["dst host 1.2.3.4 mask 255.0.0.0", 10, /a mask goes with net, not with host; put net before it/],
  ["src 1.2.3.4/8", 5, /a mask goes with net, not with a host/],
  ["net 10/8", 7, /a single number takes no prefix length; write 10\.0\.0\.0 in full/],
  ["src net (10 or 11/8)", 18, /a single number takes no prefix length; write 11\.0\.0\.0 in full/],
  ["net 10 mask 255.0.0.0", 8, /a single number takes no mask; write 10\.0\.0\.0 in full/],
  ["host 1.2.3.400", 6, /1\.2\.3\.400 is no IPv4 address/],
  ["ip6 host ::1.2.3.999", 10, /is no IPv6 address/],
  ["port 99999", 6, /port 99999; ports go up to 65535/],
  ["port nowhere", 6, /"nowhere" is no port known by name/],
  ["tcp port domain and udp port http", 30, /http is not a port of udp/],
  ["icmp port 5", 11, /icmp has no ports/],
  ["ip proto nothing", 10, /"nothing" is no protocol known by name/],
  ["udp portrange ssh-http", 15, /ssh-http is not a port of udp/],
  ["portrange 1-nowhere", 11, /"nowhere" is no port known by name/],
  ["port htpp", 6, /"htpp" is no port known by name; did you mean http\? or write its number/],
  ["port 80-90", 6, /"80-90" is no port known by name; put portrange before a range/],
  ["((ip)", 6, /ends too early; expected "\)"/],
  ["ip)", 3, /"\)" does not belong here; expected and, or, or the end/],
  ["ip[foo]", 4, /"foo" does not belong here; expected a number/],
  ["ip[0:3] = 1", 6, /3 bytes at once cannot be read; expected 1, 2 or 4/],
  ["ip[0]", 6, /ends too early; expected a comparison/],
  ["ip[0] = 1 / 0", 11, /division by zero/],
  ["ip[0] << 40 = 1", 7, /a shift by 40 bits/],
  ["iso[0] = 1", 1, /the bytes of iso cannot be read/],
  ["1.2.3.4", 1, /"1\.2\.3\.4" has no qualifier; put host, net/],
  ["ip and 1.2.3.4", 8, /"1\.2\.3\.4" has no qualifier/],
  ["53", 1, /"53" has no qualifier; put host, net, port or proto before it/],
  ["TCP port 80", 1, /"TCP" has no qualifier; did you mean tcp\?/],
  ["tcp prot 80", 5, /"prot" does not belong here; did you mean port\?/],
  ["tcp[tcpflag] & 1 = 1", 5, /did you mean tcpflags\? expected a number/],
  ["host ((1.2.3.4) or 5.6.7.8)", 7, /cannot begin with a parenthesis/],
  ["08", 1, /octal/],
  ["len > 4294967296", 7, /more than 32 bits/],
  ["ether host 1:2:3:4:5:6:7:", 12, /is no Ethernet address/],
  ["ether host 1:2:3", 12, /1:2:3 is no Ethernet address; expected six bytes/],
  ["host 1::2::3", 6, /1::2::3 is no IPv6 address; expected eight groups/],
  ["ip[0:1:1] = 1", 4, /0:1:1 is no offset with a number of bytes; expected one colon/],
  ["len-20 > 5", 1, /"len-20" is read as one name; put spaces around -: len - 20/],
  ["20 < len-20-len", 6, /"len-20-len" is read as one name; put spaces around -: len - 20 - len/],
  ["rulenum 1", 1, /"rulenum" is for PF log captures only/],
  ["udp and rnr 1", 9, /"rnr" is for PF log captures only/],
  ["srnr 1", 1, /"srnr" is for PF log captures only/],
  ["host 00:00:00:00:00:01", 6, /a hardware address goes with ether only/],
  ["ether host 10.0.0.1", 12, /ether goes with hardware addresses/],
  ["vlan 5000", 6, /VLAN 5000; at most 4095/],
  ["mpls and arp", 10, /after mpls only IPv4 and IPv6/],
  ["mpls (1048576)", 7, /MPLS label 1048576; at most 1048575/],
  ["geneve 16777216", 8, /GENEVE network/],
  ["pppoes 65536", 8, /PPPoE session/],
  ["pppoes and vlan", 12, /PPP frames have no VLAN tags/],
  ["gateway router", 9, /nothing is looked up; say it by addresses/],
  ["inbound", 1, /do not tell their direction/],
  ["ifindex 1", 1, /do not tell their interface/],
  ["ip broadcast", 1, /the netmask is not known/],
  ["wlan host 00:00:00:00:00:01 and type mgt", 33, /"type" is for 802\.11 captures only/],
  ["vpi 5", 1, /for ATM captures only/],
  ["ether host $5", 12, /an address of ARCNET/],
  ["link", 1, /the link layer itself is no protocol/],
  ["tcp broadcast", 1, /tcp has no broadcast addresses/],
  ["llc nothing", 5, /no kind of LLC frame; expected one of i, s, u, rr/],
  ["arp protochain 5", 16, /arp has no chain of headers/],
  ["geneve and protochain 5", 23, /cannot follow headers of variable length/],
  ["arp and ip", 1, /no packet can match this/],
  ["ip & 5", 4, /"&" does not belong here/],
  ["host \u00e9", 6, /"é" has no meaning here/],
  ["port \\", 6, /nothing after/],
];

for (const [text, column, message] of errors)
  test(`"${text}" is refused at column ${column}`, () => {
    const compiled = compile(text);
    expect(compiled.ok).toBe(false);
    if (compiled.ok) return;
    expect(compiled.error.where).toBe(`expression, column ${column}`);
    expect(compiled.error.message).toMatch(message);
  });

test("a name that is a service or protocol stands for its number", () => {
  for (const [name, number] of [
    ["tcp port http", "tcp port 80"],
    ["port domain", "port (53)"],
    ["udp port \\53", "udp port 53"],
    ["port syslog", "port 514"],
    ["tcp port syslog", "tcp port 514"],
    ["udp portrange http-https", "udp portrange 80-443"],
    ["portrange ssh-http", "tcp portrange 22-80"],
    ["ip proto \\TCP", "ip proto 6"],
    ["tcp portrange ftp-data-telnet", undefined],
    ["tcp portrange ssh-telnet", "tcp portrange 22-23"],
    ["ip proto \\udp", "ip proto 17"],
    ["ether proto \\ip6", "ether proto 0x86dd"],
    ["iso proto \\isis", "isis"],
    ["host \\10.0.0.1", "host 10.0.0.1"],
  ] as const) {
    const compiled = compile(name);
    if (number === undefined) expect(compiled.ok).toBe(false);
    else expect(compiled).toEqual(compile(number));
  }
});

for (const text of [
  "not geneve and udp",
  "geneve 5 or tcp port 80",
  "ip6 or geneve and vlan 7 or arp",
])
  test(`"${text}" reads nothing it has not written, and so is what the kernel takes`, () => {
    const compiled = compile(text);
    if (!compiled.ok) throw compiled.error;
    expect(parseListing(listClassic(compiled.value, "decimal"), "listing")).toEqual(compiled);
  });

for (const { title, text, each } of [
  { title: "hosts joined by or", text: (i: number) => `host 10.0.${i >> 8}.${i & 255}`, each: 6 },
  { title: "ports joined by or", text: (i: number) => `port ${i}`, each: 6 },
])
  test(`a list of 3,000 ${title} takes ${each} instructions for each, as a short one does`, () => {
    const compiled = compile(Array.from({ length: 3000 }, (_, i) => text(i)).join(" or "));
    if (!compiled.ok) throw compiled.error;
    expect(compiled.value.length).toBeLessThan(3000 * each);
  });

test("a list that would take long to compile is refused where it gets too long, with a way out", () => {
  const terms = Array.from({ length: 20_000 }, (_, i) => `net 10.${i >> 8}.${i & 255}.0/24`);
  const compiled = compile(terms.join(" or "));
  if (compiled.ok) expect.fail("it was compiled");
  const { code, where, what, fix } = compiled.error;
  expect(code).toBe("EXPRESSION_TOO_LARGE");
  expect(what).toBe("more than 250000 instructions up to here, before optimising");
  expect(fix).toBe("keep a list as long as this in a map, as filters/blocklist.c does");
  // What is in front of that place compiles.
  const column = Number(/column (\d+)$/.exec(where)?.[1]);
  const before = terms.join(" or ").slice(0, column - 1);
  const within = before.slice(0, before.lastIndexOf(" or "));
  expect(within.split(" or ").length).toBeGreaterThan(8000);
  expect(compile(within, { optimise: false }).ok).toBe(true);
});

test("snap length, netmask and Linux's metadata are options", () => {
  expect(compile("", { snapLength: 96 })).toEqual({
    ok: true,
    value: [{ code: 6, jt: 0, jf: 0, k: 96 }],
  });
  expect(compile("ip", { snapLength: 0 }).ok).toBe(false);
  const broadcast = compile("ip broadcast", { netmask: 0xffff_ff00 });
  expect(broadcast.ok && listClassic(broadcast.value, "assembly")).toContain("and      #0xff");
  const live = { linuxExtensions: true };
  const outbound = compile("outbound", live);
  expect(outbound.ok && listClassic(outbound.value, "assembly")).toContain("ldh      [type]");
  const ifindex = compile("ifindex 7", live);
  expect(ifindex.ok && listClassic(ifindex.value, "assembly")).toContain("ld       [ifidx]");
});

/** An Ethernet frame with these bytes after its addresses. */
function frame(hex: string): Uint8Array {
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  return Uint8Array.from([...new Array<number>(12).fill(0), ...bytes]);
}

test("with Linux's metadata a VLAN tag is found in the frame and beside it", () => {
  const ip = `0800 4500 ${"00".repeat(32)}`;
  const beside = new Map([
    [48, 1],
    [44, 0x2005],
  ]);
  const none = new Map([
    [48, 0],
    [44, 0],
  ]);
  for (const { text, packet, matches } of [
    { text: "vlan 5 and ip", packet: { data: frame(ip), ancillary: beside }, matches: true },
    { text: "vlan 6 and ip", packet: { data: frame(ip), ancillary: beside }, matches: false },
    { text: "vlan 5 and ip", packet: { data: frame(ip), ancillary: none }, matches: false },
    {
      text: "vlan 5 and ip",
      packet: { data: frame(`8100 2005 ${ip}`), ancillary: none },
      matches: true,
    },
    {
      text: "vlan and vlan 7 and ip",
      packet: { data: frame(`8100 0007 ${ip}`), ancillary: beside },
      matches: true,
    },
    {
      text: "vlan and vlan 7 and ip",
      packet: { data: frame(`8100 0005 8100 0007 ${ip}`), ancillary: none },
      matches: true,
    },
  ])
    for (const optimise of [true, false]) {
      const compiled = compile(text, { linuxExtensions: true, optimise });
      if (!compiled.ok) throw compiled.error;
      const seen: ClassicPacket = { ...packet, length: packet.data.length };
      expect(runClassic(compiled.value, seen) !== 0, `${text}, ${optimise}`).toBe(matches);
    }
});

test("bits are combined with the byte that is asked for, where libpcap 1.10 forgets to load it", () => {
  const compiled = compile("ip and byte 14 & 0x0f");
  if (!compiled.ok) throw compiled.error;
  for (const [first, matches] of [
    ["45", true],
    ["40", false],
  ] as const) {
    const data = frame(`0800 ${first} ${"00".repeat(30)}`);
    expect(runClassic(compiled.value, { data, length: data.length }) !== 0).toBe(matches);
  }
});

test("the optimiser keeps what an expression matches", () => {
  const generator = new ExpressionGenerator(20);
  const random = seeded(21);
  const types = ["0800", "86dd", "0806", "8100", "8847", "8864", "0040"];
  const packets = Array.from({ length: 200 }, () => {
    const type = types[Math.floor(random() * types.length)]!;
    const data = frame(type + "00".repeat(60));
    for (let i = 14; i < data.length; i++) data[i] = Math.floor(random() * 256);
    if (type === "0800") data[14] = 0x45;
    data[23] = [1, 6, 17, 58][Math.floor(random() * 4)]!;
    data[20] = 0;
    data[21] = 0;
    return { data, length: data.length };
  });
  let compared = 0;
  let matched = 0;
  for (let i = 0; i < 1500; i++) {
    const text = generator.next();
    const short = compile(text);
    const long = compile(text, { optimise: false });
    if (!short.ok || !long.ok) continue;
    compared++;
    expect(short.value.length).toBeLessThanOrEqual(long.value.length);
    for (const packet of packets) {
      const expected = runClassic(long.value, packet) !== 0;
      if (expected) matched++;
      if ((runClassic(short.value, packet) !== 0) !== expected) expect.fail(text);
    }
  }
  expect(compared).toBeGreaterThan(500);
  expect(matched).toBeGreaterThan(1000);
});

test("redundant tests and arithmetic vanish", () => {
  expect(length("ip and ip and ip")).toBe(length("ip"));
  expect(length("tcp or not tcp")).toBe(1);
  expect(length("ip[2 + 3 * 4] = 8 - 1")).toBe(length("ip[14] = 7"));
  expect(length("port 53")).toBe(24);
  expect(length("port 53", { optimise: false })).toBe(54);
});

test("link types go by name and number, and others are refused by it", () => {
  expect(linkTypeByName("en10mb")).toEqual({ ok: true, value: "EN10MB" });
  expect(linkTypeByName("DLT_RAW")).toEqual({ ok: true, value: "RAW" });
  expect(linkTypeByNumber(276)).toEqual({ ok: true, value: "LINUX_SLL2" });
  const byName = linkTypeByName("IEEE802_11");
  expect(byName.ok || byName.error.message).toMatch(/"IEEE802_11".*expected one of EN10MB, RAW/);
  const byNumber = linkTypeByNumber(105);
  expect(byNumber.ok || byNumber.error.message).toMatch(/^link type 105 \(IEEE802_11\): /);
});

test("protochain finds with a limit what it finds in a loop, up to that many headers", () => {
  const chains = [
    ["06", 0],
    ["3b", 0],
    ["00 0600", 1],
    ["3c 2b00 2c00 1100", 3],
    ["33 0604", 1],
    ["00 3300 1104", 2],
    ["00 0000 0000 0000 0000 0000 0600", 6],
  ] as const;
  for (const [chain, headers] of chains)
    for (const number of [6, 17, 59]) {
      const [first, ...rest] = chain.split(" ");
      // Extension headers of 8 bytes each, in which only the first two bytes count.
      const body = rest.map((two) => two.padEnd(16, "0")).join("");
      const data = frame(
        `86dd 60000000 0000 ${first} 40 ${"00".repeat(32)} ${body}${"00".repeat(40)}`,
      );
      const packet = { data, length: data.length };
      const text = `ip6 protochain ${number}`;
      const loop = compile(text);
      if (!loop.ok) throw loop.error;
      const expected = runClassic(loop.value, packet);
      for (const maxChainedHeaders of [headers, headers + 1, 16]) {
        const limited = compile(text, { maxChainedHeaders });
        if (!limited.ok) throw limited.error;
        expect(runClassic(limited.value, packet), `${chain}, ${text}`).toBe(expected);
      }
      if (headers === 0 || expected === 0) continue;
      const tooFew = compile(text, { maxChainedHeaders: headers - 1 });
      expect(tooFew.ok && runClassic(tooFew.value, packet), `${chain}, ${text}`).toBe(0);
    }
});
