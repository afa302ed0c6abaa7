import { expect, test } from "vitest";
import { atOnce, eachInSteps, inTurns, type Steps } from "../../src/common/steps.ts";

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

test("items are taken in order, in pieces that are far fewer than they are", () => {
  const taken: number[] = [];
  const steps = eachInSteps(Array(1000).keys(), (item) => void taken.push(item));
  let pieces = 0;
  while (!steps.next().done) pieces++;
  expect(taken).toEqual([...Array(1000).keys()]);
  expect(pieces).toBeGreaterThan(1);
  expect(pieces).toBeLessThan(100);
});

test("the first answer ends the items, which are closed", () => {
  let closed = false;
  function* endless(): Generator<number> {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      closed = true;
    }
  }
  const answer = atOnce(eachInSteps(endless(), (i) => (i === 500 ? `${i} is it` : undefined)));
  expect(answer).toBe("500 is it");
  expect(closed).toBe(true);
});

test("what work throws comes out of either", async () => {
  function* failing(): Steps<never> {
    yield;
    throw new RangeError("no");
  }
  expect(() => atOnce(failing())).toThrow("no");
  await expect(inTurns(failing())).rejects.toThrow("no");
});
