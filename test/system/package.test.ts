import { mkdirSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { command, defaultConfig, start, temporaryFolder } from "../support/processes.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const folder = temporaryFolder();
afterAll(() => folder.remove());

test("npm pack yields a package whose weir command works in an empty project", async () => {
  const packed = await npm(repository, ["pack", "--pack-destination", folder.path]);
  expect(packed.code, packed.stderr).toBe(0);
  const [tarball] = readdirSync(folder.path).filter((name) => name.endsWith(".tgz"));
  const project = `${folder.path}/project`;
  mkdirSync(project);
  await npm(project, ["init", "-y"]);
  const installed = await npm(project, ["install", "--prefer-offline", `../${tarball}`]);
  expect(installed.code, installed.stderr).toBe(0);

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
  // Data workers are started from the package too, by their compiled file.
  const running = start(process.execPath, [weir, "run", "-c", config]);
  await running.printed(/"msg":"ready"/);
  expect(await running.stop()).toEqual({ code: 0, signal: null });
}, 180_000);

/** npm as the machine has it: it brings its own Node in a shebang. */
async function npm(cwd: string, args: readonly string[]): ReturnType<typeof command> {
  return command("sh", ["-c", 'cd "$1" && shift && exec npm "$@"', "sh", cwd, ...args]);
}
