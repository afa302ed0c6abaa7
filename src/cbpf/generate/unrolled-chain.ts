import { type Statement, statement } from "../block.ts";
import { aluOp, code, opClass, size, source } from "../opcode.ts";
import { and, choose, type Fragment, not, or, test } from "./fragment.ts";
import { ip6HeaderBytes } from "./load.ts";

/** IP's numbers of the headers that a chain is made of. IANA, "Protocol Numbers". */
export const header = {
  hopByHop: 0,
  routing: 43,
  fragment: 44,
  authentication: 51,
  none: 59,
  destination: 60,
} as const;

const loadByte = code.loadAbsolute | size.byte;
const loadNextByte = code.loadIndirect | size.byte;
const addK = opClass.alu | aluOp.add;
const mulK = opClass.alu | aluOp.mul;

/**
 * The walk of protochain.ts with one copy of its body for each header, and so without a loop: of a
 * longer chain, the rest is not looked at. `network` is where the IP header starts, `scratch` a
 * register. A holds a protocol number all the way, X the offset of its header from the IP header.
 */
export function unrolledChain(
  number: number,
  protocol: "ip" | "ip6",
  network: number,
  scratch: number,
  maxHeaders: number,
): Fragment {
  const is = (value: number): Fragment => test([], code.jumpEqual, value);
  const isWanted = (statements: Statement[]): Fragment => test(statements, code.jumpEqual, number);
  const overAh = (): Fragment => isWanted(overAuthentication(network, scratch));
  const overExtension = (): Fragment => isWanted(overExtensionHeader(network, scratch));
  const isExtension = (): Fragment =>
    or(
      or(is(header.hopByHop), is(header.destination)),
      or(is(header.routing), is(header.fragment)),
    );
  let rest: Fragment | undefined;
  for (let i = 0; i < maxHeaders; i++) {
    const known =
      protocol === "ip" ? is(header.authentication) : or(isExtension(), is(header.authentication));
    const next =
      protocol === "ip" ? overAh() : choose(is(header.authentication), overAh(), overExtension());
    const found = rest === undefined ? next : or(next, rest);
    rest = and(not(is(header.none)), and(known, found));
  }
  const first = isWanted(protocol === "ip" ? firstIp4(network) : firstIp6(network));
  return rest === undefined ? first : or(first, rest);
}

function firstIp4(network: number): Statement[] {
  return [statement(loadByte, network + 9), statement(code.loadXHeaderLength, network)];
}

function firstIp6(network: number): Statement[] {
  return [statement(loadByte, network + 6), statement(code.loadXImmediate, ip6HeaderBytes)];
}

/** Next header, then the length in 8 bytes without the first 8. RFC 8200 §4. */
function overExtensionHeader(network: number, scratch: number): Statement[] {
  return [
    statement(loadNextByte, network),
    statement(code.store, scratch),
    statement(loadNextByte, network + 1),
    statement(addK, 1),
    statement(mulK, 8),
    statement(addK | source.x),
    statement(code.tax),
    statement(code.loadMemory, scratch),
  ];
}

/** Next header, then the length in 4 bytes without the first 8, from the packet's start as in libpcap. */
function overAuthentication(network: number, scratch: number): Statement[] {
  return [
    statement(loadNextByte, network),
    statement(code.store, scratch),
    statement(code.txa),
    statement(addK, 1),
    statement(code.tax),
    statement(loadNextByte, network),
    statement(addK, 2),
    statement(mulK, 4),
    statement(code.tax),
    statement(code.loadMemory, scratch),
  ];
}
