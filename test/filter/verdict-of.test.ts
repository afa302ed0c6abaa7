import { expect, test } from "vitest";
import { dropReasons } from "../../src/common/drop-reason.ts";
import type { Verdict } from "../../src/filter/verdict.ts";
import {
  cutTo,
  dropFor,
  type JudgingType,
  verdictOf,
  verdictOfFault,
} from "../../src/filter/verdict-of.ts";

const drop: Verdict = { kind: "drop", reason: "filter_drop" };
const aborted: Verdict = { kind: "aborted", reason: "filter_aborted" };
const pass: Verdict = { kind: "pass" };
const tx: Verdict = { kind: "tx" };
const redirect: Verdict = { kind: "redirect", ifindex: 3 };
const minusOne = 0xffff_ffff;

/** Return values (as u32) and what they mean, from a program that chose ifindex 3 for a frame of 100 bytes. */
const table: Readonly<Record<JudgingType, readonly (readonly [number, Verdict])[]>> = {
  xdp: [
    [0, aborted],
    [1, drop],
    [2, pass],
    [3, tx],
    [4, redirect],
    [5, aborted],
    [minusOne, aborted],
  ],
  tc: [
    [minusOne, pass],
    [0, pass],
    [1, pass],
    [2, drop],
    [3, pass],
    [4, drop],
    [5, pass],
    [6, pass],
    [7, redirect],
    [8, drop],
    [9, pass],
  ],
  tcx: [
    [minusOne, pass],
    [0, pass],
    [1, pass],
    [2, drop],
    [3, pass],
    [4, pass],
    [7, redirect],
    [8, pass],
  ],
  action: [
    [minusOne, pass],
    [0, pass],
    [1, pass],
    [2, drop],
    [3, pass],
    [4, pass],
    [7, redirect],
    [8, pass],
  ],
  socket: [
    [0, drop],
    [1, { kind: "pass", cutTo: 1 }],
    [99, { kind: "pass", cutTo: 99 }],
    [100, pass],
    [101, pass],
    [minusOne, pass],
  ],
  cgroup_skb: [
    [0, drop],
    [1, pass],
    [2, drop],
    [3, pass],
  ],
};

for (const [type, rows] of Object.entries(table))
  for (const [returned, verdict] of rows)
    test(`a ${type} program that returns ${returned} means ${JSON.stringify(verdict)}`, () => {
      expect(verdictOf[type as JudgingType](returned, 3, 100)).toEqual(verdict);
    });

test("a redirect without a chosen ifindex names port 0, which is never a port", () => {
  expect(verdictOf.xdp(4, 0, 100)).toEqual({ kind: "redirect", ifindex: 0 });
});

test("verdicts that carry a number are made once and shared", () => {
  expect(verdictOf.xdp(4, 77, 100)).toBe(verdictOf.tc(7, 77, 60));
  expect(verdictOf.socket(64, 0, 100)).toBe(cutTo(64));
});

test("a filter that redirects to ever new numbers gets the right one each time", () => {
  for (let ifindex = 0; ifindex < 20_000; ifindex++)
    expect(verdictOf.xdp(4, ifindex, 100)).toMatchObject({ ifindex });
  expect(verdictOf.xdp(4, 5, 100)).toEqual({ kind: "redirect", ifindex: 5 });
});

test("there is one drop verdict for each reason", () => {
  for (const reason of dropReasons) {
    expect(dropFor(reason)).toEqual({ kind: "drop", reason });
    expect(dropFor(reason)).toBe(dropFor(reason));
  }
});

for (const [code, reason] of [
  ["budget_exceeded", "budget_exceeded"],
  ["misaligned_atomic", "misaligned_atomic"],
  ["bad_access", "filter_aborted"],
] as const)
  test(`a run that ends by ${code} is aborted as ${reason}`, () => {
    expect(verdictOfFault({ code, slot: 3, message: "" })).toEqual({ kind: "aborted", reason });
  });
