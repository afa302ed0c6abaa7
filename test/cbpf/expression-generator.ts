/** Numbers from 0 to 1, the same for the same seed: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

const protocols =
  "ip ip6 arp rarp tcp udp sctp icmp icmp6 igmp igrp pim vrrp carp ah esp atalk aarp decnet lat sca moprc mopdl iso esis isis clnp stp ipx netbeui l1 l2 iih lsp snp csnp psnp".split(
    " ",
  );
const addresses = "10.0.0.1 192.168.1.1 224.0.0.5 127.0.0.1 255.255.255.255 192.1.2.23".split(" ");
const networks = "10 10.0.0.0/8 192.168.0.0/16 192.168 224.0.0.0/4 0.0.0.0/0 172.16.0.0/12".split(
  " ",
);
const masked = ["10.0.0.0 mask 255.0.0.0", "192.168.1.0 mask 255.255.255.0", "127 mask 255.0"];
const ip6Addresses = "::1 fe80::1 ff02::1 2001:db8::1 ff02::16 ::ffff:10.0.0.1".split(" ");
const ip6Networks = "fe80::/10 ff02::/16 2001:db8::/32 ::/0 fe80::/64".split(" ");
const macs = "ff:ff:ff:ff:ff:ff 01:80:c2:00:00:00 00:00:00:00:00:01 1-0-5e-0-0-5".split(" ");
/** The names are IANA's, and in every system's table. */
const ports = "22 53 80 179 443 500 4789 6081 \\53 0x35 domain ssh https 70000".split(" ");
/** Valid as ports and as protocol numbers. */
const smallNumbers = ["22", "53", "80", "0x35", "179"];
const ranges = ["1-1023", "500-5000", "1024-65535", "80-53", "0-65535", "ssh-https", "domain-ntp"];
const directions = ["src ", "dst ", "src or dst ", "src and dst ", "dst or src ", ""];
const loadable = "ether ip ip6 arp tcp udp icmp icmp6 igmp sctp link rarp vrrp pim".split(" ");
const binaries = "+ - * / % & | ^ << >>".split(" ");
const compares = "= == != < <= > >=".split(" ");

/**
 * Random expressions of pcap-filter(7), most of them valid for EN10MB: what libpcap refuses must be
 * refused here as well. Hardly any names of services and protocols, which depend on the system, and
 * no `inbound`, `ifindex` and `gateway`.
 */
export class ExpressionGenerator {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  next(): string {
    return this.#expression(3);
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #pick(list: readonly string[]): string {
    return list[this.#below(list.length)]!;
  }

  #expression(depth: number): string {
    let text = this.#term(depth);
    const more = this.#below(depth + 1);
    for (let i = 0; i < more; i++) {
      const follows = this.#below(12) === 0 ? this.#address() : this.#term(depth - 1);
      text += `${this.#pick([" and ", " or ", " && ", " || ", " and "])}${follows}`;
    }
    return text;
  }

  #term(depth: number): string {
    if (depth > 0 && this.#below(5) === 0) return `(${this.#expression(depth - 1)})`;
    if (this.#below(7) === 0) return `${this.#pick(["not ", "! ", "!"])}${this.#term(depth - 1)}`;
    switch (this.#below(12)) {
      case 0:
      case 1:
        return this.#pick(protocols);
      case 2:
      case 3:
        return this.#hosts();
      case 4:
      case 5:
        return this.#ports();
      case 6:
        return this.#protocolNumber();
      case 7:
        return this.#encapsulation();
      case 8:
        return this.#other();
      case 9:
        return `${this.#pick(["host", "port", "net", "tcp port", "ip host", "ether host"])} (${this.#address()} or ${this.#address()})`;
      default:
        return `${this.#arithmetic(2)} ${this.#pick(compares)} ${this.#arithmetic(1)}`;
    }
  }

  #address(): string {
    return this.#pick([...addresses, ...ip6Addresses, ...macs, ...smallNumbers, ...smallNumbers]);
  }

  #hosts(): string {
    const direction = this.#pick(directions);
    switch (this.#below(7)) {
      case 0:
        return `${this.#pick(["", "ip ", "arp ", "rarp ", "ip6 "])}${direction}host ${this.#pick(addresses)}`;
      case 1:
        return `${this.#pick(["", "ip ", "arp "])}${direction}net ${this.#pick(networks)}`;
      case 2:
        return `${direction}net ${this.#pick(masked)}`;
      case 3:
        return `${this.#pick(["", "ip6 "])}${direction}host ${this.#pick(ip6Addresses)}`;
      case 4:
        return `${this.#pick(["", "ip6 "])}${direction}net ${this.#pick(ip6Networks)}`;
      case 5:
        return `ether ${direction}host ${this.#pick(macs)}`;
      default:
        // In parentheses, so that no IP address follows it: libpcap reads any as a DECnet one.
        return `(decnet ${direction}host ${this.#below(64)}.${this.#below(1024)} and len > 0)`;
    }
  }

  #ports(): string {
    const protocol = this.#pick(["", "tcp ", "udp ", "sctp ", "", "icmp "]);
    const direction = this.#pick(directions);
    if (this.#below(3) === 0) return `${protocol}${direction}portrange ${this.#pick(ranges)}`;
    return `${protocol}${direction}port ${this.#pick(ports)}`;
  }

  #protocolNumber(): string {
    switch (this.#below(6)) {
      case 0:
        return `ether proto ${this.#pick(["0x800", "0x806", "0x86dd", "0x88cc", "0x42", "0xe0", "\\ip", "\\arp", "0x8847", "300", "70000"])}`;
      case 1:
        return `ip6 proto ${this.#below(300)}`;
      case 2:
        return `iso proto ${this.#pick(["0x82", "0x83", "\\isis", "0x81", "256"])}`;
      case 3:
        return `${this.#pick(["", "ip ", "ip6 "])}protochain ${this.#pick(["6", "17", "58", "50", "51", "256"])}`;
      default:
        return `${this.#pick(["", "ip "])}proto ${this.#pick(["1", "6", "17", "47", "50", "89", "103", "0", "4294967295"])}`;
    }
  }

  #encapsulation(): string {
    switch (this.#below(6)) {
      case 0:
      case 1:
        return this.#pick(["vlan", "vlan 1", "vlan 10", "vlan (5)", "vlan 1000"]);
      case 2:
        return this.#pick(["mpls", "mpls 16", "mpls 100000"]);
      case 3:
        return this.#pick(["pppoes", "pppoes 0x1", "pppoed", "pppoes 17"]);
      case 4:
        return this.#pick(["geneve", "geneve 1", "geneve 0xa"]);
      default:
        return this.#pick(["ether proto 0x8100", "udp port 6081"]);
    }
  }

  #other(): string {
    return this.#pick([
      "broadcast",
      "ip broadcast",
      "multicast",
      "ether broadcast",
      "ip multicast",
      "ip6 multicast",
      "ether multicast",
      `less ${this.#below(1500)}`,
      `greater ${this.#below(1500)}`,
      `byte ${this.#below(20)} ${this.#pick(["=", "<", ">"])} ${this.#below(256)}`,
      "llc",
      "llc i",
      "llc s",
      "llc u",
      "llc rr",
      "llc rnr",
      "llc ui",
      "llc xid",
    ]);
  }

  #arithmetic(depth: number): string {
    switch (this.#below(depth > 0 ? 8 : 5)) {
      case 0:
        return String(this.#below(this.#pick(["2", "300", "70000"]).length * 90));
      case 1:
        return this.#pick(["len", "0xff", "0x0f", "8", "tcpflags", "icmp-echo", "tcp-syn", "(4)"]);
      case 2:
      case 3:
      case 4: {
        const index = depth > 0 && this.#below(4) === 0 ? this.#arithmetic(0) : this.#below(40);
        return `${this.#pick(loadable)}[${index}${this.#pick(["", ":1", ":2", ":4"])}]`;
      }
      case 5:
        return `(${this.#arithmetic(depth - 1)} ${this.#pick(binaries)} ${this.#arithmetic(depth - 1)})`;
      case 6:
        return `-${this.#arithmetic(depth - 1)}`;
      default:
        return `${this.#arithmetic(depth - 1)} ${this.#pick(binaries)} ${this.#arithmetic(depth - 1)}`;
    }
  }
}
