/**
 * Compiles `src/` to `dist/` for the published package: Node strips types nowhere below
 * `node_modules`. Run by `npm pack` through `prepack`.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";

rmSync("dist", { recursive: true, force: true });
const { status } = spawnSync(
  process.execPath,
  ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"],
  { stdio: "inherit" },
);
if (status !== 0) process.exit(1);
copyFileSync("src/runtime/runtime.wasm", "dist/runtime/runtime.wasm");
