import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { UserError } from "../common/user-error.ts";
import type { Arena } from "./arena.ts";
import type { MapRuntime } from "./map-runtime.ts";

/**
 * The map runtime's module, read from `runtime.wasm` beside this file. Compile once, pass the
 * module to workers. Throws a UserError where it was not built.
 */
export async function compileRuntime(): Promise<WebAssembly.Module> {
  const file = new URL("./runtime.wasm", import.meta.url);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new UserError(
      "RUNTIME_NOT_BUILT",
      fileURLToPath(file),
      `the map runtime cannot be read (${(cause as NodeJS.ErrnoException).code})`,
      "run npm ci or npm run build:runtime",
    );
  }
  return await WebAssembly.compile(bytes);
}

/** This thread's instance over the arena. It keeps no state of its own: all of it is in the arena. */
export function instantiateRuntime(module: WebAssembly.Module, arena: Arena): MapRuntime {
  const { exports } = new WebAssembly.Instance(module, { env: { memory: arena.memory } });
  return exports as unknown as MapRuntime;
}
