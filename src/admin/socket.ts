import { chmodSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { dirname, isAbsolute } from "node:path";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";

/** sockaddr_un.sun_path, with its final NUL: unix(7). The shorter one of macOS. */
const maxPathBytes = 103;

/**
 * Where the API listens and commands look for it unless they are told: a folder of this user's own,
 * in $XDG_RUNTIME_DIR or /tmp.
 */
export function defaultSocketPath(
  environment: Readonly<Record<string, string | undefined>>,
  uid: number,
): string {
  const { XDG_RUNTIME_DIR: runtime } = environment;
  const folder = runtime !== undefined && isAbsolute(runtime) ? runtime : "/tmp";
  return `${folder}/weir-${uid}/admin.sock`;
}

/** Makes the default socket's folder: mode 0700, ours. Another's, or a link to one, is refused. */
export function makeSocketFolder(path: string, uid: number): Result<undefined, UserError> {
  const folder = dirname(path);
  const refuse = (what: string, fix: string): Result<never, UserError> =>
    err(new UserError("ADMIN_FOLDER", folder, what, fix));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EEXIST")
      return refuse(
        `cannot be made (${code})`,
        "set admin.listen to unix: and a path in a folder that is there, or to off",
      );
  }
  const status = lstatSync(folder);
  if (!status.isDirectory() || status.uid !== uid)
    return refuse(
      status.isDirectory() ? `belongs to user ${status.uid}` : "is not a folder",
      "remove it, or set admin.listen to unix: and another path",
    );
  if ((status.mode & 0o077) !== 0) chmodSync(folder, 0o700);
  return ok(undefined);
}

/**
 * Listens on a Unix socket of mode 0600. One that a dead process left is replaced; one that answers
 * is an error, which names the process if that says who it is.
 */
export async function listenOnSocket(
  server: Server,
  path: string,
): Promise<Result<undefined, UserError>> {
  const where = `admin.listen unix:${path}`;
  if (Buffer.byteLength(path) > maxPathBytes)
    return err(
      new UserError(
        "ADMIN_LISTEN",
        where,
        `a socket's path has at most ${maxPathBytes} bytes`,
        "name a shorter one",
      ),
    );
  for (;;) {
    const found = socketAt(path);
    if (found === notSocket)
      return err(
        new UserError("ADMIN_LISTEN", where, "is there and no socket", "name another path"),
      );
    if (found !== undefined) {
      if (await answers(path)) return err(await inUse(path, where));
      // Another process may have replaced it meanwhile: then it is that one's to be asked.
      if (socketAt(path) !== found) continue;
      unlinkSync(path);
    }
    const failure = await bind(server, path);
    if (failure === undefined) return ok(undefined);
    if (failure.code === "EADDRINUSE") continue;
    return err(
      new UserError(
        "ADMIN_LISTEN",
        where,
        failure.code === "ENOENT"
          ? "its folder is not there"
          : `cannot be listened on (${failure.code})`,
        "name a path in a folder that is there and yours, or off",
      ),
    );
  }
}

/** Which socket is there: inode numbers alone are used again at once. */
function socketAt(path: string): string | undefined {
  const status = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  if (status === undefined) return undefined;
  return status.isSocket() ? `${status.ino} of ${status.ctimeNs}` : notSocket;
}

const notSocket = "not a socket";

function bind(server: Server, path: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    server.once("error", resolve);
    // The socket is made within `listen`: nobody can open it before its mode is set.
    const before = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off("error", resolve);
        resolve(undefined);
      });
    } finally {
      process.umask(before);
    }
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (live: boolean): void => {
      socket.destroy();
      resolve(live);
    };
    socket.once("connect", () => end(true));
    socket.once("error", ({ code }: NodeJS.ErrnoException) =>
      // A full backlog is a process that is there.
      end(code !== "ECONNREFUSED" && code !== "ENOENT"),
    );
  });
}

async function inUse(path: string, where: string): Promise<UserError> {
  // The client is not needed to serve: it is loaded to word this one error.
  const { ControlClient } = await import("./client.ts");
  const client = new ControlClient({ path });
  const status = await client.get("/v1/status");
  const pid = status.ok ? (status.value as { pid?: unknown }).pid : undefined;
  return new UserError(
    "ADMIN_IN_USE",
    where,
    typeof pid === "number"
      ? `another Weir (process ${pid}) listens there`
      : "another process listens there",
    "stop it, or set admin.listen to unix: and another path",
  );
}
