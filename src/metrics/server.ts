import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer } from "../common/http.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { contentTypes, type ExpositionFormat } from "./exposition.ts";
import { negotiateFormat } from "./negotiate.ts";
import type { Metrics } from "./registry.ts";

/** Why the proxy takes no traffic, in a few words, or undefined when it does. */
export type NotReady = () => string | undefined;

/** Bounds on what a client may cost. Times in milliseconds. */
export interface ServerLimits {
  /** From the first byte of a request to its last header. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to its last. */
  readonly requestTimeoutMs: number;
  /** From the request to the last byte of the answer taken by the client. */
  readonly responseTimeoutMs: number;
  /** A connection without requests. */
  readonly idleTimeoutMs: number;
  readonly maxConnections: number;
  /** How long `stop` waits for answers under way. */
  readonly stopGraceMs: number;
}

export const defaultServerLimits: ServerLimits = {
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  responseTimeoutMs: 30_000,
  idleTimeoutMs: 65_000,
  maxConnections: 64,
  stopGraceMs: 1_000,
};

/** Request line and headers together; Prometheus sends some 400 bytes. */
const maxHeaderBytes = 8_192;

export interface MetricsServer {
  /** Where it listens: the port the system chose if 0 was asked for. */
  readonly host: string;
  readonly port: number;
  /** Ends all connections and gives the port back. */
  stop(): Promise<void>;
}

export interface MetricsServerInput {
  readonly listen: { readonly host: string; readonly port: number };
  readonly metrics: Metrics;
  readonly notReady: NotReady;
  /** Takes what went wrong with no client to tell: a bug while rendering, a socket's error. */
  readonly onError: (error: unknown) => void;
  readonly limits?: ServerLimits;
}

/**
 * Serves `/metrics`, `/live` and `/ready` on the main thread. Scrapes that overlap share one
 * rendering; a client too slow to ask or to read is cut off.
 */
export async function startMetricsServer(
  input: MetricsServerInput,
): Promise<Result<MetricsServer, UserError>> {
  const limits = input.limits ?? defaultServerLimits;
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.idleTimeoutMs,
      connectionsCheckingInterval: Math.ceil(limits.headersTimeoutMs / 2),
    },
    answering(input, limits),
  );
  server.maxConnections = limits.maxConnections;
  // Also ends connections that never send anything.
  server.setTimeout(Math.max(limits.idleTimeoutMs, limits.responseTimeoutMs));
  const { host, port } = input.listen;
  const failure = await listening(server, host, port);
  if (failure !== undefined) return err(listenError(failure, host, port));
  server.on("error", input.onError);
  const address = server.address() as AddressInfo;
  return ok({
    host: address.address,
    port: address.port,
    stop: () => stopped(server, limits.stopGraceMs),
  });
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

type Route = (request: IncomingMessage) => Answer | Promise<Answer>;

function answering(input: MetricsServerInput, limits: ServerLimits): RequestListener {
  const scrape = coalesced(input.metrics);
  const routes: Readonly<Record<string, Route>> = {
    "/metrics": async (request) => {
      const format = negotiateFormat(request.headers.accept);
      return { status: 200, type: contentTypes[format], body: await scrape(format) };
    },
    "/live": () => plain(200, "live"),
    "/ready": () => {
      const reason = input.notReady();
      return reason === undefined ? plain(200, "ready") : plain(503, `not ready: ${reason}`);
    },
  };
  const paths = Object.keys(routes).join(" ");
  return (request, response) => {
    const deadline = setTimeout(() => request.socket.destroy(), limits.responseTimeoutMs);
    response.on("close", () => clearTimeout(deadline));
    // Proxies send the whole URL (RFC 9112 §3.2.2).
    const target = (request.url ?? "").replace(/^https?:\/\/[^/]*/i, "");
    const path = target.split("?", 1)[0] as string;
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) return send(request, response, plain(404, `not found; try ${paths}`));
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return send(request, response, plain(405, "only GET and HEAD are allowed here"));
    }
    void answerOf(route, request, input.onError).then((answer) => send(request, response, answer));
  };
}

async function answerOf(
  route: Route,
  request: IncomingMessage,
  onError: (error: unknown) => void,
): Promise<Answer> {
  try {
    return await route(request);
  } catch (error) {
    onError(error);
    return plain(500, "the metrics could not be collected; see the log");
  }
}

/** One rendering a format at a time: a request that comes while one is under way shares it. */
function coalesced(metrics: Metrics): (format: ExpositionFormat) => Promise<string> {
  const underWay = new Map<ExpositionFormat, Promise<string>>();
  return (format) => {
    const shared = underWay.get(format);
    if (shared !== undefined) return shared;
    const rendering = metrics.render(format).finally(() => underWay.delete(format));
    underWay.set(format, rendering);
    return rendering;
  };
}

function plain(status: number, line: string): Answer {
  return { status, type: "text/plain; charset=utf-8", body: `${line}\n` };
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const body = Buffer.from(answer.body);
  // What a refused request still wants to send is not waited for.
  if (answer.status >= 400) response.setHeader("connection", "close");
  response.writeHead(answer.status, {
    "content-type": answer.type,
    "content-length": body.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function listening(
  server: Server,
  host: string,
  port: number,
): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    server.once("error", resolve);
    server.listen({ host, port }, () => {
      server.removeListener("error", resolve);
      resolve(undefined);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): UserError {
  const where = `metrics.listen ${host.includes(":") ? `[${host}]` : host}:${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new UserError(
        "METRICS_LISTEN_IN_USE",
        where,
        "another process listens there",
        "stop it or choose another port",
      );
    case "EACCES":
      return new UserError(
        "METRICS_LISTEN_FORBIDDEN",
        where,
        "the system does not permit it",
        "choose a port above 1023",
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new UserError(
        "METRICS_LISTEN_NO_ADDRESS",
        where,
        "this machine has no such address",
        "use 127.0.0.1, or 0.0.0.0 for all addresses",
      );
    default:
      return new UserError("METRICS_LISTEN", where, error.message);
  }
}

function stopped(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const last = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(last);
      resolve();
    });
    server.closeIdleConnections();
  });
}
