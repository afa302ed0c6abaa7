import { closest } from "../../common/closest.ts";
import { parseDecnet, parseDotted } from "../expression/address.ts";
import type { Protocol, Qualifiers, Value } from "../expression/ast.ts";
import {
  findIpProtocol,
  findService,
  type Service,
  serviceNames,
  transportProtocols,
} from "../expression/names.ts";
import type { Ip6Address } from "../expression/token.ts";
import type { Context } from "./context.ts";
import { etherProtocolNames } from "./ether-types.ts";
import type { Fragment } from "./fragment.ts";
import { decnetTest, type Ip4Network, ip4Test, ip6Test, macTest } from "./host-test.ts";
import { type Ports, portTest } from "./port-test.ts";
import { protochainTest } from "./protochain.ts";
import { isoProtocol, protocolNumberTest } from "./protocol-test.ts";

/** An address, port or protocol with its qualifiers: `tcp dst port 80`. */
export function primitiveTest(context: Context, qualifiers: Qualifiers, value: Value): Fragment {
  if (qualifiers.type === "gateway")
    return context.refuse(
      "EXPRESSION_MEANING",
      "gateway needs a name that is looked up, and nothing is looked up",
      "say it by addresses: ether host 00:00:5e:00:53:01 and not host 192.0.2.1",
    );
  switch (value.kind) {
    case "name":
      return nameTest(context, qualifiers, value.name);
    case "number":
      return numberTest(context, qualifiers, value.value);
    case "dotted":
      return dottedTest(context, qualifiers, value.text);
    case "prefix":
    case "masked":
      return networkTest(context, qualifiers, value);
    case "ip6":
      return ip6NetworkTest(context, qualifiers, value);
    case "mac":
      if (qualifiers.protocol !== "link" || !isHost(qualifiers))
        return context.refuse(
          "EXPRESSION_MEANING",
          "a hardware address goes with ether only",
          "put ether host, ether src or ether dst before it",
        );
      return macTest(context, value.address, qualifiers.direction);
  }
}

function isHost({ type }: Qualifiers): boolean {
  return type === "host" || type === "default";
}

/** What addresses alone cannot be: `host`, `net`, or nothing may stand before them. */
function requireAddressType(context: Context, { type }: Qualifiers, what: string): void {
  if (type !== "host" && type !== "default" && type !== "net")
    context.refuse("EXPRESSION_MEANING", `${type} does not go with ${what}`, "use host or net");
}

function nameTest(context: Context, qualifiers: Qualifiers, name: string): Fragment {
  const { protocol, direction, type } = qualifiers;
  switch (type) {
    case "port": {
      const { port, over } = service(context, name, protocol);
      return portTest(context, { kind: "port", port }, over, direction);
    }
    case "portrange":
      return rangeTest(context, qualifiers, name);
    case "proto":
      return protocolNumberTest(context, protocolNumber(context, protocol, name), protocol);
    case "protochain":
      return protochainTest(context, protocolNumber(context, protocol, name), protocol);
    default: {
      const dotted = /^\d+\.\d+\.\d+\.\d+$/.test(name) ? parseDotted(name) : undefined;
      if (dotted === undefined || type === "net" || protocol === "link" || protocol === "decnet")
        return context.refuse(
          "EXPRESSION_VALUE",
          `"${name.slice(0, 60)}" is no address, and names are not looked up`,
          "write the address itself",
        );
      const network = { address: dotted.value, mask: 0xffff_ffff };
      // As in libpcap, which takes this way for names: RAW frames hold no ARP.
      const within = protocol === "default" && context.linkTypeField === undefined;
      return ip4Test(context, network, within ? "ip" : protocol, direction);
    }
  }
}

const transports: ReadonlyMap<Protocol, number> = new Map<Protocol, number>(
  Object.entries(transportProtocols) as [Protocol, number][],
);

/** The transport protocol that a qualifier of ports names, or undefined for all. */
function transportOf(context: Context, protocol: Protocol): number | undefined {
  const number = transports.get(protocol);
  if (number === undefined && protocol !== "default")
    context.refuse("EXPRESSION_MEANING", `${protocol} has no ports`, "use tcp, udp or sctp");
  return number;
}

/** A named port, with the transport protocol that the qualifier or else the name asks for. */
function service(
  context: Context,
  name: string,
  protocol: Protocol,
): { port: number; over: number | undefined } {
  const { port, protocol: own } = knownService(context, name);
  return { port, over: qualified(context, name, protocol, own) };
}

function knownService(context: Context, name: string): Service {
  const found = findService(name);
  if (found === undefined)
    return context.refuse(
      "EXPRESSION_VALUE",
      `"${name.slice(0, 60)}" is no port known by name`,
      /^\d+-\d+$/.test(name) ? "put portrange before a range" : nearService(name),
    );
  checkedPort(context, found.port);
  return found;
}

function nearService(name: string): string {
  const near = closest(name, serviceNames());
  return near === undefined ? "write its number" : `did you mean ${near}? or write its number`;
}

/** The transport protocol of named ports: that of the qualifier, unless they have another one. */
function qualified(
  context: Context,
  name: string,
  protocol: Protocol,
  own: number | undefined,
): number | undefined {
  const over = transportOf(context, protocol);
  if (over !== undefined && own !== undefined && over !== own)
    return context.refuse(
      "EXPRESSION_VALUE",
      `${name.slice(0, 60)} is not a port of ${protocol}`,
      "leave the protocol out, or write the number",
    );
  return over ?? own;
}

function checkedPort(context: Context, port: number): number {
  if (port > 0xffff) context.refuse("EXPRESSION_VALUE", `port ${port}`, "ports go up to 65535");
  return port;
}

/** `1024-65535`, or names of ports. */
function rangeTest(context: Context, { protocol, direction }: Qualifiers, name: string): Fragment {
  const numbers = /^(\d{1,9})-(\d{1,9})(?!\d)/.exec(name);
  let ports: Ports;
  let over = transportOf(context, protocol);
  if (numbers !== null) {
    const first = checkedPort(context, Number(numbers[1]));
    ports = { kind: "range", first, last: checkedPort(context, Number(numbers[2])) };
  } else {
    const dash = name.indexOf("-");
    if (dash < 0)
      return context.refuse(
        "EXPRESSION_VALUE",
        `"${name.slice(0, 60)}" is no range of ports`,
        "expected two numbers: 1024-65535",
      );
    const first = knownService(context, name.slice(0, dash));
    const last = knownService(context, name.slice(dash + 1));
    ports = { kind: "range", first: first.port, last: last.port };
    // Of two names only what both say counts.
    const own = first.protocol === last.protocol ? first.protocol : undefined;
    over = qualified(context, name, protocol, own);
  }
  return portTest(context, ports, over, direction);
}

const isoNames: ReadonlyMap<string, number> = new Map(Object.entries(isoProtocol));

function protocolNumber(context: Context, around: Protocol, name: string): number {
  let number: number | undefined;
  if (around === "default" || around === "ip" || around === "ip6") number = findIpProtocol(name);
  else if (around === "link") number = etherProtocolNames.get(name);
  else if (around === "iso") number = isoNames.get(name);
  return (
    number ??
    context.refuse(
      "EXPRESSION_VALUE",
      `"${name.slice(0, 60)}" is no protocol known by name`,
      "write its number",
    )
  );
}

function numberTest(context: Context, qualifiers: Qualifiers, value: number): Fragment {
  const { protocol, direction, type } = qualifiers;
  switch (type) {
    case "port": {
      const over = transportOf(context, protocol);
      return portTest(
        context,
        { kind: "port", port: checkedPort(context, value) },
        over,
        direction,
      );
    }
    case "portrange": {
      const over = transportOf(context, protocol);
      const port = checkedPort(context, value);
      return portTest(context, { kind: "range", first: port, last: port }, over, direction);
    }
    case "proto":
      return protocolNumberTest(context, value, protocol);
    case "protochain":
      return protochainTest(context, value, protocol);
    default: {
      if (protocol === "decnet") return decnetTest(context, value & 0xffff, direction);
      const network = type === "net" ? shortNetwork(value) : { address: value, mask: 0xffff_ffff };
      return addressTest(context, qualifiers, network);
    }
  }
}

/** `net 10` is 10.0.0.0/8, `net 0x0a01` 10.1.0.0/16. */
function shortNetwork(value: number): Ip4Network {
  let address = value;
  let mask = 0xffff_ffff;
  while (address !== 0 && address < 0x100_0000) {
    address = (address << 8) >>> 0;
    mask = (mask << 8) >>> 0;
  }
  return { address, mask };
}

function addressTest(context: Context, qualifiers: Qualifiers, network: Ip4Network): Fragment {
  if (qualifiers.protocol === "link")
    return context.refuse(
      "EXPRESSION_MEANING",
      "ether goes with hardware addresses, not with IP addresses",
      "use ip, arp, rarp, or no protocol",
    );
  return ip4Test(context, network, qualifiers.protocol, qualifiers.direction);
}

function dottedTest(context: Context, qualifiers: Qualifiers, text: string): Fragment {
  requireAddressType(context, qualifiers, "an address");
  if (qualifiers.protocol === "decnet") {
    if (qualifiers.type === "net")
      return context.refuse("EXPRESSION_MEANING", "DECnet has no networks", "use decnet host");
    const node = parseDecnet(text);
    if (node === undefined)
      return context.refuse("EXPRESSION_VALUE", `${text.slice(0, 60)} is no DECnet address`);
    return decnetTest(context, node, qualifiers.direction);
  }
  const { value, bits } = dotted(context, text);
  const mask = prefixMask(bits);
  return addressTest(context, qualifiers, { address: leftAligned(value, bits), mask });
}

function dotted(context: Context, text: string): { value: number; bits: number } {
  return (
    parseDotted(text) ??
    context.refuse(
      "EXPRESSION_VALUE",
      `${text.slice(0, 60)} is no IPv4 address`,
      "expected numbers from 0 to 255 with dots between",
    )
  );
}

function leftAligned(value: number, bits: number): number {
  return (value << (32 - bits)) >>> 0;
}

function prefixMask(bits: number): number {
  return bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0;
}

function networkTest(
  context: Context,
  qualifiers: Qualifiers,
  value: Value & { kind: "prefix" | "masked" },
): Fragment {
  const { at } = context;
  const { value: number, bits } = dotted(context, value.text);
  const address = leftAligned(number, bits);
  let mask: number;
  if (value.kind === "masked") {
    context.at = value.maskAt;
    const written = dotted(context, value.mask);
    context.at = at;
    mask = leftAligned(written.value, written.bits);
  } else {
    if (value.bits > 32) return refusePrefix(context, value, 32);
    mask = prefixMask(value.bits);
  }
  if (qualifiers.type !== "net")
    return context.refuse(
      "EXPRESSION_MEANING",
      `a mask goes with net, not with ${qualifiers.type === "default" ? "a host" : qualifiers.type}`,
      "put net before it",
    );
  if ((address & ~mask) !== 0)
    return context.refuse(
      "EXPRESSION_VALUE",
      `${value.text} has bits outside the mask`,
      "make them zero",
    );
  if (qualifiers.protocol === "decnet")
    return context.refuse("EXPRESSION_MEANING", "DECnet addresses have no mask");
  return addressTest(context, qualifiers, { address, mask });
}

function refusePrefix(
  context: Context,
  { bits, bitsAt }: { readonly bits: number; readonly bitsAt: number },
  most: number,
): never {
  context.at = bitsAt;
  return context.refuse("EXPRESSION_VALUE", `prefix length ${bits}`, `at most ${most}`);
}

function ip6NetworkTest(
  context: Context,
  qualifiers: Qualifiers,
  value: Value & { kind: "ip6" },
): Fragment {
  const { text, address, bits } = value;
  if (bits > 128) return refusePrefix(context, value, 128);
  const maskWord = (i: number): number => prefixMask(Math.min(Math.max(bits - i * 32, 0), 32));
  const mask: Ip6Address = [maskWord(0), maskWord(1), maskWord(2), maskWord(3)];
  if (address.some((word, i) => (word & ~mask[i]!) !== 0))
    return context.refuse(
      "EXPRESSION_VALUE",
      `${text} has bits outside the mask`,
      "make them zero",
    );
  requireAddressType(context, qualifiers, "an IPv6 address");
  if (qualifiers.type !== "net" && bits !== 128)
    return context.refuse("EXPRESSION_MEANING", "a mask goes with net", "put net before it");
  return ip6Test(context, { address, mask }, qualifiers.protocol, qualifiers.direction);
}
