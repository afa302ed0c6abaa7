import { expect, test } from "vitest";
import { type CompileOptions, compileExpression } from "../../src/cbpf/compile-expression.ts";
import type { ClassicProgram } from "../../src/cbpf/instruction.ts";
import { runClassic } from "../../src/cbpf/interpreter.ts";
import type { LinkType } from "../../src/cbpf/link-type.ts";
import { listClassic } from "../../src/cbpf/listing.ts";
import {
  answers,
  type CodeAnswer,
  capture,
  captures,
  isLinkType,
  type MatchAnswer,
  matches,
  readAnswers,
  type TestRun,
} from "./pcapfilter-corpus.ts";

const withAnswers = test.skipIf(answers === undefined || captures === undefined);

/** Expressions of the newer libpcap that 1.10 does not know. */
const afterVersion110 = new Set(["vxlan", "ether proto lldp"]);

/** Numbers that no packet can hold: refused by the newer libpcap, compiled by 1.10, and so here. */
const acceptedBefore = new Set([
  "protochain 256",
  "proto 256",
  "isis proto 32",
  "link proto 1500",
  "link proto 65536",
]);

function testRun(): TestRun {
  return JSON.parse(readAnswers("libpcap-head-testrun.expected")) as TestRun;
}

withAnswers("listings are those of libpcap 1.10, optimised and not, and so are refusals", () => {
  const seen = { same: 0, refused: 0 };
  const wrong: string[] = [];
  for (const line of readAnswers("code.expected").trim().split("\n")) {
    const answer = JSON.parse(line) as CodeAnswer;
    if (!isLinkType(answer.DLT)) continue;
    for (const mode of ["opt", "unopt"]) {
      const expected = answer[`1.10.3/${mode}`] ?? answer[mode];
      // The answers are for a live capture, which for these two makes a difference.
      const linuxExtensions = ["inbound", "outbound"].includes(answer.expr);
      const options = { linkType: answer.DLT, optimise: mode === "opt", linuxExtensions };
      const compiled = compileExpression(answer.expr, options);
      if (!Array.isArray(expected)) {
        if (compiled.ok) wrong.push(`accepted: ${answer.expr}`);
        else seen.refused++;
        continue;
      }
      const rows = compiled.ok
        ? compiled.value.map(({ code, jt, jf, k }) => [code, jt, jf, k])
        : [];
      if (JSON.stringify(rows) === JSON.stringify(expected)) seen.same++;
      else wrong.push(`${answer.DLT} ${mode}: ${answer.expr}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(seen).toEqual({ same: 526, refused: 98 });
});

withAnswers("what libpcap's own tests accept is accepted, in at most 1.05 times the length", () => {
  const total = { ours: 0, theirs: 0, same: 0, expressions: 0 };
  const refused: string[] = [];
  for (const answer of testRun().accept) {
    const { DLT, opt, linuxext, snaplen = 262_144 } = answer;
    // Those that need a name service, or match nothing, have no answer to compare with.
    if (!isLinkType(DLT) || answer.needs !== undefined || opt === null) continue;
    for (const expression of answer.aliases) {
      if (afterVersion110.has(expression)) continue;
      const options: CompileOptions = {
        linkType: DLT,
        snapLength: snaplen,
        linuxExtensions: linuxext === 1,
        ...(expression.includes("broadcast") ? { netmask: 0xffff_ff00 } : {}),
      };
      const compiled = compileExpression(expression, options);
      if (!compiled.ok) {
        refused.push(`${expression}: ${compiled.error.message}`);
        continue;
      }
      total.expressions++;
      total.ours += compiled.value.length;
      total.theirs += opt.length;
      if (listClassic(compiled.value, "assembly") === `${opt.join("\n")}\n`) total.same++;
    }
  }
  expect(refused).toEqual([]);
  expect(total.expressions).toBeGreaterThan(300);
  expect(total.same / total.expressions).toBeGreaterThan(0.8);
  expect(total.ours / total.theirs).toBeLessThan(1.05);
});

withAnswers("what libpcap's own tests refuse is refused, with the column where it is wrong", () => {
  const accepted: string[] = [];
  let refused = 0;
  for (const { DLT, expr } of testRun().reject) {
    if (!isLinkType(DLT) || expr === undefined || acceptedBefore.has(expr)) continue;
    const compiled = compileExpression(expr, { linkType: DLT });
    if (compiled.ok) accepted.push(expr);
    else {
      refused++;
      const column = Number(/^expression, column (\d+)$/.exec(compiled.error.where)?.[1]);
      expect(column, expr).toBeGreaterThanOrEqual(1);
      expect(column, expr).toBeLessThanOrEqual(expr.length + 1);
    }
  }
  expect(accepted).toEqual([]);
  expect(refused).toBe(167);
});

withAnswers("each expression matches the packets that it matches by libpcap 1.10", () => {
  const { files, exprs } = JSON.parse(readAnswers("match.expected")) as {
    files: readonly string[];
    exprs: readonly MatchAnswer[];
  };
  const wrong: string[] = [];
  const seen = { compared: 0, refused: 0 };
  for (const { expr, match, error_files, versions_differ } of exprs) {
    const programs = new Map<LinkType, ReturnType<typeof compileExpression>>();
    for (const file of files) {
      const { packets, linkType } = capture(file)!;
      if (linkType === undefined) continue;
      const compiled = programs.get(linkType) ?? compileExpression(expr, { linkType });
      programs.set(linkType, compiled);
      const expected =
        versions_differ[file] ?? (error_files.includes(file) ? "error" : (match[file] ?? []));
      const found = compiled.ok ? matches((p) => runClassic(compiled.value, p), packets) : "error";
      if (JSON.stringify(found) !== JSON.stringify(expected)) wrong.push(`${expr} on ${file}`);
      else if (found === "error") seen.refused++;
      else seen.compared++;
    }
  }
  expect(wrong).toEqual([]);
  expect(seen.compared).toBeGreaterThan(38_000);
  expect(seen.refused).toBeGreaterThan(4_800);
});

withAnswers("expressions match the packets of captures as in libpcap's own tests", () => {
  const wrong: string[] = [];
  let compared = 0;
  for (const { savefile, expr, results } of testRun().apply) {
    const found = capture(savefile, ["libpcap"]);
    if (found?.linkType === undefined || /vxlan|gateway/.test(expr)) continue;
    const compiled = compileExpression(expr, { linkType: found.linkType });
    const program: ClassicProgram = compiled.ok ? compiled.value : [];
    compared++;
    const expected = results.flatMap((result, i) => (result === 0 ? [] : [i]));
    const packets = found.packets.slice(0, results.length);
    if (
      JSON.stringify(matches((p) => runClassic(program, p), packets)) !== JSON.stringify(expected)
    )
      wrong.push(`${expr} on ${savefile}`);
  }
  expect(wrong).toEqual([]);
  expect(compared).toBeGreaterThan(20);
});
