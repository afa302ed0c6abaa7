import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/common/bytes.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import { mapTypes } from "../../src/object/object-spec.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";

/** What the kernel's verifier says of a program. */
export interface KernelVerdict {
  readonly accepted: boolean;
  /** `ok` and the instructions visited, or the end of its log, lines separated by |. */
  readonly log: string;
  /** Milliseconds that a load takes, where asked for. */
  readonly milliseconds?: number;
}

/** Asks the running kernel about many programs; their functions and BTF are not passed on. */
export function kernelVerdicts(
  programs: readonly VerifiableProgram[],
  timed = false,
): KernelVerdict[] {
  const folder = mkdtempSync(join(tmpdir(), "weir-verifier-kernel-"));
  try {
    const loader = join(folder, "load-in-kernel");
    const source = fileURLToPath(new URL("load-in-kernel.c", import.meta.url));
    const built = spawnSync("clang", ["-O1", "-Wall", "-Werror", source, "-o", loader]);
    if (built.status !== 0) throw new Error(String(built.stderr));
    const run = spawnSync(loader, timed ? ["--time"] : [], {
      input: `${programs.map(inputLine).join("\n")}\n`,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    if (run.status !== 0) throw new Error(`loader ended with ${run.status}: ${run.stderr}`);
    const answers = run.stdout.trimEnd().split("\n");
    if (answers.length !== programs.length) throw new Error(`${answers.length} answers`);
    return answers.map((answer) => {
      const accepted = answer.startsWith("ok ");
      const nanoseconds = answer.split(" ")[2];
      const milliseconds = Number(nanoseconds) / 1e6;
      return accepted && timed
        ? { accepted, log: answer, milliseconds }
        : { accepted, log: answer };
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function inputLine({ type, maps, instructions }: VerifiableProgram): string {
  const specs = maps.map((map) => {
    const size = [map.keySize, map.valueSize, map.maxEntries, map.flags].join(":");
    const contents = map.frozenValue === undefined ? "" : `:${toHex(map.frozenValue)}`;
    return `${mapTypes[map.type]}:${size}${contents}`;
  });
  return `${type} ${specs.join(",") || "-"} ${toHex(encodeProgram(instructions))}`;
}
