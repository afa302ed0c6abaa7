import { renameSync, rmSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { TokenFile } from "../../src/cli/token-file.ts";
import { cleanUp, onCleanUp, value } from "../proxy/rig.ts";
import { temporaryFolder } from "../support/processes.ts";

afterEach(cleanUp);

const [one, other] = ["0123456789abcdef", "fedcba9876543210"];

function stage(text: string) {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const file = folder.write("token", text);
  const refused: string[] = [];
  const opened = TokenFile.open(file, (error) => refused.push(error.what));
  return { folder, file, refused, opened };
}

test("a token is what is in its file but white space around, and another once the file is", () => {
  const { folder, file, refused, opened } = stage(`${one}\n`);
  const token = value(opened);
  expect([token.current(), token.current()]).toEqual([one, one]);
  folder.write("token", `\t${other}\n`);
  expect(token.current()).toBe(other);
  // As Kubernetes replaces a secret: by name, with the same length.
  renameSync(folder.write("next", one), file);
  expect(token.current()).toBe(one);
  expect(refused).toEqual([]);
});

for (const { what, change } of [
  { what: "that is gone", change: (file: string) => rmSync(file) },
  {
    what: "with a token that can be guessed",
    change: (_: string, write: (name: string, text: string) => string) => write("token", "secret"),
  },
])
  test(`a file ${what} leaves the token before, and that is told once`, () => {
    const { folder, file, refused, opened } = stage(one);
    const token = value(opened);
    change(file, folder.write);
    expect([token.current(), token.current()]).toEqual([one, one]);
    expect(refused).toHaveLength(1);
    folder.write("token", other);
    expect(token.current()).toBe(other);
  });

test("a file without a token is refused", () => {
  expect(stage("").opened).toMatchObject({ ok: false, error: { code: "ADMIN_TOKEN" } });
});
