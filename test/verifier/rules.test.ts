import { expect, test } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { verify } from "../../src/verifier/verify.ts";
import { needing } from "../support/needing.ts";
import { kernelVerdicts } from "./kernel-verdicts.ts";
import { ruleCases } from "./rule-cases.ts";
import { programOfRule } from "./rules/rule-case.ts";

for (const one of ruleCases)
  test(`the verifier sees to it that ${one.rule}`, () => {
    const { refused, code, says } = one;
    const good = verify(programOfRule(one, true), helpers);
    expect(good.ok ? "accepted" : good.error.message).toBe("accepted");
    const bad = verify(programOfRule(one, false), helpers);
    if (bad.ok) return expect.fail(`accepted:\n${refused}`);
    expect(bad.error.code, bad.error.message).toBe(code);
    expect(bad.error.message).toMatch(says);
    expect(bad.error.fix).not.toBe("");
    return undefined;
  });

needing("clang", "kernel bpf()")("the kernel decides each rule's two programs the same way", () => {
  const asked = ruleCases.filter(({ notInKernel }) => notInKernel === undefined);
  const cases = asked.flatMap((one) =>
    [true, false].map((accepted) => ({
      rule: one.rule,
      accepted,
      program: programOfRule(one, accepted),
    })),
  );
  const answers = kernelVerdicts(cases.map(({ program }) => program));
  for (const [i, { rule, accepted }] of cases.entries())
    expect({ rule, accepted: answers[i]!.accepted }, answers[i]!.log).toEqual({ rule, accepted });
});
