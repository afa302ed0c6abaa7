import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/common/bytes.ts";
import { encodeProgram } from "../../src/isa/codec.ts";
import { mapTypes } from "../../src/object/object-spec.ts";
import type { VerifiableProgram } from "../../src/verifier/program.ts";
import type { TypedProgram } from "./function-types.ts";

/** What the kernel's verifier says of a program. */
export interface KernelVerdict {
  readonly accepted: boolean;
  /** It took longer than it was given: neither is known. */
  readonly undecided: boolean;
  /** `ok` and the instructions visited, or the end of its log, lines separated by |. */
  readonly log: string;
  /** Milliseconds that a load takes, where asked for. */
  readonly milliseconds?: number;
}

export interface KernelOptions {
  /** How long a load takes is wanted. */
  readonly timed?: boolean;
  /** Milliseconds that a program may take; one of a million instructions takes seconds. */
  readonly limitMs?: number;
}

/** Asks the running kernel about many programs; of their functions it is told only what `typed` made. */
export function kernelVerdicts(
  programs: readonly (VerifiableProgram | TypedProgram)[],
  { timed = false, limitMs }: KernelOptions = {},
): KernelVerdict[] {
  const folder = mkdtempSync(join(tmpdir(), "weir-verifier-kernel-"));
  try {
    const loader = join(folder, "load-in-kernel");
    const source = fileURLToPath(new URL("load-in-kernel.c", import.meta.url));
    const built = spawnSync("clang", ["-O1", "-Wall", "-Werror", source, "-o", loader]);
    if (built.status !== 0) throw new Error(String(built.stderr));
    const limit = limitMs === undefined ? [] : [`--limit=${limitMs}`];
    const run = spawnSync(loader, timed ? ["--time"] : limit, {
      input: `${programs.map(inputLine).join("\n")}\n`,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    if (run.status !== 0)
      throw new Error(`loader ended with ${run.status ?? run.signal}: ${run.stderr}`);
    const answers = run.stdout.trimEnd().split("\n");
    if (answers.length !== programs.length) throw new Error(`${answers.length} answers`);
    return answers.map((answer) => {
      const accepted = answer.startsWith("ok ");
      const nanoseconds = answer.split(" ")[2];
      const verdict = { accepted, undecided: answer === "?", log: answer };
      return accepted && timed ? { ...verdict, milliseconds: Number(nanoseconds) / 1e6 } : verdict;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function inputLine(program: VerifiableProgram | TypedProgram): string {
  const { type, maps, instructions } = program;
  const specs = maps.map((map) => {
    const size = [map.keySize, map.valueSize, map.maxEntries, map.flags].join(":");
    const contents = map.frozenValue === undefined ? "" : `:${toHex(map.frozenValue)}`;
    return `${mapTypes[map.type]}:${size}${contents}`;
  });
  return `${type} ${specs.join(",") || "-"} ${typesText(program)} ${toHex(encodeProgram(instructions))}`;
}

function typesText(program: VerifiableProgram | TypedProgram): string {
  if (!("btfBytes" in program)) return "-";
  // Linux 6.18 writes outside of its own memory (mark_chain_precision, frame -1) over a packet load in a
  // function. Without types it refuses that at once; and an XDP program may hold none.
  if (program.type !== "xdp" && program.instructions.some(({ kind }) => kind === "load_packet"))
    throw new Error(
      "the kernel is not to be asked about packet loads in functions that have types",
    );
  const functions = program.functions.map(({ slot, type }) => `${slot}:${type}`);
  return `${toHex(program.btfBytes)},${functions.join(",")}`;
}
