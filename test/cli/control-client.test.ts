import { afterAll, describe, expect, test } from "vitest";
import { type AdminRig, startAdminRig } from "../admin/rig.ts";
import { temporaryFolder } from "../support/processes.ts";
import { inProcess } from "./in-process.ts";

/** Which proxy a command asks. */
const folder = temporaryFolder();
let rig: Promise<AdminRig> | undefined;
afterAll(async () => {
  await (await rig)?.stop();
  folder.remove();
});
const up = (): Promise<AdminRig> => {
  rig ??= startAdminRig();
  return rig;
};

describe("a command without --admin", () => {
  test("asks the proxy that WEIR_ADMIN_LISTEN names, as weir run binds it", async () => {
    const { socket } = await up();
    const listed = await inProcess(["list"], { WEIR_ADMIN_LISTEN: `unix:${socket}` });
    expect(listed).toMatchObject({ code: 0, stderr: "" });
    expect(listed.stdout).toContain("blocklist");
  });

  test("asks this user's own where the variable is empty", async () => {
    const { code, stderr } = await inProcess(["list"], {
      WEIR_ADMIN_LISTEN: "",
      XDG_RUNTIME_DIR: folder.path,
    });
    expect(code).toBe(1);
    expect(stderr).toContain(`weir list: unix:${folder.path}/weir-`);
  });

  test("reads the token that WEIR_ADMIN_TOKEN_FILE names; one with --admin does not", async () => {
    const token = folder.write("token", "short");
    const environment = { WEIR_ADMIN_LISTEN: "127.0.0.1:1", WEIR_ADMIN_TOKEN_FILE: token };
    const own = await inProcess(["list"], environment);
    expect(own.stderr).toContain(`weir list: token file ${token}: holds no token of 16`);
    const other = await inProcess(["list", "--admin", "127.0.0.1:1"], environment);
    expect(other.stderr).toContain("weir list: 127.0.0.1:1: nobody listens there");
  });
});

test("--admin goes before WEIR_ADMIN_LISTEN", async () => {
  const { socket } = await up();
  const run = await inProcess(["list", "--admin", `unix:${socket}`], { WEIR_ADMIN_LISTEN: "junk" });
  expect(run).toMatchObject({ code: 0, stderr: "" });
});

for (const { admin, told } of [
  { admin: "/run/w.sock", told: "names no control API; write unix:/run/w.sock for a socket there" },
  { admin: "unix:w.sock", told: "names no control API; write unix: and an absolute path: unix:" },
  { admin: "127.0.0.1", told: "names no control API; " },
  { admin: "off", told: "says that there is no control API; name one with --admin" },
])
  test(`a control API at ${admin} is wrong usage, and what would be right is said`, async () => {
    for (const [option, variable] of [
      [["--admin", admin], undefined],
      [[], admin],
    ] as const) {
      const where = variable === undefined ? "--admin" : "WEIR_ADMIN_LISTEN";
      expect(await inProcess(["list", ...option], { WEIR_ADMIN_LISTEN: variable })).toEqual({
        code: 2,
        stdout: "",
        stderr: expect.stringContaining(`weir list: ${where} ${admin}: ${told}`),
      });
    }
  });
