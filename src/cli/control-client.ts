import { ControlClient } from "../admin/client.ts";
import { defaultSocketPath } from "../admin/socket.ts";
import { ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { parseAdminListen } from "../config/scalars.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";
import { readToken } from "./token-file.ts";

/** Options of every command that asks a running proxy. */
export interface ControlOptions {
  readonly admin?: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
  /** JSON over several lines. */
  readonly pretty?: boolean;
}

/** A client of the proxy that `--admin` names; without it, of this user's own. */
export function connectControl(options: ControlOptions): Result<ControlClient, UserError> {
  const { admin, tokenFile } = options;
  const path = defaultSocketPath(process.env, process.getuid?.() ?? 0);
  if (admin === undefined) return ok(new ControlClient({ path }));
  const parsed = parseAdminListen(admin.replace(/^http:\/\//, "").replace(/\/$/, ""));
  if (!parsed.ok || parsed.value === "off")
    return {
      ok: false,
      error: new UserError(
        "USAGE_ADMIN",
        `--admin ${admin}`,
        "names no control API",
        "write unix: and an absolute path, or an address and port",
      ),
    };
  if ("path" in parsed.value) return ok(new ControlClient(parsed.value));
  const token = tokenFile === undefined ? ok(undefined) : readToken(tokenFile);
  return token.ok ? ok(new ControlClient({ ...parsed.value, token: token.value })) : token;
}

/** Prints an error as `weir COMMAND: …`; its exit code. */
export function reportError(command: string, error: UserError, terminal: Terminal): ExitCode {
  terminal.error(`weir ${command}: ${error.message}\n`);
  return error.code.startsWith("USAGE_") ? exitCodes.usage : exitCodes.failed;
}

/** Runs a command against the proxy; whatever it cannot do is told in one line. */
export async function withControl(
  command: string,
  options: ControlOptions,
  terminal: Terminal,
  work: (client: ControlClient) => Promise<Result<undefined, UserError>>,
): Promise<ExitCode> {
  const client = connectControl(options);
  if (!client.ok) return reportError(command, client.error, terminal);
  try {
    const done = await work(client.value);
    return done.ok ? exitCodes.done : reportError(command, done.error, terminal);
  } catch (error) {
    // What ends a stream.
    if (error instanceof UserError) return reportError(command, error, terminal);
    throw error;
  }
}

/** A name in a path of the API. */
export function segment(reference: string): string {
  return encodeURIComponent(reference);
}
