import { readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { maxProvenSteps } from "../../src/engine/engine.ts";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { needing } from "../support/needing.ts";
import { command, temporaryFolder, weir } from "../support/processes.ts";

const page = readFileSync(new URL("../../filters/README.md", import.meta.url), "utf8");
const folder = temporaryFolder();
afterAll(() => folder.remove());

needing("clang")(
  "the filter in filters/README.md builds by its command and does what it says",
  async () => {
    const [, source] = /```c\n(.*?)```/s.exec(page)!;
    const [, build] = /```sh\n(clang .*?)\n```/s.exec(page)!;
    folder.write("udp-sizes.c", source!);
    const built = await command("sh", ["-c", `cd "$1" && ${build}`, "sh", folder.path]);
    expect(built).toMatchObject({ code: 0, stderr: "" });
    const frame = (port: string): string =>
      `02005e00000102005e00000208004500001d0000000040110000cb0071077f0000011234${port}0009000078`;
    const run = ["prog", "run", `${folder.path}/udp-sizes.o`, "--json"];
    const { stdout } = await weir([...run, "--data", frame("0035"), "--data", frame("0009")]);
    const [first, second, last] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect([first.verdict, second.verdict]).toEqual(["pass", "drop"]);
    expect(last.maps.datagrams[0].values).toEqual(["0200000000000000"]);
  },
);

test("filters/README.md names every helper that programs may call", () => {
  const [, row] = /^\| Helpers \| (.*) \|$/m.exec(page)!;
  const named = [...row!.matchAll(/`(\w+)`/g)].map((match) => match[1]!);
  expect(named.toSorted()).toEqual([...helpers.values()].map((helper) => helper.name).toSorted());
});

test("filters/README.md says after how many instructions a run is aborted", () => {
  const [, figure] = /runs longer than .* \(([\d,]+)\) instructions/.exec(page)!;
  expect(Number(figure!.replaceAll(",", ""))).toBe(maxProvenSteps);
});
