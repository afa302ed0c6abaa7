import type { Statement } from "../block.ts";
import type { Protocol } from "../expression/ast.ts";
import { aluOp, code, opClass, size, source } from "../opcode.ts";
import type { Context } from "./context.ts";
import { etherType } from "./ether-types.ts";
import { and, type Fragment, or, test } from "./fragment.ts";
import { linkTypeTest } from "./link-type-test.ts";
import { ip6HeaderBytes } from "./load.ts";
import { header, unrolledChain } from "./unrolled-chain.ts";

/** A statement with names for places in the block. */
interface Line {
  readonly label?: string;
  readonly code: number;
  readonly k?: number;
  /** Where a test goes if it holds, and if not; where `ja` goes is `to`. */
  readonly to?: string;
  readonly otherwise?: string;
}

/**
 * Walks the chain of extension and authentication headers until `number` is found: a loop, with
 * jumps backwards, inside one block. The kernel refuses such programs; libpcap runs them.
 */
export function protochainTest(context: Context, number: number, protocol: Protocol): Fragment {
  if (protocol === "default") {
    const inIp = protochainTest(context, number, "ip");
    return or(inIp, protochainTest(context, number, "ip6"));
  }
  if (protocol !== "ip" && protocol !== "ip6")
    return context.refuse(
      "EXPRESSION_MEANING",
      `${protocol} has no chain of headers`,
      "use protochain with ip, ip6, or without a protocol",
    );
  if (context.linkPayload.register !== undefined)
    return context.refuse(
      "EXPRESSION_MEANING",
      "protochain cannot follow headers of variable length",
    );
  context.mustNotOptimise = true;
  const scratch = context.allocateRegister();
  const network = context.linkPayload.constant + context.network;
  const isIp = linkTypeTest(context, protocol === "ip" ? etherType.ip : etherType.ip6);
  context.freeRegister(scratch);
  const { maxChainedHeaders } = context.options;
  if (maxChainedHeaders !== undefined)
    return and(isIp, unrolledChain(number, protocol, network, scratch, maxChainedHeaders));
  const walk = protocol === "ip" ? walkIp4(network) : walkIp6(network, scratch);
  const lines = walk(number, authentication(network, scratch));
  return and(isIp, test(resolve(lines), code.jumpEqual, number));
}

type Walk = (number: number, tail: readonly Line[]) => readonly Line[];

const loadByte = code.loadAbsolute | size.byte;
const loadNextByte = code.loadIndirect | size.byte;
const addK = opClass.alu | aluOp.add;
const mulK = opClass.alu | aluOp.mul;

/** A holds a protocol number, X the offset of its header from the IP header. */
function walkIp4(network: number): Walk {
  return (number, tail) => [
    { code: loadByte, k: network + 9 },
    { code: code.loadXHeaderLength, k: network },
    { label: "again", code: code.jumpEqual, k: number, to: "end", otherwise: "is none" },
    { label: "is none", code: code.jumpEqual, k: header.none, to: "end", otherwise: "other" },
    { label: "other", code: addK, k: 0 },
    ...tail,
  ];
}

function walkIp6(network: number, scratch: number): Walk {
  return (number, tail) => [
    { code: loadByte, k: network + 6 },
    { code: code.loadXImmediate, k: ip6HeaderBytes },
    { label: "again", code: code.jumpEqual, k: number, to: "end", otherwise: "is none" },
    { label: "is none", code: code.jumpEqual, k: header.none, to: "end", otherwise: "hop" },
    { label: "hop", code: code.jumpEqual, k: header.hopByHop, to: "skip", otherwise: "dst" },
    { label: "dst", code: code.jumpEqual, k: header.destination, to: "skip", otherwise: "route" },
    { label: "route", code: code.jumpEqual, k: header.routing, to: "skip", otherwise: "frag" },
    { label: "frag", code: code.jumpEqual, k: header.fragment, to: "skip", otherwise: "ah" },
    { label: "skip", code: loadNextByte, k: network },
    { code: code.store, k: scratch },
    { code: loadNextByte, k: network + 1 },
    { code: addK, k: 1 },
    { code: mulK, k: 8 },
    { code: addK | source.x },
    { code: code.tax },
    { code: code.loadMemory, k: scratch },
    { code: code.jumpAlways, to: "again" },
    ...tail,
  ];
}

/** Goes over an authentication header, RFC 4302 §2, or ends with any other. */
function authentication(network: number, scratch: number): readonly Line[] {
  return [
    {
      label: "ah",
      code: code.jumpEqual,
      k: header.authentication,
      to: "over ah",
      otherwise: "end",
    },
    { label: "over ah", code: code.txa },
    { code: loadNextByte, k: network },
    { code: code.store, k: scratch },
    { code: code.txa },
    { code: addK, k: 1 },
    { code: code.tax },
    { code: loadNextByte, k: network },
    { code: addK, k: 2 },
    { code: mulK, k: 4 },
    { code: code.tax },
    { code: code.loadMemory, k: scratch },
    { code: code.jumpAlways, to: "again" },
    { label: "end", code: addK, k: 0 },
  ];
}

function resolve(lines: readonly Line[]): Statement[] {
  const places = new Map(
    lines.flatMap(({ label }, i) => (label === undefined ? [] : [[label, i] as const])),
  );
  return lines.map(({ code: operation, k = 0, to, otherwise }, i): Statement => {
    const skip = (label: string): number => places.get(label)! - i - 1;
    if (to === undefined) return { code: operation, k: k >>> 0 };
    if (otherwise === undefined) return { code: operation, k: skip(to) >>> 0 };
    return { code: operation, k, jt: skip(to), jf: skip(otherwise) };
  });
}
