import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needing } from "../support/needing.ts";
import { command, defaultConfig, start, temporaryFolder } from "../support/processes.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const folder = temporaryFolder();
const project = `${folder.path}/project`;
afterAll(() => folder.remove());

beforeAll(async () => {
  const packed = await npm(repository, ["pack", "--pack-destination", folder.path]);
  expect(packed.code, packed.stderr).toBe(0);
  const [tarball] = readdirSync(folder.path).filter((name) => name.endsWith(".tgz"));
  mkdirSync(project);
  await npm(project, ["init", "-y"]);
  const installed = await npm(project, ["install", "--prefer-offline", `../${tarball}`]);
  expect(installed.code, installed.stderr).toBe(0);
}, 180_000);

test("npm pack yields a package whose weir command works in an empty project", async () => {
  const weir = `${project}/node_modules/.bin/weir`;
  const version = await command(process.execPath, [weir, "--version"]);
  expect(version).toMatchObject({
    code: 0,
    stderr: "",
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
  });
  const { text } = await defaultConfig();
  const config = folder.write(
    "weir.yaml",
    text.replaceAll(/object: .*filters/g, `object: ${project}/node_modules/weir/filters`),
  );
  const checked = await command(process.execPath, [weir, "check", "-c", config]);
  expect(checked).toMatchObject({ code: 0, stderr: "" });
  // Data workers are started from the package too, by their compiled file, and load koffi.
  const batched = folder.write(
    "batched.yaml",
    readFileSync(config, "utf8").replace("protocol: udp", "protocol: udp\n    io: auto"),
  );
  expect(readFileSync(batched, "utf8")).toContain("io: auto");
  const running = start(process.execPath, [weir, "run", "-c", batched]);
  await running.printed(/"msg":"ready"/);
  expect(await running.stop()).toEqual({ code: 0, signal: null });
  expect(running.output()).toContain('"io":"mmsg"');
  expect(running.output()).not.toContain("Warning");
}, 60_000);

test("V8's code that was kept is taken by the same Node, and left aside where it does not fit", async () => {
  const root = `${project}/node_modules/weir`;
  const keeping = await command(process.execPath, [
    `${repository}scripts/build-code-cache.ts`,
    root,
    "--no-maglev",
  ]);
  expect(keeping).toMatchObject({ code: 0, stderr: "" });
  const taken = async (flags: readonly string[], environment = {}) => {
    const { stdout, stderr } = await command("env", [
      ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      process.execPath,
      ...flags,
      "-e",
      `const { load, scripts } = require(${JSON.stringify(`${root}/bin/bundle.cjs`)});
       load("main.cjs").main(["--version"]).then(() => console.log(scripts.get("main.cjs").cachedDataRejected));`,
    ]);
    expect(stderr).toBe("");
    const [version, rejected] = stdout.split("\n");
    expect(version).toMatch(/^\d+\.\d+\.\d+$/);
    return rejected;
  };
  expect(await taken(["--no-maglev"])).toBe("false");
  // Made with other flags: V8 itself refuses it.
  expect(await taken([])).toBe("true");
  expect(await taken(["--no-maglev"], { WEIR_CODE_CACHE: "off" })).toBe("undefined");
  const file = `${root}/dist/js/code/main/main.cjs.code`;
  const code = readFileSync(file);
  code[code.length >> 1]! ^= 0xff;
  writeFileSync(file, code);
  expect(await taken(["--no-maglev"])).toBe("undefined");
  writeFileSync(file, code.subarray(0, 2));
  expect(await taken(["--no-maglev"])).toBe("undefined");
  // A bundle of another version, of the same length: V8 would not see it.
  code[code.length >> 1]! ^= 0xff;
  writeFileSync(file, code);
  expect(await taken(["--no-maglev"])).toBe("false");
  const bundled = `${root}/dist/js/main.cjs`;
  const text = readFileSync(bundled, "utf8");
  writeFileSync(bundled, text.replace(/\n$/, " "));
  expect(await taken(["--no-maglev"])).toBe("undefined");
  writeFileSync(bundled, text);
  rmSync(`${root}/dist/js/code`, { recursive: true });
}, 60_000);

test("the package's types compile where no others are: no DOM, no @types/node, no library skipped", async () => {
  const file = `${project}/use.ts`;
  writeFileSync(
    file,
    `import { type LoadedMap, loadObject, type RunResult, UserError, udpFrame } from "weir";
export async function verdictOf(object: string | Uint8Array): Promise<RunResult["verdict"]> {
  using loaded = await loadObject(object, { engine: "jit", globals: { limit: 1 } });
  const blocked: LoadedMap<string, number> = loaded.map<string, number>("blocked");
  blocked.set("203.0.113.0/24", 1);
  const packet = udpFrame({ from: "192.0.2.1:1", to: "192.0.2.2:2", payload: "x" });
  return loaded.program("guard").run(packet, { ctx: { ifindex: 2 } }).verdict;
}
export const codeOf = (error: unknown): string => (error instanceof UserError ? error.code : "");
`,
  );
  const options = "--ignoreConfig --noEmit --strict --module nodenext --target es2024 --lib es2024";
  const typed = await command(process.execPath, [
    `${repository}node_modules/typescript/bin/tsc`,
    ...`${options} --skipLibCheck false`.split(" "),
    file,
  ]);
  expect(typed).toMatchObject({ code: 0, stdout: "" });
}, 60_000);

test("every file that the package's pages point at is in the package", () => {
  const root = `${project}/node_modules/weir`;
  const pages = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith(".md") && !path.startsWith("node_modules"),
  );
  expect(pages).toContain("src/library/README.md");
  for (const page of pages) {
    const links = readFileSync(`${root}/${page}`, "utf8").matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g);
    for (const [, link] of links)
      expect(existsSync(join(root, dirname(page), link!)), `${page}: ${link}`).toBe(true);
  }
});

needing("clang")(
  "the example of unit tests type-checks and passes on the package, as its README has it",
  async () => {
    const example = `${project}/example`;
    cpSync(`${project}/node_modules/weir/examples/unit-test`, example, { recursive: true });
    for (const name of ["vitest", "@types"])
      symlinkSync(`${repository}node_modules/${name}`, `${project}/node_modules/${name}`);
    const options =
      "--ignoreConfig --noEmit --strict --types node --module nodenext --target es2024";
    const typed = await command(process.execPath, [
      `${repository}node_modules/typescript/bin/tsc`,
      ...`${options} --skipLibCheck --lib es2024,esnext.disposable`.split(" "),
      `${example}/guard.test.ts`,
    ]);
    expect(typed).toMatchObject({ code: 0, stdout: "" });
    const built = await npm(example, ["run", "build"]);
    expect(built.code, built.stderr).toBe(0);
    const vitest = `${repository}node_modules/vitest/vitest.mjs`;
    const tested = await command(process.execPath, [vitest, "run", "--root", example]);
    expect(tested.code, tested.stdout + tested.stderr).toBe(0);
    expect(tested.stdout).toMatch(/Tests.*3 passed/);
  },
  60_000,
);

/** npm as the machine has it: it brings its own Node in a shebang. */
async function npm(cwd: string, args: readonly string[]): ReturnType<typeof command> {
  return command("sh", ["-c", 'cd "$1" && shift && exec npm "$@"', "sh", cwd, ...args]);
}
