import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

const programs = fileURLToPath(new URL("./programs/", import.meta.url));
const multiarch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";

let folder: string | undefined;
const built = new Map<string, string>();

afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

/**
 * Builds a C source of `programs/` (or any file by its whole path) for eBPF; the object's path. The
 * same source with the same flags is built once.
 */
export function build(source: string, ...flags: string[]): string {
  return buildWith("clang", source, ...flags);
}

/** As `build`, with another clang: `clang-19`. */
export function buildWith(clang: string, source: string, ...flags: string[]): string {
  const key = [clang, source, ...flags].join(" ");
  const known = built.get(key);
  if (known !== undefined) return known;
  folder ??= mkdtempSync(join(tmpdir(), "weir-objects-"));
  const object = join(folder, `${built.size}.o`);
  const target = flags.some((flag) => flag.startsWith("--target")) ? [] : ["--target=bpf"];
  const { status, stderr } = spawnSync(
    clang,
    ["-O2", "-g", ...target, `-I/usr/include/${multiarch}`, ...flags, "-c", source, "-o", object],
    { cwd: programs, encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`${key}: ${stderr}`);
  built.set(key, object);
  return object;
}

/** As `build`; the object's bytes. */
export function compile(source: string, ...flags: string[]): Uint8Array {
  return new Uint8Array(readFileSync(build(source, ...flags)));
}
