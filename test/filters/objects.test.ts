import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { setGlobal } from "../../src/object/globals.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec } from "../../src/object/object-spec.ts";
import { needing } from "../support/needing.ts";

/** What is in the committed objects. Configs, dashboards and the README name these. */
function load(name: string): ObjectSpec {
  const file = fileURLToPath(new URL(`../../filters/${name}.o`, import.meta.url));
  const loaded = loadObject(readFileSync(file), `filters/${name}.o`);
  if (!loaded.ok) throw loaded.error;
  return loaded.value;
}

function shape({ programs, maps, variables, license }: ObjectSpec) {
  return {
    license,
    programs: programs.map(({ name, section, type }) => `${section}: ${name} (${type})`),
    maps: maps.map(
      ({ name, type, keySize, valueSize, maxEntries }) =>
        `${name}: ${type} ${keySize}B → ${valueSize}B × ${maxEntries}`,
    ),
    globals: variables.map(({ name, size }) => `${name}: ${size}B`),
  };
}

test("count-by-protocol.o has its program and its two counting maps", () => {
  expect(shape(load("count-by-protocol"))).toEqual({
    license: "Apache-2.0",
    programs: ["xdp: xdp_count_by_protocol (xdp)"],
    maps: [
      "packets_by_protocol: percpu_hash 4B → 8B × 512",
      "bytes_by_protocol: percpu_hash 4B → 8B × 512",
    ],
    globals: [],
  });
});

test("blocklist.o has its program, its rules by address family, its counters and its global", () => {
  expect(shape(load("blocklist"))).toEqual({
    license: "Apache-2.0",
    programs: ["xdp: xdp_blocklist (xdp)"],
    maps: [
      "blocked: lpm_trie 8B → 4B × 65536",
      "blocked6: lpm_trie 20B → 4B × 65536",
      "blocked_packets_total: percpu_hash 4B → 8B × 4096",
      ".rodata: array 4B → 4B × 1",
    ],
    globals: ["default_action: 4B"],
  });
});

test("blocklist.o drops what a rule blocks unless default_action says otherwise", () => {
  const object = load("blocklist");
  expect(object.maps[3]!.contents[0]!.value).toEqual(Uint8Array.of(1, 0, 0, 0));
  const set = setGlobal(object, "default_action", 2);
  expect(set.ok && set.value.maps[3]!.contents[0]!.value).toEqual(Uint8Array.of(2, 0, 0, 0));
});

for (const name of ["blocklist", "count-by-protocol"]) {
  test(`${name}.o tells the source line of its instructions, without machine paths`, () => {
    const { lines } = load(name).programs[0]!;
    expect(lines.length).toBeGreaterThan(20);
    expect(new Set(lines.map(({ file }) => file))).toEqual(new Set([`${name}.c`, "frame.h"]));
    const source = readFileSync(new URL(`../../filters/${name}.c`, import.meta.url), "utf8");
    for (const { file, line, text } of lines)
      if (file === `${name}.c`) expect(source.split("\n")[line - 1]).toBe(text);
  });
}

needing("clang", "llvm-strip")("committed objects are what their sources build", () => {
  const script = fileURLToPath(new URL("../../scripts/build-filters.ts", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, "--check"], {
    encoding: "utf8",
  });
  expect(`${stdout}${stderr}`).toContain("agree with their sources");
  expect(status).toBe(0);
});
