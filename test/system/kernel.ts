import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { temporaryFolder } from "../support/processes.ts";

/** A line of judge.c's output. */
export interface Answer {
  readonly ret?: number;
  readonly data?: string;
  readonly ctx?: string;
  readonly error?: number;
  readonly entries?: readonly (readonly [string, string])[];
  readonly maps?: Readonly<Record<string, readonly (readonly [string, string])[]>>;
}

let folder: ReturnType<typeof temporaryFolder> | undefined;

afterAll(() => folder?.remove());

/**
 * The kernel's answers to `lines` about an object, through judge.c, which says what a line may be and
 * is built when it is first asked. `program`: the only one to load. `network`: shell commands that set
 * up a network namespace of its own, in which it is asked. Where the kernel refuses the object there are
 * no answers, and `stderr` says why.
 */
export function askKernel(
  object: string,
  lines: readonly string[],
  program?: string,
  network?: string,
): { readonly code: number | null; readonly answers: readonly Answer[]; readonly stderr: string } {
  const isBuilt = folder !== undefined;
  folder ??= temporaryFolder();
  const judge = `${folder.path}/judge`;
  if (!isBuilt) {
    const source = fileURLToPath(new URL("judge.c", import.meta.url));
    const flags = ["-O1", "-Wall", "-Wextra", "-Werror"];
    const built = spawnSync("clang", [...flags, source, "-o", judge, "-lbpf"]);
    if (built.status !== 0) throw new Error(String(built.stderr));
  }
  const asked = program === undefined ? [object] : [object, program];
  const [command, ...args] =
    network === undefined
      ? [judge, ...asked]
      : ["unshare", "--net", "sh", "-ec", `${network}\nexec "$0" "$@"`, judge, ...asked];
  const { status, stdout, stderr } = spawnSync(command!, args, {
    input: lines.map((line) => `${line}\n`).join(""),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  const answers = stdout.split("\n").filter((line) => line !== "");
  return { code: status, answers: answers.map((line) => JSON.parse(line) as Answer), stderr };
}

/** As `askKernel`, of an object that the kernel takes. */
export function kernelAnswers(
  object: string,
  lines: readonly string[],
  program?: string,
  network?: string,
): readonly Answer[] {
  const { code, answers, stderr } = askKernel(object, lines, program, network);
  if (code !== 0) throw new Error(`judge ${object}: ${code}: ${stderr.slice(-2000)}`);
  return answers;
}
