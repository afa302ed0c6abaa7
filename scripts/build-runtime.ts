/**
 * Compiles the map runtime (AssemblyScript, src/runtime/wasm) to src/runtime/runtime.wasm.
 *
 *     node scripts/build-runtime.ts
 */
import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const sources = fileURLToPath(new URL("../src/runtime/wasm/", import.meta.url));
const target = fileURLToPath(new URL("../src/runtime/runtime.wasm", import.meta.url));

/**
 * Every thread instantiates the module on the one shared arena, so it must not bring memory,
 * segments or globals of its own. Data that the compiler would emit goes behind the reserved page,
 * where a test sees that none did.
 */
const flags = [
  "--runtime=stub",
  "--importMemory",
  "--noExportMemory",
  "--sharedMemory",
  "--initialMemory=2",
  "--maximumMemory=32768",
  "--memoryBase=65536",
  "--enable=threads",
  "--enable=simd",
  "-O3",
  "--converge",
  "--noAssert",
];

/**
 * asc's `@inline` on functions, as a comment: decorators there are no TypeScript, so neither tsc
 * nor the linter would read the sources. It makes hash lookups a third faster.
 */
const inlineMark = "// asc:inline\n";

/**
 * The compiled runtime. `replace` gives other texts for some of the source files, by name: tests
 * build a runtime that stops in the middle of its work.
 */
export async function compileRuntimeSources(
  replace: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  let wasm: Uint8Array | undefined;
  let messages = "";
  const { error } = await asc.main(
    ["index.ts", `--baseDir=${sources}`, "--outFile=runtime.wasm", ...flags],
    {
      readFile: async (name, base) => {
        const text = replace[name] ?? (await readFile(join(base, name), "utf8").catch(() => null));
        return text?.replaceAll(inlineMark, "@inline\n") ?? null;
      },
      writeFile: (_name, contents) => {
        if (typeof contents !== "string") wasm = contents;
      },
      listFiles: async (folder, base) =>
        (await readdir(join(base, folder)).catch(() => [])).filter((name) => name.endsWith(".ts")),
      stderr: {
        write: (chunk: string | Uint8Array) => {
          messages += chunk.toString();
        },
      },
    },
  );
  if (error !== null || wasm === undefined)
    throw new Error(`the map runtime does not compile:\n${messages}${error?.message ?? ""}`);
  return wasm;
}

if (import.meta.main) {
  const wasm = await compileRuntimeSources();
  // In one step: another process may be reading it.
  await writeFile(`${target}.new`, wasm);
  await rename(`${target}.new`, target);
  console.log(`src/runtime/runtime.wasm: ${wasm.length} bytes`);
}
