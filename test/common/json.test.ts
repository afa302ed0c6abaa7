import { expect, test } from "vitest";
import { parseJson } from "../../src/common/json.ts";

for (const { text, value } of [
  { text: "9007199254740991", value: 9007199254740991 },
  { text: "9007199254740993", value: "9007199254740993" },
  { text: "-9007199254740993", value: "-9007199254740993" },
  { text: '{"a":[18446744073709551615,1]}', value: { a: ["18446744073709551615", 1] } },
  { text: "1e300", value: 1e300 },
  { text: "0.5", value: 0.5 },
  { text: '"9007199254740993"', value: "9007199254740993" },
])
  test(`${text} is read as it is written`, () => {
    expect(parseJson(text)).toEqual(value);
  });

test("what is no JSON throws", () => {
  expect(() => parseJson("{")).toThrow(SyntaxError);
});
