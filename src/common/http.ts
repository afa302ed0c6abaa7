import { createRequire } from "node:module";

/**
 * `node:http`. To import it as an ECMAScript module reads everything that it exports, and with that
 * loads an HTTP client and a WebSocket that nobody here uses: 11 MiB of resident memory (Node 26.10).
 */
export const { createServer, request } = createRequire(import.meta.url)(
  "node:http",
) as typeof import("node:http");
