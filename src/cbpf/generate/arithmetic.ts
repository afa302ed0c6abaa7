import { type Statement, statement } from "../block.ts";
import type { Arithmetic, ArithmeticOperator, RelationOperator } from "../expression/ast.ts";
import type { ProtocolWord } from "../expression/token.ts";
import { aluOp, code, jumpOp, opClass, size, source } from "../opcode.ts";
import type { Context } from "./context.ts";
import { and, type Fragment, not, test } from "./fragment.ts";
import { compare, ip6HeaderBytes, loadXHeaderLength, loadXOffset } from "./load.ts";
import { firstFragmentTest } from "./port-test.ts";
import { protocolTest } from "./protocol-test.ts";

/** Statements that leave a value in a scratch register, and what must hold for it to mean anything. */
interface Calculation {
  readonly statements: Statement[];
  readonly register: number;
  readonly condition: Fragment | undefined;
}

const relations: Readonly<
  Record<RelationOperator, { readonly operation: number; readonly negated: boolean }>
> = {
  "=": { operation: jumpOp.eq, negated: false },
  "!=": { operation: jumpOp.eq, negated: true },
  ">": { operation: jumpOp.gt, negated: false },
  "<=": { operation: jumpOp.gt, negated: true },
  ">=": { operation: jumpOp.ge, negated: false },
  "<": { operation: jumpOp.ge, negated: true },
};

/** Compares two values; false where a packet has not the headers that they are read from. */
export function relationTest(
  context: Context,
  operator: RelationOperator,
  left: Arithmetic,
  right: Arithmetic,
): Fragment {
  const first = calculate(context, left);
  const second = calculate(context, right);
  const { operation, negated } = relations[operator];
  const statements = append(first.statements, second.statements);
  statements.push(
    statement(code.loadXMemory, second.register),
    statement(code.loadMemory, first.register),
  );
  let comparison: Fragment;
  if (operation === jumpOp.eq) {
    statements.push(statement(opClass.alu | aluOp.sub | source.x));
    comparison = test(statements, code.jumpEqual, 0);
  } else comparison = test(statements, opClass.jump | operation | source.x, 0);
  if (negated) comparison = not(comparison);
  context.freeRegister(first.register);
  context.freeRegister(second.register);
  const condition = both(first.condition, second.condition);
  return condition === undefined ? comparison : and(condition, comparison);
}

function both(first: Fragment | undefined, second: Fragment | undefined): Fragment | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return and(first, second);
}

function append(to: Statement[], more: readonly Statement[]): Statement[] {
  for (const each of more) to.push(each);
  return to;
}

/** Left operands can be nested as deep as the text is long, so they are not walked by recursion. */
function calculate(context: Context, arithmetic: Arithmetic): Calculation {
  const chain: (Arithmetic & { kind: "binary" })[] = [];
  let leaf = arithmetic;
  for (; leaf.kind === "binary"; leaf = leaf.left) chain.push(leaf);
  let value = calculateLeaf(context, leaf);
  for (let node = chain.pop(); node !== undefined; node = chain.pop()) {
    const right = calculate(context, node.right);
    context.at = node.at;
    value = combine(context, node.operator, value, right);
  }
  return value;
}

function calculateLeaf(
  context: Context,
  arithmetic: Exclude<Arithmetic, { kind: "binary" }>,
): Calculation {
  context.at = arithmetic.at;
  switch (arithmetic.kind) {
    case "constant":
      return stored(context, statement(code.loadImmediate, arithmetic.value));
    case "length":
      return stored(context, statement(code.loadLength));
    case "negative": {
      const value = calculate(context, arithmetic.operand);
      value.statements.push(
        statement(code.loadMemory, value.register),
        statement(code.negate),
        statement(code.store, value.register),
      );
      return value;
    }
    case "load": {
      const index = calculate(context, arithmetic.index);
      context.at = arithmetic.at;
      return loadAt(context, arithmetic.protocol, index, arithmetic.size);
    }
  }
}

function stored(context: Context, first: Statement): Calculation {
  const register = context.allocateRegister();
  return {
    statements: [first, statement(code.store, register)],
    register,
    condition: undefined,
  };
}

const operations: Readonly<Record<ArithmeticOperator, number>> = {
  "+": aluOp.add,
  "-": aluOp.sub,
  "*": aluOp.mul,
  "/": aluOp.div,
  "%": aluOp.mod,
  "&": aluOp.and,
  "|": aluOp.or,
  "^": aluOp.xor,
  "<<": aluOp.lsh,
  ">>": aluOp.rsh,
};

function combine(
  context: Context,
  operator: ArithmeticOperator,
  left: Calculation,
  right: Calculation,
): Calculation {
  const begin = right.statements[0]!;
  if (begin.code === code.loadImmediate) {
    if ((operator === "/" || operator === "%") && begin.k === 0)
      context.refuse("EXPRESSION_VALUE", "division by zero");
    if ((operator === "<<" || operator === ">>") && begin.k > 31)
      context.refuse("EXPRESSION_VALUE", `a shift by ${begin.k} bits`, "at most 31 make sense");
  }
  const statements = append(left.statements, right.statements);
  statements.push(
    statement(code.loadXMemory, right.register),
    statement(code.loadMemory, left.register),
    statement(opClass.alu | operations[operator] | source.x),
  );
  context.freeRegister(left.register);
  context.freeRegister(right.register);
  const register = context.allocateRegister();
  statements.push(statement(code.store, register));
  // Libpcap forgets what the right operand asks for, so an operand that is not there reads as what
  // stands at its place.
  return { statements, register, condition: left.condition };
}

const loadSizes: ReadonlyMap<number, number> = new Map([
  [1, size.byte],
  [2, size.half],
  [4, size.word],
]);

/** `protocol[index:bytes]`. */
function loadAt(
  context: Context,
  protocol: ProtocolWord,
  index: Calculation,
  bytes: number,
): Calculation {
  const register = context.allocateRegister();
  context.freeRegister(index.register);
  const width = loadSizes.get(bytes)!;
  const { statements, condition } = index;
  const { linkHeader, linkPayload, network } = context;
  const loadIndexed = (k: number, offsetInX: readonly Statement[]): void => {
    append(statements, offsetInX);
    if (offsetInX.length === 0) statements.push(statement(code.loadXMemory, index.register));
    else
      statements.push(
        statement(code.loadMemory, index.register),
        statement(opClass.alu | aluOp.add | source.x),
        statement(code.tax),
      );
    statements.push(statement(code.loadIndirect | width, k), statement(code.store, register));
  };
  switch (protocol) {
    case "link":
      loadIndexed(linkHeader.constant, loadXOffset(linkHeader));
      return { statements, register, condition };
    case "ip":
    case "arp":
    case "rarp":
    case "atalk":
    case "decnet":
    case "sca":
    case "lat":
    case "moprc":
    case "mopdl":
    case "ip6":
      loadIndexed(linkPayload.constant + network, loadXOffset(linkPayload));
      return { statements, register, condition: both(condition, protocolTest(context, protocol)) };
    case "sctp":
    case "tcp":
    case "udp":
    case "icmp":
    case "igmp":
    case "igrp":
    case "pim":
    case "vrrp":
    case "carp": {
      loadIndexed(linkPayload.constant + network, loadXHeaderLength(context));
      const inFirst = and(protocolTest(context, protocol), firstFragmentTest(context));
      const overIp = and(protocolTest(context, "ip"), both(condition, inFirst)!);
      return { statements, register, condition: overIp };
    }
    case "icmp6": {
      const overIp6 = both(condition, protocolTest(context, "ip6"))!;
      const isIcmp6 = compare(context, "network", 6, size.byte, 58);
      loadIndexed(linkPayload.constant + network + ip6HeaderBytes, loadXOffset(linkPayload));
      return { statements, register, condition: and(overIp6, isIcmp6) };
    }
    default:
      return context.refuse(
        "EXPRESSION_MEANING",
        `the bytes of ${protocol} cannot be read`,
        "use ether, ip, ip6, arp, rarp, tcp, udp, sctp, icmp or icmp6, for example",
      );
  }
}
