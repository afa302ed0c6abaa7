import { createHash, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { z } from "zod";
import { createServer } from "../common/http.ts";
import { parseJson } from "../common/json.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { formatEndpoint } from "../proxy/endpoint.ts";
import type { Control } from "./control.ts";
import { openApiDocument } from "./openapi.ts";
import { problemBody, statusOf } from "./problem.ts";
import type { AnyRoute } from "./route.ts";
import { matchRoute } from "./routes.ts";
import { listenOnSocket } from "./socket.ts";

export interface AdminServerInput {
  readonly listen: { readonly path: string } | { readonly host: string; readonly port: number };
  /** What TCP clients must show; on a Unix socket only where it is set. */
  readonly token: { current(): string } | undefined;
  readonly control: Control;
  /** Takes what went wrong with no client to tell: a bug, a socket's error. */
  readonly onError: (error: unknown) => void;
  readonly limits?: AdminLimits;
}

/** Bounds on what a client may cost. */
export interface AdminLimits {
  readonly maxConnections: number;
  /** Streams at a time: fewer than connections, so that slow readers leave some to whoever acts. */
  readonly maxStreams: number;
  readonly maxBodyBytes: number;
  /** From the first byte of a request to its last. */
  readonly requestTimeoutMs: number;
  /** A reader that takes nothing for so long is cut off. */
  readonly stallTimeoutMs: number;
  /** How long `stop` waits for answers under way. */
  readonly stopGraceMs: number;
}

export const defaultAdminLimits: AdminLimits = {
  maxConnections: 64,
  maxStreams: 32,
  maxBodyBytes: 2 ** 20,
  requestTimeoutMs: 10_000,
  stallTimeoutMs: 30_000,
  stopGraceMs: 500,
};

const maxHeaderBytes = 16_384;

export interface AdminServer {
  /** `unix:PATH`, or address and port. */
  readonly address: string;
  stop(): Promise<void>;
}

/** Serves the control API on the main thread. */
export async function startAdminServer(
  input: AdminServerInput,
): Promise<Result<AdminServer, UserError>> {
  const limits = input.limits ?? defaultAdminLimits;
  const streams = { open: 0 };
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: limits.requestTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: Math.ceil(limits.requestTimeoutMs / 2),
    },
    (request, response) => {
      void answer(input, limits, streams, request, response).catch((error: unknown) => {
        // Not that a client left in the middle of its request.
        if (request.complete || !request.destroyed) input.onError(error);
        response.destroy();
      });
    },
  );
  server.maxConnections = limits.maxConnections;
  const listening =
    "path" in input.listen
      ? await listenOnSocket(server, input.listen.path)
      : await listenOnPort(server, input.listen);
  if (!listening.ok) return listening;
  server.on("error", input.onError);
  return ok({
    address:
      "path" in input.listen
        ? `unix:${input.listen.path}`
        : formatEndpoint(input.listen.host, (server.address() as AddressInfo).port),
    stop: () => stopped(server, limits.stopGraceMs),
  });
}

async function listenOnPort(
  server: Server,
  listen: { readonly host: string; readonly port: number },
): Promise<Result<undefined, UserError>> {
  const failure = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once("error", resolve);
    server.listen(listen, () => {
      server.off("error", resolve);
      resolve(undefined);
    });
  });
  if (failure === undefined) return ok(undefined);
  const where = `admin.listen ${formatEndpoint(listen.host, listen.port)}`;
  return err(
    failure.code === "EADDRINUSE"
      ? new UserError(
          "ADMIN_IN_USE",
          where,
          "another process listens there",
          "stop it or choose another port",
        )
      : new UserError("ADMIN_LISTEN", where, `cannot be listened on (${failure.code})`),
  );
}

async function answer(
  input: AdminServerInput,
  limits: AdminLimits,
  streams: { open: number },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const refuse = (error: UserError): void => {
    // What a refused request still wants to send is not waited for.
    response.setHeader("connection", "close");
    sendJson(response, statusOf(error), problemBody(error), limits);
  };
  if (!isAuthorised(input.token?.current(), request.headers.authorization)) {
    response.setHeader("www-authenticate", "Bearer");
    refuse(
      new UserError(
        "REQUEST_UNAUTHORISED",
        "authorization",
        "the token is missing or wrong",
        "send the one in admin.tokenFile: authorization: Bearer TOKEN",
      ),
    );
    return;
  }
  const url = URL.parse(request.url ?? "", "http://weir");
  if (url?.pathname === "/v1/openapi.json" && request.method === "GET") {
    sendJson(response, 200, openApiDocument(), limits);
    return;
  }
  const match = matchRoute(request.method ?? "", url?.pathname ?? "");
  if (match.kind !== "found") {
    const where = `${request.method} ${(url?.pathname ?? "").slice(0, 200)}`;
    if (match.kind === "no_path")
      refuse(
        new UserError(
          "REQUEST_PATH",
          where,
          "there is no such operation",
          "see GET /v1/openapi.json",
        ),
      );
    else {
      response.setHeader("allow", match.allowed.join(", "));
      refuse(
        new UserError(
          "REQUEST_METHOD",
          where,
          "this path does not take the method",
          `use ${match.allowed.join(" or ")}`,
        ),
      );
    }
    return;
  }
  const { route } = match;
  const path = checked(route.parameters, match.path, "path");
  if (!path.ok) return refuse(path.error);
  const query = checked(route.query, queryOf(url!), "query");
  if (!query.ok) return refuse(query.error);
  const body = await bodyOf(route, request, limits);
  if (!body.ok) return refuse(body.error);
  const given = {
    control: input.control,
    path: path.value as Record<string, unknown>,
    query: query.value as Record<string, unknown>,
    body: body.value,
    signal: gone.signal,
  };
  try {
    if (route.kind === "reply") {
      if (route.isLong) response.writeProcessing();
      const reply = await route.handle(given);
      if (reply.ok) sendJson(response, 200, reply.value, limits);
      else refuse(reply.error);
    } else if (streams.open >= limits.maxStreams)
      refuse(
        new UserError(
          "STREAM_LIMIT",
          route.path,
          `${limits.maxStreams} streams are under way`,
          "end one, or try again",
        ),
      );
    else {
      streams.open++;
      try {
        const rows = await route.handle({ ...given, body: undefined });
        if (rows.ok) await sendRows(response, rows.value, gone.signal, limits);
        else refuse(rows.error);
      } finally {
        streams.open--;
      }
    }
  } catch (error) {
    if (error instanceof UserError && !response.headersSent) return refuse(error);
    throw error;
  }
}

function isAuthorised(token: string | undefined, header: string | undefined): boolean {
  if (token === undefined) return true;
  const given = /^Bearer (.+)$/i.exec(header ?? "")?.[1] ?? "";
  // Of equal length whatever was given, so that comparing takes the same time.
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

/** One given twice is a list, which no parameter takes. */
function queryOf(url: URL): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = {};
  for (const name of new Set(url.searchParams.keys())) {
    const values = url.searchParams.getAll(name);
    query[name] = values.length === 1 ? values[0]! : values;
  }
  return query;
}

async function bodyOf(
  route: AnyRoute,
  request: IncomingMessage,
  { maxBodyBytes }: AdminLimits,
): Promise<Result<unknown, UserError>> {
  const schema = route.kind === "reply" ? route.body : undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Left open where it is too long: the answer goes out on the same socket.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes)
      return err(
        new UserError(
          "REQUEST_TOO_LARGE",
          "body",
          `it has more than ${maxBodyBytes} bytes`,
          "send less at a time",
        ),
      );
    chunks.push(chunk);
  }
  if (schema === undefined) {
    if (bytes === 0) return ok(undefined);
    return err(new UserError("REQUEST_INVALID", "body", "this operation takes none"));
  }
  let json: unknown;
  try {
    json = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    return err(new UserError("REQUEST_INVALID", "body", "it is not JSON"));
  }
  return checked(schema, json, "body");
}

function checked(schema: z.ZodType, value: unknown, where: string): Result<unknown, UserError> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  const [issue] = parsed.error.issues;
  return err(
    new UserError(
      "REQUEST_INVALID",
      [where, ...(issue?.path ?? [])].join("."),
      issue?.message ?? "is not as it should be",
      "see GET /v1/openapi.json",
    ),
  );
}

function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  { stallTimeoutMs }: AdminLimits,
): void {
  response.setTimeout(stallTimeoutMs, () => response.destroy());
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": body.length,
    "cache-control": "no-store",
  });
  response.end(body);
}

/**
 * Rows as lines. The next batch is asked for when the socket has taken the last one: a slow reader
 * holds no more than that, and one that stalls is cut off. An error that ends a stream is its last
 * line.
 */
async function sendRows(
  response: ServerResponse,
  rows: AsyncIterable<readonly unknown[]>,
  signal: AbortSignal,
  { stallTimeoutMs }: AdminLimits,
): Promise<void> {
  response.writeHead(200, {
    "content-type": "application/x-ndjson",
    "cache-control": "no-store",
  });
  try {
    for await (const batch of rows) {
      if (signal.aborted) return;
      let text = "";
      for (const row of batch) text += `${JSON.stringify(row)}\n`;
      if (
        text !== "" &&
        !response.write(text) &&
        !(await drained(response, signal, stallTimeoutMs))
      )
        return;
      // A stream is never the only thing that the main thread does.
      await nextTurn();
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    response.write(`${JSON.stringify(problemBody(error))}\n`);
  }
  response.end();
}

async function drained(
  response: ServerResponse,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<boolean> {
  try {
    await once(response, "drain", {
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    return true;
  } catch {
    response.destroy();
    return false;
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
