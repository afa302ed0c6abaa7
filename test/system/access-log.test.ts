import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { cleanUp, onCleanUp, TcpClient, tcpEcho } from "../proxy/rig.ts";
import { freePort, startWeir, temporaryFolder } from "../support/processes.ts";

afterEach(cleanUp);

test("sessions are told in JSON lines on the log, those of a stop too, and no payload is", async () => {
  const [echo, port] = [await tcpEcho(), await freePort()];
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const running = await startWeir(
    folder,
    `version: 1
metrics: { listen: off }
accessLog: { sessions: all, drops: true }
drainTimeout: 1ms
upstreams: { app: { addresses: ["127.0.0.1:${echo.port}"] } }
filters: { quiet: { expression: tcp } }
listeners: [{ name: web, protocol: tcp, listen: "127.0.0.1:${port}", upstream: app, ingress: [quiet] }]
`,
  );
  onCleanUp(() => running.stop("SIGKILL"));
  const [one, other] = [1, 2].map(() => new TcpClient({ host: "127.0.0.1", port }));
  for (const client of [one!, other!]) {
    client.write("a secret");
    await client.text(8);
  }
  one!.socket.end();
  await once(one!.socket, "close");
  await running.printed(/"msg":"session end"/);
  await running.stop();
  const lines = running
    .output()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const told = (msg: string) => lines.filter((line) => line.msg === msg);
  expect(told("session start")).toHaveLength(2);
  expect(told("session end").map(({ reason }) => reason)).toEqual(["closed", "shutting_down"]);
  expect(told("session end")[0]).toMatchObject({
    level: "info",
    listener: "web",
    protocol: "tcp",
    upstream: `127.0.0.1:${echo.port}`,
    ingress: { packets: { pass: 4 } },
  });
  expect(running.output()).not.toContain("secret");
});
