import { FrameView } from "./frame-view.ts";
import { ipProtocols } from "./ip-protocol.ts";
import { tcpFlags } from "./tcp.ts";

const flagLetters: readonly (readonly [number, string])[] = [
  [tcpFlags.fin, "F"],
  [tcpFlags.syn, "S"],
  [tcpFlags.rst, "R"],
  [tcpFlags.psh, "P"],
  [tcpFlags.ack, "."],
  [tcpFlags.urg, "U"],
];

/**
 * A frame in one line, in the manner of tcpdump: `IP 192.0.2.1.1234 > 192.0.2.2.53: UDP, length 40`.
 * What cannot be read says why.
 */
export function packetLine(frame: Uint8Array): string {
  const view = new FrameView();
  const problem = view.bind(frame, 0, frame.length);
  if (problem !== undefined) return `[${problem}], length ${frame.length}`;
  if (view.version === 0)
    return `ethertype 0x${view.etherType.toString(16).padStart(4, "0")}, length ${frame.length}`;
  const name = view.version === 4 ? "IP" : "IP6";
  const { protocol, isFragment, sourcePort, destinationPort } = view;
  const length = `length ${view.payloadLength}`;
  const addresses = (from: string, to: string): string =>
    `${name} ${view.sourceAddress()}${from} > ${view.destinationAddress()}${to}:`;
  if (isFragment) return `${addresses("", "")} fragment, protocol ${protocol}, ${length}`;
  const ends = addresses(`.${sourcePort}`, `.${destinationPort}`);
  if (protocol === ipProtocols.udp) return `${ends} UDP, ${length}`;
  if (protocol === ipProtocols.tcp) {
    const flags = flagLetters.filter(([bit]) => (view.tcpFlags & bit) !== 0);
    return `${ends} Flags [${flags.map(([, letter]) => letter).join("") || "none"}], ${length}`;
  }
  const protocolName =
    protocol === ipProtocols.icmp
      ? "ICMP"
      : protocol === ipProtocols.icmpv6
        ? "ICMP6"
        : `protocol ${protocol}`;
  return `${addresses("", "")} ${protocolName}, ${length}`;
}
