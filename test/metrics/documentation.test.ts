import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { dropReasons } from "../../src/common/drop-reason.ts";
import { createMetrics } from "../../src/metrics/registry.ts";

const page = readFileSync(new URL("../../config/metrics.md", import.meta.url), "utf8");
const [metricsPart, reasonsPart] = page.split("## Reasons") as [string, string];
/** What the first cells of a part's table name. */
const rows = (part: string): string[] =>
  [...part.matchAll(/^\| `(\w+)` \|/gm)].map((row) => row[1]!);

test("the metrics page lists every metric of Weir's own", async () => {
  const metrics = createMetrics({
    version: "1.2.3",
    sources: {
      listeners: [],
      addresses: [],
      kernelDrops: () => 0,
      filters: [],
      counters: [],
      maps: [],
      mapMetrics: [],
    },
    process: undefined,
    now: () => 0,
    onSkip: () => {},
  });
  if (!metrics.ok) throw metrics.error;
  const text = await metrics.value.render("text");
  const names = [...text.matchAll(/^# TYPE (\w+)/gm)].map((line) => line[1]!);
  expect(rows(metricsPart).toSorted()).toEqual(names.toSorted());
});

test("the metrics page explains every reason for a drop", () => {
  expect(rows(reasonsPart)).toEqual([...dropReasons]);
});
