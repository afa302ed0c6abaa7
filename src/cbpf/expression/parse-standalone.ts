import type {
  ByteOperator,
  EncapsulationHeader,
  Expression,
  HeaderId,
  LlcFrame,
  Protocol,
} from "./ast.ts";
import { isProtocol } from "./parse-arithmetic.ts";
import { Refusal } from "./refusal.ts";
import type { Token, Word } from "./token.ts";
import type { TokenReader } from "./token-reader.ts";

const standaloneWords: ReadonlySet<Word> = new Set<Word>([
  "broadcast",
  "multicast",
  "less",
  "greater",
  "byte",
  "inbound",
  "outbound",
  "ifindex",
  "vlan",
  "mpls",
  "pppoed",
  "pppoes",
  "geneve",
  "llc",
]);

/** Whether a primitive begins that takes no address: `vlan 5`, `ip multicast`, `less 64`. */
export function beginsStandalone({ next, afterNext }: TokenReader): boolean {
  if (next.kind !== "word") return false;
  return standaloneWords.has(next.word) || (isProtocol(next.word) && isCast(afterNext));
}

function isCast(token: Token): boolean {
  return token.kind === "word" && (token.word === "broadcast" || token.word === "multicast");
}

export function parseStandalone(reader: TokenReader): Expression {
  const { at } = reader.next;
  let protocol: Protocol = "default";
  let token = reader.take() as Token & { kind: "word" };
  if (isProtocol(token.word)) {
    protocol = token.word;
    token = reader.take() as Token & { kind: "word" };
  }
  switch (token.word) {
    case "broadcast":
    case "multicast":
      return { kind: token.word, protocol, at };
    case "less":
    case "greater":
      return {
        kind: "length",
        relation: token.word,
        value: reader.expectNumber("a number of bytes"),
      };
    case "byte":
      return parseByte(reader);
    case "inbound":
    case "outbound":
      return { kind: "direction", outbound: token.word === "outbound", at };
    case "ifindex":
      return { kind: "ifindex", value: reader.expectNumber("an interface's number"), at };
    case "pppoed":
      return { kind: "pppoe_discovery", at };
    case "llc":
      return { kind: "llc", frame: parseLlc(reader), at };
    default:
      return {
        kind: "encapsulation",
        header: token.word as EncapsulationHeader,
        id: parseId(reader),
        at,
      };
  }
}

/** A number, perhaps in parentheses, or none. */
function parseId(reader: TokenReader): HeaderId | undefined {
  let open = 0;
  while (reader.takeSymbol("(")) open++;
  if (open === 0 && reader.next.kind !== "number") return undefined;
  const { at } = reader.next;
  const value = reader.expectNumber("a number");
  for (; open > 0; open--) reader.expectSymbol(")");
  return { value, at };
}

const byteOperators: ReadonlySet<string> = new Set<ByteOperator>(["=", "<", ">", "&", "|"]);

function parseByte(reader: TokenReader): Expression {
  const offset = reader.expectNumber("a byte's offset");
  const { next } = reader;
  if (next.kind !== "symbol" || !byteOperators.has(next.symbol))
    return reader.fail("one of = < > & |");
  reader.take();
  const value = reader.expectNumber("a number");
  return { kind: "byte", offset, operator: next.symbol as ByteOperator, value };
}

const llcFrames: ReadonlyMap<string, LlcFrame> = new Map<string, LlcFrame>([
  ["i", { kind: "information" }],
  ["s", { kind: "supervisory" }],
  ["u", { kind: "unnumbered" }],
  ["rr", { kind: "supervisory_type", value: 0x01 }],
  ["rnr", { kind: "supervisory_type", value: 0x05 }],
  ["rej", { kind: "supervisory_type", value: 0x09 }],
  ["ui", { kind: "unnumbered_type", value: 0x03 }],
  ["ua", { kind: "unnumbered_type", value: 0x63 }],
  ["disc", { kind: "unnumbered_type", value: 0x43 }],
  ["dm", { kind: "unnumbered_type", value: 0x0f }],
  ["sabme", { kind: "unnumbered_type", value: 0x6f }],
  ["test", { kind: "unnumbered_type", value: 0xe3 }],
  ["xid", { kind: "unnumbered_type", value: 0xaf }],
  ["frmr", { kind: "unnumbered_type", value: 0x87 }],
]);

function parseLlc(reader: TokenReader): LlcFrame {
  const { next } = reader;
  const isType = next.kind === "name" || (next.kind === "word" && next.word === "rnr");
  if (!isType) return { kind: "any" };
  const name = (next.kind === "name" ? next.name : "rnr").toLowerCase();
  const frame = llcFrames.get(name);
  if (frame === undefined)
    throw new Refusal(
      "EXPRESSION_VALUE",
      next.at,
      `${next.text.slice(0, 40)} is no kind of LLC frame`,
      `expected one of ${[...llcFrames.keys()].join(", ")}`,
    );
  reader.take();
  return frame;
}
