import { expect, test } from "vitest";
import { atOnce, inTurns, type Steps } from "../../src/common/steps.ts";

function* counting(to: number, onStep: () => void): Steps<number> {
  for (let i = 0; i < to; i++) {
    onStep();
    yield;
  }
  return to;
}

test("work in steps can be done at once", () => {
  let steps = 0;
  expect(atOnce(counting(1000, () => void steps++))).toBe(1000);
  expect(steps).toBe(1000);
});

test("work done in turns lets others have theirs before it is over", async () => {
  let others = 0;
  let seen = 0;
  const immediate = (): void => {
    others++;
    if (others < 1000) setImmediate(immediate);
  };
  setImmediate(immediate);
  // It ends when others have had ten turns: never, if it gave none.
  function* waiting(): Steps<string> {
    while (others < 10 && seen < 2 ** 28) {
      seen++;
      yield;
    }
    return "done";
  }
  expect(await inTurns(waiting())).toBe("done");
  expect(others).toBeGreaterThanOrEqual(10);
});

test("what work throws comes out of either", async () => {
  function* failing(): Steps<never> {
    yield;
    throw new RangeError("no");
  }
  expect(() => atOnce(failing())).toThrow("no");
  await expect(inTurns(failing())).rejects.toThrow("no");
});
