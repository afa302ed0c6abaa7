import { readFile } from "node:fs/promises";
import { expect } from "vitest";
import { compileRuntimeSources } from "../../scripts/build-runtime.ts";

/**
 * A runtime that stops its thread before the nth write to the arena, n being the word at 1024 (in
 * the page that holds nothing else; 0: never). What it leaves is what a worker leaves that is
 * killed there.
 */
export const budgetAt = 1024;
const memory = await readFile(new URL("../../src/runtime/wasm/memory.ts", import.meta.url), "utf8");
export const stopping = new WebAssembly.Module(
  await compileRuntimeSources({
    "memory.ts": `${memory
      .replace(/export function copy[\s\S]*?\n}\n/, "")
      .replace(/(?<=\{\n {2})((atomic\.)?store<|memory\.fill)/g, "spend(); $&")}
export function copy(to: usize, from: usize, size: u32): void {
  for (let i: u32 = 0; i < size; i++) putByte(to + i, load<u8>(from + i));
}
function spend(): void {
  const left = load<u32>(${budgetAt});
  if (left === 1) unreachable();
  if (left !== 0) store<u32>(${budgetAt}, left - 1);
}
`,
  }),
);

/** Whether the thread was stopped in it. */
export function dies(operation: () => void): boolean {
  try {
    operation();
    return false;
  } catch (cause) {
    expect(cause).toBeInstanceOf(WebAssembly.RuntimeError);
    return true;
  }
}
