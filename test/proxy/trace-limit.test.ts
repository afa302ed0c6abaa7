import { expect, test } from "vitest";
import { limitTrace } from "../../src/proxy/trace-limit.ts";

test("a program's prints are passed on up to 20 a second, and what was left out is told", () => {
  const lines: string[] = [];
  let nowMs = 5_000;
  const trace = limitTrace(
    (line) => lines.push(line),
    () => nowMs,
  );
  for (let i = 0; i < 50; i++) trace(`line ${i}`);
  expect(lines).toHaveLength(20);
  nowMs += 999;
  trace("still too many");
  expect(lines).toHaveLength(20);
  nowMs += 1;
  trace("later");
  expect(lines.slice(20)).toEqual(["(31 lines left out)", "later"]);
});
