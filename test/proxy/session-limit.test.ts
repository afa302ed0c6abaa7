import { expect, test } from "vitest";
import { SessionLimit } from "../../src/proxy/session-limit.ts";

/** A limit of `most` over two workers, of which the other has `others` sessions. */
function limitOf(most: number, others: number) {
  const asked: string[] = [];
  const limit = new SessionLimit(
    { most, workers: 2 },
    () => others,
    () => asked.push("room"),
  );
  return { limit, asked };
}

for (const { name, most, own, others, makesRoom, asks } of [
  { name: "room is left", most: 4, own: 1, others: 2, makesRoom: false, asks: 0 },
  { name: "the limit is reached by others", most: 4, own: 0, others: 4, makesRoom: false, asks: 1 },
  { name: "it has its even share", most: 4, own: 2, others: 2, makesRoom: true, asks: 0 },
  { name: "it has more than its share", most: 4, own: 4, others: 0, makesRoom: true, asks: 0 },
  {
    name: "the limit is below one a worker",
    most: 1,
    own: 0,
    others: 1,
    makesRoom: false,
    asks: 1,
  },
  { name: "it has all of one", most: 1, own: 1, others: 0, makesRoom: true, asks: 0 },
])
  test(`where ${name}, a worker ${makesRoom ? "ends one of its own" : asks ? "takes one more and asks for room" : "takes one more"}`, async () => {
    const { limit, asked } = limitOf(most, others);
    expect(limit.makesRoom(own)).toBe(makesRoom);
    await Promise.resolve();
    expect(asked).toHaveLength(asks);
  });

test("there are too many where the workers have more together, not where they have as many", () => {
  const { limit } = limitOf(3, 2);
  expect(limit.isExceeded(1)).toBe(false);
  expect(limit.isExceeded(2)).toBe(true);
});
