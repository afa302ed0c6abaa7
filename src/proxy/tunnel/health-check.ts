import { once } from "node:events";
import type { Server } from "node:http";
import { createServer } from "../../common/http.ts";
import { err, ok, type Result } from "../../common/result.ts";
import type { Address } from "../plan.ts";

/** A load balancer asks from a few addresses; more at once is someone else. */
const maxConnections = 64;
const requestTimeoutMs = 5000;

/**
 * Answers a load balancer's health checks, from the thread that carries its packets: TCP checks by
 * taking the connection, HTTP checks with 200 to whatever is asked.
 */
export class HealthCheck {
  readonly #server: Server;
  #isOpen = false;

  constructor() {
    this.#server = createServer(
      {
        requestTimeout: requestTimeoutMs,
        headersTimeout: requestTimeoutMs,
        connectionsCheckingInterval: 1000,
        maxHeaderSize: 8192,
      },
      (request, response) => {
        // A body is not read: the connection ends with the answer.
        response.writeHead(200, { "content-type": "text/plain", connection: "close" });
        response.end(request.method === "HEAD" ? undefined : "ok\n");
      },
    );
    this.#server.maxConnections = maxConnections;
    // Not well before its tunnel carries anything.
    this.#server.prependListener("connection", (client) => {
      if (!this.#isOpen) client.destroy();
    });
  }

  async listen(at: Address): Promise<Result<undefined, NodeJS.ErrnoException>> {
    const listening = once(this.#server, "listening");
    this.#server.listen({ host: at.host, port: at.port, exclusive: true });
    try {
      await listening;
      this.#server.on("error", () => {});
      return ok(undefined);
    } catch (error) {
      return err(error as NodeJS.ErrnoException);
    }
  }

  /** Answers from now on. */
  open(): void {
    this.#isOpen = true;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
