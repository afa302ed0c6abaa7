/**
 * Builds every `filters/*.c` into the object beside it.
 *
 *     npm run build:filters              build them
 *     npm run build:filters -- --check   build elsewhere and compare; exit 1 names what differs
 *
 * Objects are the same bytes on every machine with the same clang: paths are cut, DWARF is removed,
 * BTF (types, line information) stays. The committed ones are Debian 12's clang 14.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../filters/", import.meta.url));

/** Where Debian keeps `asm/types.h`, which the target-independent headers include. */
const multiarch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";

const clangFlags = [
  "-O2",
  "-g",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-target",
  "bpf",
  "-mcpu=v3",
  `-I/usr/include/${multiarch}`,
  "-fdebug-compilation-dir=.",
  `-ffile-prefix-map=${folder}=`,
];

const unknown = process.argv.slice(2).find((argument) => argument !== "--check");
if (unknown === undefined) process.exitCode = process.argv.includes("--check") ? check() : build();
else process.exitCode = usage(unknown);

function usage(argument: string): number {
  console.error(`build-filters: unknown argument ${argument}; it takes --check or nothing`);
  return 2;
}

/** Builds in place. The exit code. */
function build(): number {
  for (const name of filterNames()) {
    if (!compile(name, join(folder, `${name}.o`))) return 1;
    console.log(`filters/${name}.o`);
  }
  return 0;
}

/** Builds into a temporary folder and compares with what is committed. The exit code. */
function check(): number {
  const elsewhere = mkdtempSync(join(tmpdir(), "weir-filters-"));
  try {
    const differing: string[] = [];
    for (const name of filterNames()) {
      const built = join(elsewhere, `${name}.o`);
      if (!compile(name, built)) return 1;
      if (!sameBytes(built, join(folder, `${name}.o`))) differing.push(name);
    }
    const orphans = objectNames().filter((name) => !filterNames().includes(name));
    for (const name of differing)
      console.error(`filters/${name}.o is not what filters/${name}.c builds`);
    for (const name of orphans) console.error(`filters/${name}.o has no filters/${name}.c`);
    if (differing.length + orphans.length > 0) {
      console.error(`built here with ${clangVersion()}; run: npm run build:filters`);
      return 1;
    }
    console.log(`filters: ${filterNames().length} objects agree with their sources`);
    return 0;
  } finally {
    rmSync(elsewhere, { recursive: true });
  }
}

function filterNames(): string[] {
  const names = filesEndingIn(".c");
  if (names.length === 0) throw new Error(`no C sources in ${folder}`);
  return names;
}

function objectNames(): string[] {
  return filesEndingIn(".o");
}

function filesEndingIn(extension: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(extension))
    .map((file) => file.slice(0, -extension.length))
    .sort();
}

function compile(name: string, output: string): boolean {
  return (
    run("clang", [...clangFlags, "-c", `${name}.c`, "-o", output]) &&
    run("llvm-strip", ["--strip-debug", output])
  );
}

function run(tool: string, argumentsOfTool: readonly string[]): boolean {
  // From within the folder, so that the objects hold names and no paths.
  const { status, error } = spawnSync(tool, argumentsOfTool, { cwd: folder, stdio: "inherit" });
  if (error !== undefined)
    console.error(`${tool}: ${error.message}; on Debian: apt install clang llvm libbpf-dev`);
  return status === 0;
}

function clangVersion(): string {
  const { stdout } = spawnSync("clang", ["--version"], { encoding: "utf8" });
  return stdout?.split("\n")[0] ?? "an unknown clang";
}

function sameBytes(one: string, other: string): boolean {
  try {
    return readFileSync(one).equals(readFileSync(other));
  } catch {
    return false;
  }
}
