import { readFileSync } from "node:fs";
import { afterAll, expect, test as vitestTest } from "vitest";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder, weir } from "../support/processes.ts";

const page = readFileSync(new URL("../../filters/README.md", import.meta.url), "utf8");
const test = needing("clang");
const folder = temporaryFolder();
afterAll(() => folder.remove());

const prelude = /```c prelude\n(.*?)```/s.exec(page)![1]!;
const mistakes = [
  ...page.matchAll(
    /\*\*(\d+)\. ([^*]+)\.\*\*\n\n```c mistake\n(.*?)```\n\n`(\w+)` at `(.*?)`:\n\n> (.*?)\n\n```c mended\n(.*?)```/gs,
  ),
].map((match) => match.slice(1) as [string, string, string, string, string, string, string]);

vitestTest("filters/README.md tells of ten mistakes", () => {
  expect(mistakes.map(([number]) => Number(number))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

/** What `weir verify` says of the filter with this body. */
async function verdictOn(name: string, body: string) {
  const source = folder.write(
    `${name}.c`,
    prelude.replace("\t/* here */\n", () => body),
  );
  const { stdout } = await weir(["verify", "--json", build(source)]);
  return JSON.parse(stdout);
}

/** Another clang may take other registers and instructions. */
function withoutNumbers(text: string): string {
  return text
    .replaceAll(/\br\d+\b/g, "r")
    .replaceAll(/instruction \d+ \([\w-]+\.c:\d+\)/g, "instruction");
}

for (const [number, title, mistake, code, line, said, mended] of mistakes)
  test(`the message and the mend of filters/README.md are true: ${title}`, async () => {
    const { accepted, error } = await verdictOn(`mistake-${number}`, mistake);
    expect(accepted).toBe(false);
    expect({ code: error.code, line: error.source.text.trim() }).toEqual({ code, line });
    expect(withoutNumbers(`${error.what}; ${error.fix}`)).toBe(withoutNumbers(said));
    expect(await verdictOn(`mended-${number}`, mended)).toMatchObject({ accepted: true });
  });
