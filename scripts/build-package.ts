/**
 * Builds what the published package and the image run: Node strips types nowhere below
 * `node_modules`. Run by `npm pack` through `prepack`, and with another folder than `dist` by hand:
 *
 *     node scripts/build-package.ts [FOLDER]
 *
 * JavaScript is bundled, the packages that it is made with included: the command's start is mostly
 * reading and linking modules, some 600 of them before, and takes two thirds of that CPU time so. Names
 * and lines stay as they were written: nothing is minified.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const repository = fileURLToPath(new URL("../", import.meta.url));
const packages = join(repository, "node_modules");
const target = resolve(process.argv[2] ?? join(repository, "dist"));

rmSync(target, { recursive: true, force: true });
const command = join(target, "js");
const library = join(target, "library");
const bundled = [
  ...(await bundle(command, "cjs", {
    main: "src/cli/main.ts",
    "data-worker": "src/proxy/worker.ts",
  })),
  ...(await bundle(library, "esm", { index: "src/index.ts" })),
];
// A thread starts at this file, and it at the bundle.
writeFileSync(
  join(command, "worker.cjs"),
  'require("../../bin/bundle.cjs").load("data-worker.cjs");\n',
);
const notices = licenses(new Set(bundled));
for (const folder of [command, library]) {
  copyFileSync(join(repository, "src/runtime/runtime.wasm"), join(folder, "runtime.wasm"));
  writeFileSync(join(folder, "LICENSES.txt"), notices);
}
declareTypes();

/**
 * A folder of files to start at and of what they share: what a module finds beside itself (the worker's
 * file, the runtime) it finds beside its bundle. The command's files are scripts: V8's code for them can be
 * kept (bin/bundle.cjs). Gives the packages that went in.
 */
async function bundle(
  dir: string,
  format: "cjs" | "esm",
  input: Readonly<Record<string, string>>,
): Promise<string[]> {
  const build = await rolldown({
    cwd: repository,
    input: { ...input },
    platform: "node",
    // It has code of its own for each system, and may be missing.
    external: ["koffi"],
    onLog: (_level, { message }) => {
      throw new Error(message);
    },
  });
  const suffix = format === "cjs" ? "cjs" : "js";
  const { output } = await build.write({
    dir,
    format,
    entryFileNames: `[name].${suffix}`,
    chunkFileNames: `[name]-[hash].${suffix}`,
    // Node says on the log of a script's `import()` that it is experimental.
    dynamicImportInCjs: false,
  });
  await build.close();
  const files = output.flatMap((one) => (one.type === "chunk" ? one.moduleIds : []));
  return files.flatMap((file) => packageOf(file) ?? []);
}

/** The package that a file is of; undefined: it is ours. */
function packageOf(file: string): string | undefined {
  if (!file.startsWith(packages)) return undefined;
  const [scope, name] = file.slice(packages.length + 1).split("/");
  return scope!.startsWith("@") ? `${scope}/${name}` : scope!;
}

/** What the packages' licenses want to be told with their code. */
function licenses(names: ReadonlySet<string>): string {
  const texts = [...names].sort().map((name) => {
    const folder = join(packages, name);
    const file = readdirSync(folder).find((one) => /^licen[cs]e(\.|$)/i.test(one));
    if (file === undefined) throw new Error(`${name} has no license file`);
    return `${name}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
  });
  return `These packages are part of the files beside this one.\n\n${texts.join(`\n${"-".repeat(72)}\n\n`)}`;
}

/** The declarations that `src/index.ts` needs. */
function declareTypes(): void {
  const compiler = join(packages, "typescript/bin/tsc");
  const words = [compiler, "-p", join(repository, "tsconfig.build.json")];
  const { status } = spawnSync(process.execPath, [...words, "--outDir", join(target, "types")], {
    stdio: "inherit",
  });
  if (status !== 0) process.exit(1);
}
