import { expect, test } from "vitest";
import { closest, orList, suggestion } from "../../src/common/closest.ts";

for (const { word, candidates, near } of [
  { word: "lisen", candidates: ["listen", "listeners"], near: "listen" },
  { word: "lsiten", candidates: ["listen", "upstream"], near: "listen" },
  { word: "LISTEN", candidates: ["listen"], near: "listen" },
  { word: "upstraem", candidates: ["upstreams", "upstream"], near: "upstream" },
  { word: "a", candidates: ["b"], near: "b" },
  { word: "a", candidates: ["bc"], near: undefined },
  { word: "memory", candidates: ["metrics"], near: undefined },
  { word: "x", candidates: [], near: undefined },
])
  test(`${word} among ${candidates.join(" ") || "nothing"} is nearest to ${near}`, () => {
    expect(closest(word, candidates)).toBe(near);
  });

test("a suggestion is one near word, or what there is, or what to do where nothing is", () => {
  expect(suggestion("ap", ["app", "web"], "add one")).toBe("did you mean app?");
  expect(suggestion("zzz", ["app"], "add one")).toBe("there is app");
  expect(suggestion("zzz", ["app", "web"], "add one")).toBe("there are app, web");
  expect(suggestion("zzz", [], "add one")).toBe("add one");
  const many = Array.from({ length: 15 }, (_, i) => `filter-${i}`);
  expect(suggestion("zzz", many, "add one")).toMatch(/^there are filter-0, .* and 3 more$/);
});

test("alternatives are listed with commas and a last or", () => {
  expect(orList([])).toBe("");
  expect(orList(["a"])).toBe("a");
  expect(orList(["a", "b", "c"])).toBe("a, b or c");
});
