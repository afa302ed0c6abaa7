import { expect, test } from "vitest";
import { compileExpression } from "../../src/cbpf/compile-expression.ts";
import { linkTypes } from "../../src/cbpf/link-type.ts";
import { ExpressionGenerator, seeded } from "./expression-generator.ts";

function list(count: number, item: (i: number) => string, separator: string): string {
  return Array.from({ length: count }, (_, i) => item(i)).join(separator);
}

const address = (i: number): string => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`;

/** What must be refused, and what compiles, however long or deep it is. */
const cases: readonly (readonly [string, string, boolean])[] = [
  ["10,000 hosts", list(10_000, (i) => `host ${address(i)}`, " or "), true],
  ["12,000 hosts", list(12_000, (i) => `host ${address(i)}`, " or "), false],
  ["200,000 ports", `port ${list(200_000, (i) => `${i % 10}`, " or ")}`, false],
  ["90,000 protocols in parentheses", `(${list(90_000, () => "tcp", ") or (")})`, false],
  ["2,000 addresses after one qualifier", `dst host ${list(2000, address, " or ")}`, true],
  ["2,000 refusals", list(2000, (i) => `not net 10.${i >> 8}.${i & 255}.0/24`, " and "), true],
  ["a long sum", `1${"+1".repeat(10_000)} = len`, true],
  ["a long product of loads", `${list(1000, (i) => `ip[${i}]`, "*")} = 1`, true],
  ["many VLAN tags", list(500, (i) => `vlan ${i}`, " and "), true],
  ["deep parentheses", `${"(".repeat(100_000)}ip${")".repeat(100_000)}`, false],
  ["many negations", `${"not ".repeat(100_000)}ip`, false],
  ["deep indices", `${"ip[".repeat(50_000)}0${"]".repeat(50_000)} = 1`, false],
  ["operands to the right", `1${"%1".repeat(50_000)} = len`, false],
  ["nested GENEVE", list(50, () => "geneve", " and "), false],
  ["NUL bytes", "\0".repeat(100_000), false],
  ["a long number", `len > ${"9".repeat(100_000)}`, false],
  ["a long hexadecimal number", `len > 0x${"f".repeat(100_000)}`, false],
  ["colons", ":".repeat(100_000), false],
  ["half hardware addresses", "1:".repeat(100_000), false],
  ["dots", `host ${"1.".repeat(100_000)}`, false],
  ["dashes", `host a${"-".repeat(100_000)}`, false],
  ["two million letters", "a".repeat(2_000_000), false],
  ["lone surrogates", "host \ud800 or \udfff", false],
];

for (const [name, text, compiles] of cases)
  test(`${name} ${compiles ? "compile" : "are refused"} without end of stack or memory`, () => {
    const compiled = compileExpression(text, { linkType: "EN10MB" });
    expect(compiled.ok).toBe(compiles);
    if (!compiled.ok) expect(compiled.error.message.length).toBeLessThan(300);
  }, 60_000);

test("any bytes and any mutation of an expression give a program or an error", () => {
  const generator = new ExpressionGenerator(5);
  const random = seeded(6);
  const below = (n: number): number => Math.floor(random() * n);
  const pieces =
    "( ) [ ] ! not and or host 1 :: fe80:: / mask 0x 1.2 \\ $ & < << = len - % ^".split(" ");
  const outcomes = { compiled: 0, refused: 0 };
  for (let i = 0; i < 6000; i++) {
    let text = generator.next();
    if (i % 3 === 0) text = String.fromCharCode(...Array.from({ length: 40 }, () => below(160)));
    for (let change = below(4); change > 0; change--) {
      const at = below(text.length + 1);
      const piece = pieces[below(pieces.length)]!;
      text =
        text.slice(0, at) + (below(2) === 0 ? ` ${piece} ` : piece) + text.slice(at + below(4));
    }
    const linkType = linkTypes[below(linkTypes.length)]!;
    const compiled = compileExpression(text, { linkType, linuxExtensions: below(2) === 0 });
    if (compiled.ok) outcomes.compiled++;
    else {
      outcomes.refused++;
      const column = Number(/column (\d+)$/.exec(compiled.error.where)?.[1]);
      if (!(column >= 1 && column <= text.length + 1)) expect.fail(JSON.stringify(text));
    }
  }
  expect(outcomes.compiled).toBeGreaterThan(300);
  expect(outcomes.refused).toBeGreaterThan(3000);
});
