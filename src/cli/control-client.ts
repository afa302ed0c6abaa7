import { ControlClient } from "../admin/client.ts";
import { defaultSocketPath } from "../admin/socket.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { parseAdminListen } from "../config/scalars.ts";
import { type ExitCode, errorObject, exitCodes, jsonText, type Terminal } from "./terminal.ts";
import { readToken } from "./token-file.ts";

/** Options of every command that asks a running proxy. */
export interface ControlOptions {
  readonly admin?: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
  /** JSON over several lines. */
  readonly pretty?: boolean;
}

/**
 * A client of the proxy that `--admin` names; without it of the one that WEIR_ADMIN_LISTEN names, as it
 * does for `weir run`; else of this user's own.
 */
export function connectControl(
  { admin, tokenFile }: ControlOptions,
  environment: Terminal["environment"],
): Result<ControlClient, UserError> {
  // An empty variable counts as not set, as in a config.
  const named = admin ?? (environment.WEIR_ADMIN_LISTEN || undefined);
  if (named === undefined) {
    const path = defaultSocketPath(environment, process.getuid?.() ?? 0);
    return ok(new ControlClient({ path }));
  }
  const refuse = (what: string, fix: string): Result<never, UserError> =>
    err(
      new UserError(
        "USAGE_ADMIN",
        `${admin === undefined ? "WEIR_ADMIN_LISTEN" : "--admin"} ${named}`,
        what,
        fix,
      ),
    );
  const parsed = parseAdminListen(named.replace(/^http:\/\//, "").replace(/\/$/, ""));
  if (!parsed.ok) return refuse("names no control API", parsed.error.fix);
  if (parsed.value === "off")
    return refuse("says that there is no control API", "name one with --admin");
  if ("path" in parsed.value) return ok(new ControlClient(parsed.value));
  // Who is named on the command line is not shown the secret of another.
  const file = tokenFile ?? (admin === undefined ? environment.WEIR_ADMIN_TOKEN_FILE : undefined);
  const token = file ? readToken(file) : ok(undefined);
  return token.ok ? ok(new ControlClient({ ...parsed.value, token: token.value })) : token;
}

/** Prints an error as `weir COMMAND: …`; its exit code. */
export function reportError(command: string, error: UserError, terminal: Terminal): ExitCode {
  terminal.error(`weir ${command}: ${error.message}\n`);
  return error.code.startsWith("USAGE_") ? exitCodes.usage : exitCodes.failed;
}

/** Runs a command against the proxy; whatever it cannot do is told in one line, and with `json` as an object. */
export async function withControl(
  command: string,
  options: ControlOptions,
  terminal: Terminal,
  work: (client: ControlClient) => Promise<Result<undefined, UserError>>,
): Promise<ExitCode> {
  const report = (error: UserError): ExitCode => {
    if (options.json === true) terminal.out(jsonText({ error: errorObject(error) }, options));
    return reportError(command, error, terminal);
  };
  const client = connectControl(options, terminal.environment);
  if (!client.ok) return report(client.error);
  try {
    const done = await work(client.value);
    return done.ok ? exitCodes.done : report(done.error);
  } catch (error) {
    // What ends a stream.
    if (error instanceof UserError) return report(error);
    throw error;
  }
}

/** A name in a path of the API. */
export function segment(reference: string): string {
  return encodeURIComponent(reference);
}
