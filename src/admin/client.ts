import type { IncomingMessage } from "node:http";
import { request as httpRequest } from "../common/http.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { problemReply } from "./replies.ts";

/** Where a control API is: a Unix socket's path, or a TCP address and the token for it. */
export type ControlAddress =
  | { readonly path: string }
  | { readonly host: string; readonly port: number; readonly token: string | undefined };

/** A whole answer is held to this; streams are read a line at a time. */
const maxReplyBytes = 256 * 2 ** 20;
const maxLineBytes = 16 * 2 ** 20;

/**
 * Asks a control API. Errors of the API come back as they are; a proxy that is not there, or that
 * says nothing for `answerTimeoutMs`, is one too. What the API says is under way (102) may take
 * longer.
 */
export class ControlClient {
  readonly #address: ControlAddress;
  readonly #answerTimeoutMs: number;

  constructor(address: ControlAddress, answerTimeoutMs = 10_000) {
    this.#address = address;
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  get(path: string): Promise<Result<unknown, UserError>> {
    return this.#whole("GET", path, undefined);
  }

  send(method: "POST" | "PUT", path: string, body?: unknown): Promise<Result<unknown, UserError>> {
    return this.#whole(method, path, body);
  }

  /**
   * Lines of a stream, as they come: the next is read when the last has been taken. Throws the
   * UserError that ends a stream which cannot go on.
   */
  async stream(
    path: string,
    signal?: AbortSignal,
  ): Promise<Result<AsyncGenerator<unknown, void, undefined>, UserError>> {
    const response = await this.#request("GET", path, undefined, signal);
    if (!response.ok) return response;
    if (response.value.statusCode === 200) return ok(lines(response.value, signal));
    return err(await problemOf(response.value));
  }

  async #whole(method: string, path: string, body: unknown): Promise<Result<unknown, UserError>> {
    const response = await this.#request(method, path, body);
    if (!response.ok) return response;
    if (response.value.statusCode !== 200) return err(await problemOf(response.value));
    const text = await textOf(response.value);
    if (!text.ok) return text;
    try {
      return ok(JSON.parse(text.value));
    } catch {
      return err(unexpected("its answer is no JSON"));
    }
  }

  #request(
    method: string,
    path: string,
    body: unknown,
    signal?: AbortSignal,
  ): Promise<Result<IncomingMessage, UserError>> {
    const address = this.#address;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const target =
      "path" in address ? { socketPath: address.path } : { host: address.host, port: address.port };
    const headers = {
      ...(text === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
      ...("token" in address && address.token !== undefined
        ? { authorization: `Bearer ${address.token}` }
        : {}),
    };
    return new Promise((resolve) => {
      const request = httpRequest({
        ...target,
        method,
        path,
        headers,
        agent: false,
        ...(signal === undefined ? {} : { signal }),
      });
      request.setTimeout(this.#answerTimeoutMs, () =>
        request.destroy(Object.assign(new Error("no answer"), { code: "ETIMEDOUT" })),
      );
      // 102: what was asked for is under way, and takes as long as it takes.
      request.once("information", () => request.setTimeout(0));
      request.once("response", (response) => {
        request.setTimeout(0);
        resolve(ok(response));
      });
      request.on("error", (error: NodeJS.ErrnoException) =>
        resolve(err(unreachable(address, error))),
      );
      request.end(text);
    });
  }
}

function unreachable(address: ControlAddress, error: NodeJS.ErrnoException): UserError {
  const where = "path" in address ? `unix:${address.path}` : `${address.host}:${address.port}`;
  const reasons: Readonly<Record<string, readonly [what: string, fix: string]>> = {
    ENOENT: [
      "no Weir runs here",
      "start one with weir run, or name its admin.listen with --admin unix:PATH",
    ],
    ECONNREFUSED: ["nobody listens there", "start weir run, or name another with --admin"],
    EACCES: ["may not be opened", "run this as the user that runs the proxy"],
    ETIMEDOUT: ["does not answer", "see the proxy's log"],
    ECONNRESET: ["broke the connection off", "see the proxy's log"],
  };
  const [what, fix] = reasons[error.code ?? ""] ?? [`cannot be asked: ${error.message}`, undefined];
  return new UserError("ADMIN_UNREACHABLE", where, what, fix);
}

async function textOf(response: IncomingMessage): Promise<Result<string, UserError>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxReplyBytes)
        return err(unexpected(`its answer is above ${maxReplyBytes} bytes`));
      chunks.push(chunk);
    }
  } catch {
    return err(ended());
  }
  return ok(Buffer.concat(chunks).toString("utf8"));
}

/** The error that an answer holds. */
async function problemOf(response: IncomingMessage): Promise<UserError> {
  const text = await textOf(response);
  if (!text.ok) return text.error;
  return readProblem(parse(text.value)) ?? unexpected(`status ${response.statusCode}`);
}

function readProblem(json: unknown): UserError | undefined {
  const parsed = problemReply.safeParse(json);
  if (!parsed.success) return undefined;
  const { code, where, what, fix } = parsed.data.error;
  return new UserError(code, where, what, fix);
}

async function* lines(
  response: IncomingMessage,
  signal: AbortSignal | undefined,
): AsyncGenerator<unknown, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop()!;
      if (rest.length > maxLineBytes) throw unexpected(`a line is above ${maxLineBytes} bytes`);
      for (const line of parts) {
        const row = parse(line);
        if (row === undefined) throw unexpected("a line of its answer is no JSON");
        const problem = readProblem(row);
        if (problem !== undefined) throw problem;
        yield row;
      }
    }
  } catch (error) {
    if (signal?.aborted) return;
    if (error instanceof UserError) throw error;
    throw ended();
  }
  if (rest !== "") throw ended();
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** An answer that breaks off: nothing is wrong with what it said so far. */
function ended(): UserError {
  return new UserError(
    "ADMIN_ENDED",
    "control API",
    "the proxy ended, or broke the connection off",
    "see its log",
  );
}

function unexpected(what: string): UserError {
  return new UserError(
    "ADMIN_ANSWER",
    "control API",
    what,
    "use a weir command of the proxy's own version",
  );
}
