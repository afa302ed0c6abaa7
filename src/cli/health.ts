import { connect, type NetConnectOpts } from "node:net";
import { defaultSocketPath } from "../admin/socket.ts";
import { type ExitCode, exitCodes, type Terminal } from "./terminal.ts";

/** A running proxy answers at once; one that is stuck must not keep the asker. */
const answerTimeoutMs = 1_500;
/** Of a status line: all that is read of an answer. */
const maxAnswerBytes = 1_024;

/** Where a proxy is asked whether it lives, and what it is asked for there. */
interface Target {
  readonly text: string;
  readonly at: NetConnectOpts;
  readonly path: string;
}

/**
 * `weir health`: whether a proxy lives, for a container's health check. Asked is its control API,
 * then its `/live`: where the environment says that they listen, else where they do by default. One
 * answer is enough. It loads little: it is started again and again.
 */
export async function health(
  { environment, error }: Pick<Terminal, "environment" | "error">,
  uid = process.getuid?.() ?? 0,
): Promise<ExitCode> {
  const asked: string[] = [];
  for (const target of targetsOf(environment, uid)) {
    const failure = await failureOf(target);
    if (failure === undefined) return exitCodes.done;
    asked.push(`${target.text}: ${failure}`);
  }
  error(
    `weir health: no proxy lives here (${asked.join("; ")}); where admin.listen and metrics.listen are other addresses, set WEIR_ADMIN_LISTEN or WEIR_METRICS_LISTEN for both\n`,
  );
  return exitCodes.failed;
}

function targetsOf(environment: Terminal["environment"], uid: number): Target[] {
  const { WEIR_ADMIN_LISTEN: admin, WEIR_METRICS_LISTEN: metrics = "127.0.0.1:9464" } = environment;
  const path =
    admin === undefined ? defaultSocketPath(environment, uid) : /^unix:(.+)$/s.exec(admin)?.[1];
  const [, host, port] = /^(.+):(\d+)$/.exec(metrics) ?? [];
  return [
    ...(path === undefined ? [] : [{ text: `unix:${path}`, at: { path }, path: "/v1/status" }]),
    ...(host === undefined
      ? []
      : [{ text: metrics, at: { host: reachable(host), port: Number(port) }, path: "/live" }]),
  ];
}

/** An address to ask what listens on `host`: all addresses are loopback's too. */
function reachable(host: string): string {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (bare === "0.0.0.0") return "127.0.0.1";
  return bare === "::" ? "::1" : bare;
}

/** Why a target does not count as alive; undefined: it answered with status 200. */
function failureOf({ at, path }: Target): Promise<string | undefined> {
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
