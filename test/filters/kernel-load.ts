import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { expect } from "vitest";
import { loadObject } from "../../src/object/load-object.ts";

/** Loads every program of an object into the kernel, whose verifier must accept it, and lets go. */
export function expectKernelAccepts(file: string): void {
  const object = loadObject(readFileSync(file), file);
  if (!object.ok) throw object.error;
  const programs = object.value.programs.map((program) => program.name);
  expect(programs).not.toEqual([]);
  const folder = `/sys/fs/bpf/weir-filters-${process.pid}`;
  mkdirSync(folder, { recursive: true });
  try {
    const { status, stderr } = spawnSync("bpftool", ["prog", "loadall", file, `${folder}/loaded`], {
      encoding: "utf8",
    });
    expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
    expect(readdirSync(`${folder}/loaded`).sort()).toEqual(programs.sort());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
