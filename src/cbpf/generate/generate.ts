import { type Block, block, statement } from "../block.ts";
import type { Expression } from "../expression/ast.ts";
import { code } from "../opcode.ts";
import { relationTest } from "./arithmetic.ts";
import { Context, type GenerateOptions } from "./context.ts";
import { encapsulationTest } from "./encapsulation.ts";
import { etherType } from "./ether-types.ts";
import { and, type Fragment, finish, not, or } from "./fragment.ts";
import { linkTypeTest } from "./link-type-test.ts";
import { primitiveTest } from "./primitive.ts";
import { protocolTest } from "./protocol-test.ts";
import {
  broadcastTest,
  byteTest,
  directionTest,
  ifindexTest,
  lengthTest,
  llcTest,
  multicastTest,
} from "./standalone.ts";

export interface Generated {
  readonly root: Block;
  /** Loops and jumps inside blocks are in it. */
  readonly mustNotOptimise: boolean;
}

/** The blocks of an expression; of undefined, the empty one, which all packets match. */
export function generate(expression: Expression | undefined, options: GenerateOptions): Generated {
  if (expression === undefined)
    return { root: block([], code.returnK, options.snapLength), mustNotOptimise: false };
  const context = new Context(options);
  const fragment = expressionTest(context, expression);
  if (context.vlanRegisters.length > 0) clearOffsets(context.vlanRegisters, fragment.entry);
  const root = finish(fragment, options.snapLength);
  return { root, mustNotOptimise: context.mustNotOptimise };
}

/** Before a VLAN tag has been found in the frame, it moves nothing. */
function clearOffsets(registers: readonly number[], entry: Block): void {
  entry.statements.unshift(
    statement(code.loadImmediate, 0),
    ...registers.map((register) => statement(code.store, register)),
  );
}

/** From left to right, as the context changes on the way. */
function expressionTest(context: Context, expression: Expression): Fragment {
  switch (expression.kind) {
    case "sequence": {
      let result = expressionTest(context, expression.first);
      for (const { operator, operand } of expression.rest) {
        const next = expressionTest(context, operand);
        result = operator === "and" ? and(result, next) : or(result, next);
      }
      return result;
    }
    case "not":
      return not(expressionTest(context, expression.operand));
  }
  const term = termTest(context, expression);
  context.count(term.length);
  return term;
}

function termTest(
  context: Context,
  expression: Exclude<Expression, { kind: "sequence" | "not" }>,
): Fragment {
  if (expression.kind === "length") return lengthTest(expression.relation, expression.value);
  if (expression.kind === "byte")
    return byteTest(context, expression.offset, expression.operator, expression.value);
  context.at = expression.at;
  switch (expression.kind) {
    case "primitive":
      return primitiveTest(context, expression.qualifiers, expression.value);
    case "protocol":
      return protocolTest(context, expression.protocol);
    case "relation":
      return relationTest(context, expression.operator, expression.left, expression.right);
    case "broadcast":
      return broadcastTest(context, expression.protocol);
    case "multicast":
      return multicastTest(context, expression.protocol);
    case "direction":
      return directionTest(context, expression.outbound);
    case "ifindex":
      return ifindexTest(context, expression.value);
    case "encapsulation":
      return encapsulationTest(context, expression.header, expression.id);
    case "pppoe_discovery":
      return linkTypeTest(context, etherType.pppoeDiscovery);
    case "llc":
      return llcTest(context, expression.frame);
  }
}
