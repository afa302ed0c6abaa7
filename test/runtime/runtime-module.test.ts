import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Arena } from "../../src/runtime/arena.ts";
import { compileRuntime, instantiateRuntime } from "../../src/runtime/instantiate.ts";

const source = fileURLToPath(new URL("../../src/", import.meta.url));
const wasm = new Uint8Array(readFileSync(join(source, "runtime/runtime.wasm")));

/** Section numbers, WebAssembly core specification 2.0 §5.5.2. */
const section = { import: 2, global: 6, start: 8, data: 11 } as const;

test("the runtime has no data segments, no globals and no start function of its own", () => {
  const sections = sectionsOf(wasm);
  expect(sections.get(section.import), "it imports its memory").toBeGreaterThan(0);
  expect(sections.get(section.data) ?? 0).toBe(0);
  expect(sections.get(section.global) ?? 0).toBe(0);
  expect(sections.has(section.start)).toBe(false);
});

test("instantiating once more changes no byte of the arena", async () => {
  const arena = Arena.create(2 ** 20);
  if (!arena.ok) throw arena.error;
  const module = await compileRuntime();
  instantiateRuntime(module, arena.value);
  const block = arena.value.allocate(2 ** 18, "test");
  if (!block.ok) throw block.error;
  for (let i = 0; i < arena.value.bytes.length; i++) arena.value.bytes[i] = i * 31 + (i >> 8);
  const before = arena.value.bytes.slice();
  instantiateRuntime(module, arena.value);
  expect(Buffer.compare(before, Buffer.from(arena.value.bytes))).toBe(0);
});

test("a runtime that was not built is named, with the command that builds it", () => {
  const folder = mkdtempSync(join(tmpdir(), "weir-runtime-"));
  try {
    mkdirSync(join(folder, "runtime"));
    cpSync(join(source, "common"), join(folder, "common"), { recursive: true });
    cpSync(join(source, "runtime/instantiate.ts"), join(folder, "runtime/instantiate.ts"));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(
      join(folder, "main.ts"),
      `import { compileRuntime } from "./runtime/instantiate.ts";
       await compileRuntime().catch((e: Error) => console.log(e.name, (e as { code?: string }).code, e.message));`,
    );
    const { stdout } = spawnSync(process.execPath, [join(folder, "main.ts")], { encoding: "utf8" });
    expect(stdout).toMatch(/^UserError RUNTIME_NOT_BUILT .*runtime\.wasm: .*npm run build:runtime/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** How many items each section has, by its number; of the start section, 0. */
function sectionsOf(bytes: Uint8Array): Map<number, number> {
  const sections = new Map<number, number>();
  let at = 8;
  while (at < bytes.length) {
    const id = bytes[at++] as number;
    const size = leb128(bytes, at);
    at = size.next;
    sections.set(id, id === section.start ? 0 : leb128(bytes, at).value);
    at += size.value;
  }
  return sections;
}

function leb128(bytes: Uint8Array, from: number): { value: number; next: number } {
  let value = 0;
  let next = from;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[next++] as number;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, next };
  }
}
