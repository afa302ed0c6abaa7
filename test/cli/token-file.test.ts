import { renameSync, rmSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { check } from "../../src/cli/check.ts";
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
  const opened = TokenFile.open({ file, named: undefined }, (error) => refused.push(error.what));
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

test("weir check refuses the token file that weir run would", async () => {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const token = folder.write("token", "secret");
  const config = folder.write(
    "weir.yaml",
    `version: 1
admin: { listen: "127.0.0.1:0", tokenFile: ${token} }
upstreams: { app: { echo: true } }
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app }
`,
  );
  const told: string[] = [];
  const terminal = {
    out: (text: string) => void told.push(text),
    error: (text: string) => void told.push(text),
    interactive: false,
    environment: {},
    input: () => process.stdin,
  };
  expect(await check({ config }, terminal)).toBe(2);
  expect(told.join("")).toContain(
    `${config}:2:44: token file ${token}: holds no token of 16 characters or more`,
  );
  const environment = { WEIR_ADMIN_TOKEN_FILE: `${folder.path}/none` };
  expect(await check({ config }, { ...terminal, environment })).toBe(2);
  expect(told.at(-1)).toContain(
    `WEIR_ADMIN_TOKEN_FILE:1:1: token file ${folder.path}/none: there is no such file; check the path`,
  );
  folder.write("token", one);
  expect(await check({ config }, terminal)).toBe(0);
});

test("a file without a token is refused", () => {
  expect(stage("").opened).toMatchObject({ ok: false, error: { code: "ADMIN_TOKEN" } });
});

test("a token file that is not there is named once", () => {
  const opened = TokenFile.open({ file: "/nowhere/token", named: undefined }, () => {});
  expect(opened.ok ? undefined : opened.error.message).toBe(
    "token file /nowhere/token: there is no such file; check the path",
  );
});
