import { expect, test } from "vitest";
import { CaptureRings } from "../../src/admin/capture-rings.ts";
import { CaptureReader, CaptureWriter } from "../../src/filter/capture-ring.ts";

test("rings that captures are done with serve later ones, empty", () => {
  const rings = new CaptureRings();
  const first = rings.take(2);
  expect(new Set(first).size).toBe(2);
  new CaptureWriter(first[0]!, 64).lose();
  rings.giveBack(first);
  const next = rings.take(3);
  expect(new Set(next).size).toBe(3);
  for (const ring of first) expect(next).toContain(ring);
  for (const ring of next) expect(new CaptureReader(ring).lost).toBe(0);
});

test("a ring that was not given back is nobody else's", () => {
  const rings = new CaptureRings();
  const [kept, given] = rings.take(2);
  rings.giveBack([given!]);
  const next = rings.take(2);
  expect(next).toContain(given);
  expect(next).not.toContain(kept);
});
