import { connect, type NetConnectOpts } from "node:net";
import { defaultSocketPath } from "../admin/socket.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

/** A running proxy answers at once; one that is stuck must not keep the asker. */
const answerTimeoutMs = 1_500;
/** Of a status line: all that is read of an answer. */
const maxAnswerBytes = 1_024;

export interface HealthOptions {
  readonly json?: boolean;
}

/** Where a proxy is asked whether it lives, and what it is asked for there. */
interface Target {
  readonly text: string;
  /** Any of them will do. */
  readonly at: readonly NetConnectOpts[];
  readonly path: string;
}

/**
 * `weir health`: whether a proxy lives, for a container's health check. Asked is its control API,
 * then its `/live`: where the environment says that they listen, else where they do by default. One
 * answer is enough; with `json` an object tells of it. It loads little: it is started again and again.
 */
export async function health(
  { environment, error, out }: Pick<Terminal, "environment" | "error" | "out">,
  options: HealthOptions = {},
  uid = process.getuid?.() ?? 0,
): Promise<ExitCode> {
  const targets = targetsOf(environment, uid);
  const asked: string[] = [];
  for (const target of targets) {
    const failure = typeof target === "string" ? target : await failureOfAll(target);
    if (failure === undefined) {
      if (options.json === true && typeof target !== "string")
        out(`${JSON.stringify({ lives: true, address: target.text })}\n`);
      return exitCodes.done;
    }
    asked.push(typeof target === "string" ? target : `${target.text}: ${failure}`);
  }
  if (options.json === true) out(`${JSON.stringify({ lives: false, asked })}\n`);
  error(
    targets.length === 0
      ? "weir health: WEIR_ADMIN_LISTEN and WEIR_METRICS_LISTEN leave nothing to ask; set one of them to unix:PATH or HOST:PORT, or do without this check\n"
      : `weir health: no proxy lives here (${asked.join("; ")}); where admin.listen and metrics.listen are other addresses, set WEIR_ADMIN_LISTEN or WEIR_METRICS_LISTEN for both\n`,
  );
  return exitCodes.failed;
}

/** Whom to ask, in order; a text says why there is nobody. */
function targetsOf(environment: Terminal["environment"], uid: number): (Target | string)[] {
  // An empty variable counts as not set, as in a config.
  const admin = environment.WEIR_ADMIN_LISTEN || `unix:${defaultSocketPath(environment, uid)}`;
  const metrics = environment.WEIR_METRICS_LISTEN || "127.0.0.1:9464";
  const targets: (Target | string)[] = [];
  const [, path] = /^unix:(.+)$/s.exec(admin) ?? [];
  // An address and port of the control API want a token, which this command has not.
  if (path !== undefined) targets.push({ text: admin, at: [{ path }], path: "/v1/status" });
  else if (admin !== "off" && portOf(admin) === undefined)
    targets.push(
      admin.startsWith("/")
        ? `WEIR_ADMIN_LISTEN is ${JSON.stringify(admin)}: write unix:${admin} for a socket there`
        : `WEIR_ADMIN_LISTEN is ${JSON.stringify(admin)}: not unix:PATH, HOST:PORT or off`,
    );
  const [, host] = /^(.+):\d+$/.exec(metrics) ?? [];
  const port = portOf(metrics);
  if (host !== undefined && port !== undefined)
    targets.push({
      text: metrics,
      at: reachable(host).map((one) => ({ host: one, port })),
      path: "/live",
    });
  else if (metrics !== "off")
    targets.push(`WEIR_METRICS_LISTEN is ${JSON.stringify(metrics)}: not HOST:PORT or off`);
  return targets;
}

/** The port of `HOST:PORT`; undefined: it is none. */
function portOf(address: string): number | undefined {
  const [, digits] = /^.+:(\d{1,5})$/.exec(address) ?? [];
  const port = Number(digits);
  return port <= 65_535 ? port : undefined;
}

/**
 * Addresses to ask what listens on `host`. All addresses are loopback's too, and those of both
 * families: the proxy may have been told the other wildcard than this command.
 */
function reachable(host: string): readonly string[] {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  return bare === "0.0.0.0" || bare === "::" ? ["127.0.0.1", "::1"] : [bare];
}

/** Why a target does not count as alive; undefined: it does. */
async function failureOfAll({ at, path }: Target): Promise<string | undefined> {
  const failures = await Promise.all(at.map((one) => failureOf(one, path)));
  return failures.includes(undefined) ? undefined : [...new Set(failures)].join(", ");
}

/** Why what listens there does not count as alive; undefined: it answered with status 200. */
function failureOf(at: NetConnectOpts, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(at);
    let answer = "";
    const end = (failure: string | undefined): void => {
      clearTimeout(deadline);
      socket.destroy();
      resolve(failure);
    };
    const deadline = setTimeout(() => end("no answer"), answerTimeoutMs);
    socket.setEncoding("latin1");
    socket.on("connect", () =>
      socket.write(`GET ${path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n`),
    );
    socket.on("data", (chunk: string) => {
      answer += chunk;
      const [, status] = /^HTTP\/1\.1 (\d{3})[^\r\n]*\r\n/.exec(answer) ?? [];
      if (status !== undefined) end(status === "200" ? undefined : `status ${status}`);
      else if (answer.length > maxAnswerBytes || answer.includes("\n")) end("not a proxy's answer");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.on("close", () => end("broke the connection off"));
  });
}
