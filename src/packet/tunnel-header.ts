import { u8, u16be } from "../common/bytes.ts";
import { etherTypes } from "./ethernet.ts";
import { GeneveOptions, gatewayLoadBalancerOptions, geneveHeaderBytes } from "./geneve.ts";

/** What encloses frames in datagrams: RFC 7348, RFC 8926. */
export const tunnelProtocols = ["vxlan", "geneve"] as const;
export type TunnelProtocol = (typeof tunnelProtocols)[number];

/** What a tunnel's header says beside the network's number, for people to read. */
export interface TunnelHeader {
  /** VXLAN's first byte (RFC 7348 §5), GENEVE's second (RFC 8926 §3.4). */
  readonly flags: number;
  /** EtherType of what follows; 0x6558: an Ethernet frame. */
  readonly etherType: number;
  /** GENEVE's, in their order. */
  readonly options: readonly TunnelOption[];
}

export interface TunnelOption {
  readonly optionClass: number;
  /** With the critical bit. */
  readonly type: number;
  /** Of an option that is known by one. */
  readonly name: string | undefined;
  readonly data: Uint8Array;
}

const { optionClass: awsClass, ...awsTypes } = gatewayLoadBalancerOptions;
const awsNames = new Map<number, string>([
  [awsTypes.endpointId, "endpoint id"],
  [awsTypes.attachmentId, "attachment id"],
  [awsTypes.flowCookie, "flow cookie"],
]);

/** Reads a header of at least 8 bytes that was found to be sound, to its end. */
export function readTunnelHeader(protocol: TunnelProtocol, header: Uint8Array): TunnelHeader {
  if (protocol === "vxlan")
    return { flags: u8(header, 0), etherType: etherTypes.ethernetBridging, options: [] };
  const walk = new GeneveOptions();
  walk.bind(header, geneveHeaderBytes, header.length);
  const options: TunnelOption[] = [];
  while (walk.next()) {
    const { optionClass, type, dataAt, dataBytes } = walk;
    const name = optionClass === awsClass ? awsNames.get(type) : undefined;
    options.push({ optionClass, type, name, data: header.slice(dataAt, dataAt + dataBytes) });
  }
  return { flags: u8(header, 1), etherType: u16be(header, 2), options };
}
