import { readdirSync, readFileSync } from "node:fs";
import { expect } from "vitest";
import { loadObject } from "../../src/object/load-object.ts";
import { needing } from "../support/needing.ts";

/** What Debian's xdp-tools and libxdp1 install: objects that others built, for other loaders. */
const test = needing("xdp-filter");
const multiarch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
const folder = `/usr/lib/${multiarch}/bpf`;

test("loadObject reads Debian's XDP objects, and leaves unanswered only what one made for tracing asks", () => {
  const files = readdirSync(folder).filter((file) => file.endsWith(".o"));
  expect(files.length).toBeGreaterThan(10);
  for (const file of files) {
    const loaded = loadObject(readFileSync(`${folder}/${file}`), file);
    if (file === "xdpdump_bpf.o") {
      // Attaches to kernel functions and reads their structs.
      if (!loaded.ok) throw loaded.error;
      for (const { type, unanswered } of loaded.value.programs) {
        expect(type).toBeUndefined();
        expect(unanswered![0]!.what).toMatch(
          /^its CO-RE relocation asks the kernel for the offset of field /,
        );
      }
      continue;
    }
    if (!loaded.ok) throw loaded.error;
    const { programs, maps } = loaded.value;
    expect(programs.flatMap(({ unanswered = [] }) => unanswered)).toEqual([]);
    expect(programs.map(({ type }) => type)).toEqual(programs.map(() => "xdp"));
    for (const { name, functions, lines, bytecode } of programs) {
      expect(functions[0], file).toMatchObject({ name, slot: 0 });
      expect(lines.length, file).toBeGreaterThan(0);
      expect(lines.at(-1)!.slot, file).toBeLessThan(bytecode.length / 8);
    }
    if (file.startsWith("xdpfilt_"))
      expect(maps.map(({ name }) => name)).toEqual(expect.arrayContaining(["xdp_stats_map"]));
  }
});
