import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";
import { loadObject } from "../../src/object/load-object.ts";
import type { MapSpec, ObjectSpec, ProgramSpec } from "../../src/object/object-spec.ts";
import { needing } from "../support/needing.ts";
import { build } from "./clang.ts";

/**
 * libbpf loads the same objects into the kernel, which keeps a tag of each program: a hash of its
 * instructions with map operands blanked. Equal tags: the same code, in the same order, with the
 * same calls. Maps are compared by their attributes.
 */
const test = needing("clang", "bpftool", "kernel bpf()");
const pins = `/sys/fs/bpf/weir-object-test-${process.pid}`;
const filters = fileURLToPath(new URL("../../filters/", import.meta.url));

afterAll(() => rmSync(pins, { recursive: true, force: true }));

const cases: readonly { readonly name: string; readonly object: () => string }[] = [
  { name: "filters/blocklist.o", object: () => `${filters}blocklist.o` },
  { name: "filters/count-by-protocol.o", object: () => `${filters}count-by-protocol.o` },
  { name: "programs with subprograms and callbacks", object: () => build("functions.c") },
  { name: "programs of the first instruction set", object: () => build("functions.c", "-mcpu=v1") },
  { name: "programs with global variables", object: () => build("globals.c") },
  { name: "programs with maps of maps and of programs", object: () => build("maps.c") },
];

for (const [i, { name, object }] of cases.entries())
  test(`loadObject makes of ${name} what libbpf gives the kernel`, () => {
    const path = object();
    const folder = `${pins}/${i}`;
    mkdirSync(`${folder}/programs`, { recursive: true });
    bpftool("prog", "loadall", path, `${folder}/programs`, "pinmaps", `${folder}/maps`);
    const loaded = loadObject(readFileSync(path), path);
    if (!loaded.ok) throw loaded.error;
    expect(loaded.value.programs.length).toBeGreaterThan(0);
    for (const program of loaded.value.programs)
      expect(tags(program), program.name).toContain(
        bpftool("prog", "show", "pinned", `${folder}/programs/${program.name}`).tag,
      );
    for (const map of loaded.value.maps) compareMap(loaded.value, map, folder);
  });

function compareMap(object: ObjectSpec, map: MapSpec, folder: string): void {
  // libbpf names data sections after the object, with dots that a pin may not have.
  if (map.dataSection !== undefined) return;
  const inKernel = bpftool("map", "show", "pinned", `${folder}/maps/${map.name}`);
  expect(
    {
      type: map.type,
      bytes_key: map.keySize,
      bytes_value: map.valueSize,
      max_entries: map.maxEntries,
      flags: map.flags & ~numaNode,
    },
    `${object.file}, ${map.name}`,
  ).toEqual({
    type: inKernel.type,
    bytes_key: inKernel.bytes_key,
    bytes_value: inKernel.bytes_value,
    max_entries: inKernel.max_entries,
    flags: Number(inKernel.flags) & ~numaNode,
  });
}

/** BPF_F_NUMA_NODE, which Weir leaves out. */
const numaNode = 4;

/** SHA-1 until Linux 6.17, SHA-256 since. */
function tags({ bytecode }: ProgramSpec): string[] {
  const blanked = bytecode.slice();
  for (let at = 0; at < blanked.length; at += 8) {
    if (blanked[at] !== 0x18) continue;
    const source = blanked[at + 1]! >>> 4;
    if (source === 1 || source === 2) {
      blanked.fill(0, at + 4, at + 8);
      blanked.fill(0, at + 12, at + 16);
    }
    at += 8;
  }
  return ["sha1", "sha256"].map((hash) =>
    createHash(hash).update(blanked).digest("hex").slice(0, 16),
  );
}

function bpftool(...command: string[]): Record<string, unknown> {
  const { status, stdout, stderr } = spawnSync("bpftool", ["-j", ...command], { encoding: "utf8" });
  if (status !== 0) throw new Error(`bpftool ${command.join(" ")}: ${stdout}${stderr}`);
  return stdout === "" ? {} : (JSON.parse(stdout) as Record<string, unknown>);
}
