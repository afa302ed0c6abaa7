import { type Statement, statement } from "../block.ts";
import { transportProtocols } from "../expression/names.ts";
import { aluOp, code, opClass, size, source } from "../opcode.ts";
import type { Context } from "./context.ts";
import { etherType } from "./ether-types.ts";
import { and, type Fragment, or, test } from "./fragment.ts";
import { type Base, compare, ip6HeaderBytes, loadXHeaderLength, loadXOffset } from "./load.ts";
import { ip4PortTest, ip6PortTest } from "./port-test.ts";

/** UDP's port for GENEVE. RFC 8926 §3.3. */
const genevePort = 6081;
const udpHeaderBytes = 8;

/**
 * UDP packets to GENEVE's port, of its version 0, perhaps of one network. What stands to the right
 * in the expression is about the packet inside. Its place depends on the outer IP header and on
 * GENEVE's options, so it is computed as the filter runs, into three scratch registers.
 */
export function geneveTest(context: Context, network: number | undefined): Fragment {
  const overIp = and(geneveHeaderTest(context, "transport", network), ip4HeaderInX(context));
  const overIp6 = and(geneveHeaderTest(context, "transport6", network), ip6HeaderInX(context));
  const isGeneve = or(overIp, overIp6);
  const offsets = computeOffsets(context);
  offsets.push(statement(code.loadImmediate, 0));
  const result = and(isGeneve, test(offsets, code.jumpEqual, 0));
  context.insideGeneve = true;
  return result;
}

function geneveHeaderTest(
  context: Context,
  base: Base & ("transport" | "transport6"),
  network: number | undefined,
): Fragment {
  const portTest = base === "transport" ? ip4PortTest : ip6PortTest;
  const ports = { kind: "port", port: genevePort } as const;
  const toPort = portTest(context, ports, transportProtocols.udp, "dst");
  const version = compare(context, base, udpHeaderBytes, size.byte, 0, { mask: 0xc0 });
  const isGeneve = and(toPort, version);
  if (network === undefined) return isGeneve;
  const value = network << 8;
  const isNetwork = compare(context, base, udpHeaderBytes + 4, size.word, value, {
    mask: 0xffff_ff00,
  });
  return and(isGeneve, isNetwork);
}

/** Tests that are always true: they leave in A and X where the UDP header is. */
function ip4HeaderInX(context: Context): Fragment {
  const statements = [...loadXHeaderLength(context), statement(code.txa)];
  return test(statements, code.jumpEqual | source.x, 0);
}

function ip6HeaderInX(context: Context): Fragment {
  const variable = loadXOffset(context.linkPayload);
  const statements = [...variable, statement(code.loadImmediate, ip6HeaderBytes)];
  if (variable.length > 0) statements.push(statement(opClass.alu | aluOp.add | source.x));
  statements.push(statement(code.tax));
  return test(statements, code.jumpEqual | source.x, 0);
}

const addK = opClass.alu | aluOp.add;

function computeOffsets(context: Context): Statement[] {
  // The protocol field is 2 bytes into the GENEVE header, RFC 8926 §3.4.
  const typeRegister = context.allocateRegister();
  const linkRegister = context.allocateRegister();
  const payloadRegister = context.allocateRegister();
  const ethernetHeader: Statement[] = [
    statement(code.txa),
    statement(addK, 12),
    statement(code.store, typeRegister),
    statement(addK, 2),
    statement(code.tax),
  ];
  const statements: Statement[] = [
    statement(addK, context.linkPayload.constant + context.network + udpHeaderBytes),
    statement(code.tax),
    statement(addK, 2),
    statement(code.store, typeRegister),
    // Six bits: the length of the options in words.
    statement(code.loadIndirect | size.byte, 0),
    statement(opClass.alu | aluOp.and, 0x3f),
    statement(opClass.alu | aluOp.mul, 4),
    statement(addK, 8),
    statement(addK | source.x),
    statement(code.store, linkRegister),
    statement(code.loadIndirect | size.half, 2),
    statement(code.loadXMemory, linkRegister),
    { code: code.jumpEqual, k: etherType.ethernet, jt: 0, jf: ethernetHeader.length },
    ...ethernetHeader,
    statement(code.storeX, payloadRegister),
  ];
  context.linkType = "EN10MB";
  context.linkTypeField = { constant: 0, register: typeRegister };
  context.linkHeader = { constant: 0, register: linkRegister };
  context.linkPayload = { constant: 0, register: payloadRegister };
  context.network = 0;
  context.mustNotOptimise = true;
  return statements;
}
