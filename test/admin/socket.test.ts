import { once } from "node:events";
import { chmodSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { afterEach, expect, test } from "vitest";
import { defaultSocketPath, listenOnSocket, makeSocketFolder } from "../../src/admin/socket.ts";
import { start, temporaryFolder } from "../support/processes.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const made = temporaryFolder();
  cleanups.push(() => made.remove());
  return made.path;
}

/** A server of this process that answers as a Weir of that process id would. */
function server() {
  const made = createServer((_, response) => response.end('{"pid":4711}'));
  cleanups.push(() => made.close());
  return made;
}

const uid = process.getuid!();

test("a socket is for its owner only, whatever the umask", async () => {
  const path = `${folder()}/admin.sock`;
  const before = process.umask(0);
  cleanups.push(() => process.umask(before));
  expect((await listenOnSocket(server(), path)).ok).toBe(true);
  expect(lstatSync(path).mode & 0o777).toBe(0o600);
  expect(process.umask()).toBe(0);
});

test("a socket that a killed process left is replaced", async () => {
  const path = `${folder()}/admin.sock`;
  const dead = start(process.execPath, [
    "-e",
    `require("net").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`,
  ]);
  await dead.printed(/up/);
  await dead.stop("SIGKILL");
  expect(lstatSync(path).isSocket()).toBe(true);
  expect((await listenOnSocket(server(), path)).ok).toBe(true);
});

test("a socket that answers is an error which names the process, and goes on answering", async () => {
  const path = `${folder()}/admin.sock`;
  const first = server();
  expect((await listenOnSocket(first, path)).ok).toBe(true);
  const second = await listenOnSocket(server(), path);
  expect(second).toMatchObject({
    ok: false,
    error: { code: "ADMIN_IN_USE", what: expect.stringContaining("4711") },
  });
  expect(first.listening).toBe(true);
  expect(lstatSync(path).isSocket()).toBe(true);
});

test("what is no socket is left alone", async () => {
  const path = `${folder()}/admin.sock`;
  writeFileSync(path, "precious");
  expect(await listenOnSocket(server(), path)).toMatchObject({ error: { code: "ADMIN_LISTEN" } });
  expect(lstatSync(path).isFile()).toBe(true);
});

for (const { name, path } of [
  { name: "a path longer than a socket's may be", path: `/tmp/${"x".repeat(120)}` },
  { name: "a folder that is not there", path: "/tmp/weir-test-none/of/these/admin.sock" },
])
  test(`${name} is an error with a remedy`, async () => {
    const refused = await listenOnSocket(server(), path);
    expect(refused).toMatchObject({
      error: { code: "ADMIN_LISTEN", fix: expect.stringContaining("name a") },
    });
  });

test("of two that start at once on a stale socket one gets it, and the other is told", async () => {
  const path = `${folder()}/admin.sock`;
  const dead = start(process.execPath, [
    "-e",
    `require("net").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`,
  ]);
  await dead.printed(/up/);
  await dead.stop("SIGKILL");
  const both = await Promise.all([listenOnSocket(server(), path), listenOnSocket(server(), path)]);
  expect(both.map(({ ok }) => ok).sort()).toEqual([false, true]);
});

test("the default is in XDG_RUNTIME_DIR where that is absolute, else in /tmp", () => {
  expect(defaultSocketPath({ XDG_RUNTIME_DIR: "/run/user/7" }, 7)).toBe(
    "/run/user/7/weir-7/admin.sock",
  );
  expect(defaultSocketPath({ XDG_RUNTIME_DIR: "here" }, 7)).toBe("/tmp/weir-7/admin.sock");
  expect(defaultSocketPath({}, 0)).toBe("/tmp/weir-0/admin.sock");
});

test("the default's folder is made for its owner only, and one too open is closed", () => {
  const path = `${folder()}/weir-x/admin.sock`;
  expect(makeSocketFolder(path, uid).ok).toBe(true);
  const made = path.replace("/admin.sock", "");
  expect(lstatSync(made).mode & 0o777).toBe(0o700);
  chmodSync(made, 0o755);
  expect(makeSocketFolder(path, uid).ok).toBe(true);
  expect(lstatSync(made).mode & 0o777).toBe(0o700);
});

test("a folder of another user, or a link, is refused", () => {
  const place = folder();
  mkdirSync(`${place}/theirs`, { mode: 0o700 });
  expect(makeSocketFolder(`${place}/theirs/admin.sock`, uid + 1)).toMatchObject({
    error: { code: "ADMIN_FOLDER", what: `belongs to user ${uid}` },
  });
  symlinkSync(`${place}/theirs`, `${place}/link`);
  expect(makeSocketFolder(`${place}/link/admin.sock`, uid)).toMatchObject({
    error: { what: "is not a folder" },
  });
});

test("the socket's file goes with its server", async () => {
  const path = `${folder()}/admin.sock`;
  const one = server();
  await listenOnSocket(one, path);
  one.close();
  await once(one, "close");
  expect(lstatSync(path, { throwIfNoEntry: false })).toBe(undefined);
});
