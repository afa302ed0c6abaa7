import fc from "fast-check";
import { expect, test } from "vitest";
import { SourceTable, sourceMemory } from "../../src/proxy/source-table.ts";

function tables(maxSessions: number, workers: number): SourceTable[] {
  const memory = sourceMemory(maxSessions, workers);
  return Array.from(
    { length: workers },
    (_, worker) => new SourceTable(memory, { workers, worker }),
  );
}

test("each worker sees what the others have of an address, and not its own", () => {
  const [one, two, three] = tables(10, 3);
  one!.set("192.0.2.1", 2);
  two!.set("192.0.2.1", 3);
  two!.set("2001:db8::1", 1);
  expect(one!.ofOthers("192.0.2.1")).toBe(3);
  expect(two!.ofOthers("192.0.2.1")).toBe(2);
  expect(three!.ofOthers("192.0.2.1")).toBe(5);
  expect(three!.ofOthers("2001:db8::1")).toBe(1);
  expect(three!.ofOthers("2001:db8::2")).toBe(0);
});

test("an IPv4 client is the same on a socket for both families", () => {
  const [one, two] = tables(10, 2);
  one!.set("::ffff:192.0.2.1", 1);
  expect(two!.ofOthers("192.0.2.1")).toBe(1);
});

test("what a dead worker had goes with its table, and nothing else does", () => {
  const [one, two, three] = tables(10, 3);
  for (const table of [one!, two!]) table.set("192.0.2.1", 1);
  one!.clear();
  expect(three!.ofOthers("192.0.2.1")).toBe(1);
});

test("tables that are full to their limit, and change, hold what a map would", () => {
  const maxSessions = 24;
  const source = fc
    .nat(63)
    .map((number) => (number % 2 === 0 ? `10.0.${number}.1` : `2001:db8::${number}`));
  const steps = fc.array(fc.tuple(source, fc.nat(2), source), { minLength: 50, maxLength: 400 });
  fc.assert(
    fc.property(steps, (changes) => {
      const [own, other] = tables(maxSessions, 2);
      const model = new Map<string, number>();
      for (const [changed, sessions, asked] of changes) {
        if (!model.has(changed) && model.size > maxSessions) continue;
        own!.set(changed, sessions);
        if (sessions === 0) model.delete(changed);
        else model.set(changed, sessions);
        expect(other!.ofOthers(asked)).toBe(model.get(asked) ?? 0);
      }
      for (const [known, sessions] of model) expect(other!.ofOthers(known)).toBe(sessions);
    }),
    { numRuns: 50, seed: 20_261 },
  );
});
