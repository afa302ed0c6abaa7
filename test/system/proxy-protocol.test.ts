import { afterEach, expect } from "vitest";
import { needing } from "../support/needing.ts";
import {
  command,
  eventually,
  freePort,
  type Running,
  scrape,
  series,
  start,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function stopping<T extends Running>(running: T): T {
  cleanups.push(() => running.stop());
  return running;
}

/** How haproxy is told to send what a server line of Weir's reads. */
const sent = {
  "version 1": "send-proxy",
  "version 2": "send-proxy-v2",
  "version 2 with a checksum": "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl",
} as const;

for (const [name, option] of Object.entries(sent))
  needing("haproxy", "nginx", "curl")(
    `haproxy tells Weir the client in ${name}, a filter judges by it, and Weir tells nginx`,
    async () => {
      const folder = temporaryFolder();
      cleanups.push(() => folder.remove());
      const [front, middle, web, metrics] = [
        await freePort(),
        await freePort(),
        await freePort(),
        await freePort(),
      ];
      folder.write(
        "nginx.conf",
        `worker_processes 1;
pid ${folder.path}/nginx.pid;
error_log ${folder.path}/error.log;
events {}
http {
  access_log off;
  server {
    listen 127.0.0.1:${web} proxy_protocol;
    location / { return 200 "$proxy_protocol_addr\\n"; }
  }
}
`,
      );
      stopping(start("nginx", ["-c", `${folder.path}/nginx.conf`, "-g", "daemon off;"]));
      stopping(
        await startWeir(
          folder,
          `version: 1
metrics: { listen: "127.0.0.1:${metrics}" }
upstreams: { web: { addresses: ["127.0.0.1:${web}"] } }
filters:
  friends: { expression: "not src host 127.0.0.66" }
listeners:
  - name: web
    protocol: tcp
    listen: "127.0.0.1:${middle}"
    upstream: web
    ingress: [friends]
    proxyProtocol: { accept: required, trust: ["127.0.0.1/32"], send: v2 }
`,
        ),
      );
      folder.write(
        "haproxy.cfg",
        `global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 10s
  timeout server 10s
listen front
  bind 127.0.0.1:${front}
  source 127.0.0.1
  server weir 127.0.0.1:${middle} ${option}
`,
      );
      stopping(start("haproxy", ["-db", "-f", `${folder.path}/haproxy.cfg`]));
      const asked = (source: string, port = front) =>
        command("curl", [
          ...["-s", "--max-time", "5", "--interface", source],
          `http://127.0.0.1:${port}/`,
        ]);
      await eventually(
        async () => ((await asked("127.0.0.5")).code === 0 ? true : undefined),
        "an answer through haproxy, Weir and nginx",
      );
      expect(await asked("127.0.0.5")).toMatchObject({ code: 0, stdout: "127.0.0.5\n" });
      // Refused by the client's address, though it is haproxy that connects.
      expect((await asked("127.0.0.66")).code).not.toBe(0);
      // Not a trusted proxy: refused before any filter.
      expect((await asked("127.0.0.7", middle)).code).not.toBe(0);
      const text = await scrape(metrics);
      const dropped = { listener: "web", direction: "ingress", reason: "filter_drop" };
      expect(series(text, "weir_drops_total", dropped)).toBeGreaterThan(0);
      const untrusted = { listener: "web", reason: "proxy_untrusted" };
      expect(series(text, "weir_receive_errors_total", untrusted)).toBe(1);
      const malformed = { listener: "web", reason: "proxy_header" };
      expect(series(text, "weir_receive_errors_total", malformed) ?? 0).toBe(0);
    },
    30_000,
  );
