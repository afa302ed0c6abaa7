/**
 * Runs a package's proxy once and keeps what V8 made of its code, for the starts after it:
 *
 *     node scripts/build-code-cache.ts FOLDER [NODE_FLAG…]
 *
 * FOLDER holds `bin`, `dist`, `filters`, `config`, `package.json` and `node_modules`, and no `src`. The flags are those that
 * the proxy will be run with: V8 takes no code that was made with others.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [folder, ...flags] = process.argv.slice(2);
if (folder === undefined) throw new Error("which folder?");
const root = resolve(folder);
const own = mkdtempSync(join(tmpdir(), "weir-code-"));
try {
  const config = join(own, "weir.yaml");
  writeFileSync(config, anywhere(readFileSync(join(root, "config/container.yaml"), "utf8")));
  await run(config);
} finally {
  rmSync(own, { recursive: true });
}

/** The image's own config, on ports of this machine that nobody has. */
function anywhere(text: string): string {
  const moved = text
    .replaceAll(/"0\.0\.0\.0:\d+"/g, '"127.0.0.1:0"')
    .replaceAll("../filters", join(root, "filters"));
  return `${moved}\nadmin: { listen: "unix:${join(own, "admin.sock")}" }\n`;
}

/** From start to end: at each thread's end its code is kept. */
async function run(config: string): Promise<void> {
  const child = spawn(
    process.execPath,
    [...flags, join(root, "bin/weir.js"), "run", "-c", config],
    {
      env: { ...process.env, WEIR_CODE_CACHE: "write" },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const ended = once(child, "exit");
  let log = "";
  let isReady = false;
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    log += text;
    if (isReady || !log.includes('"msg":"ready"')) return;
    isReady = true;
    child.kill("SIGTERM");
  });
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`weir run ended with ${code}:\n${log}`);
}
