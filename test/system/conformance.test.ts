import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { corpus } from "../support/corpora.ts";
import { weir } from "../support/processes.ts";

/** One case of the public conformance suite, with what Linux 6.18 gave for it. */
interface ConformanceCase {
  readonly file: string;
  /** r0 at exit, 64 bits, hex. */
  readonly result: string;
  readonly mem: string;
  readonly insns: string;
  readonly kernel_6_18: number | "reject";
}

const expected = corpus("bpf_conformance/kernel.expected");

for (const engine of ["interpreter", "jit"])
  test.skipIf(expected === undefined)(
    `weir prog run --batch by ${engine} gives the kernel's result for every conformance case${expected === undefined ? " [skipped: needs the bpf_conformance corpus]" : ""}`,
    async () => {
      const cases = JSON.parse(readFileSync(expected!, "utf8")) as ConformanceCase[];
      expect(cases.length).toBeGreaterThan(200);
      const input = cases.map(({ file, insns, mem }) =>
        JSON.stringify({ id: file, insns, data: mem, type: "raw", engine }),
      );
      const { code, stdout, stderr } = await weir(
        ["prog", "run", "--batch", "-"],
        input.join("\n"),
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const results = stdout.trimEnd().split("\n");
      expect(results).toHaveLength(cases.length);
      for (const [i, { file, result, kernel_6_18 }] of cases.entries()) {
        const line = JSON.parse(results[i]!) as { id: string; ret?: string; error?: object };
        // What the kernel refuses as policy may be refused here too, or run as the suite says.
        if (kernel_6_18 === "reject" && line.error !== undefined) continue;
        expect(line).toEqual({ id: file, ret: result });
      }
    },
  );
