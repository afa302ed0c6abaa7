import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

let folder: string | undefined;

afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

/** Asks map-helpers-kernel.c, built when it is first asked. */
export function askJudge(...asked: readonly string[]): {
  code: number | null;
  stdout: string;
  stderr: string;
} {
  const build = folder === undefined;
  folder ??= mkdtempSync(join(tmpdir(), "weir-map-judge-"));
  const judge = join(folder, "judge");
  const source = fileURLToPath(new URL("./map-helpers-kernel.c", import.meta.url));
  if (build) {
    const { status, stderr } = spawnSync("cc", ["-O1", "-Wall", "-o", judge, source, "-lbpf"], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`cc ${source}: ${stderr}`);
  }
  const { status, stdout, stderr } = spawnSync(judge, [...asked], { encoding: "utf8" });
  return { code: status, stdout, stderr };
}
