import { expect, test } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { verify } from "../../src/verifier/verify.ts";
import { needing } from "../support/needing.ts";
import { kernelVerdicts } from "./kernel-verdicts.ts";
import { ruleCases } from "./rule-cases.ts";
import { programOf } from "./rules/rule-case.ts";

for (const { rule, type, more, accepted, refused, code, says } of ruleCases)
  test(`the verifier sees to it that ${rule}`, () => {
    const good = verify(programOf(accepted, type, more), helpers);
    expect(good.ok ? "accepted" : good.error.message).toBe("accepted");
    const bad = verify(programOf(refused, type, more), helpers);
    if (bad.ok) return expect.fail(`accepted:\n${refused}`);
    expect(bad.error.code, bad.error.message).toBe(code);
    expect(bad.error.message).toMatch(says);
    expect(bad.error.fix).not.toBe("");
    return undefined;
  });

needing("clang", "kernel bpf()")("the kernel decides each rule's two programs the same way", () => {
  const asked = ruleCases.filter(({ notInKernel }) => notInKernel === undefined);
  const cases = asked.flatMap(({ rule, type, more, accepted, refused }) => [
    { rule, program: programOf(accepted, type, more), accepted: true },
    { rule, program: programOf(refused, type, more), accepted: false },
  ]);
  const answers = kernelVerdicts(cases.map(({ program }) => program));
  for (const [i, { rule, accepted }] of cases.entries())
    expect({ rule, accepted: answers[i]!.accepted }, answers[i]!.log).toEqual({ rule, accepted });
});
