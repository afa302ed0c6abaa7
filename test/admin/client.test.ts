import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, expect, test } from "vitest";
import { ControlClient } from "../../src/admin/client.ts";
import { cleanUp, onCleanUp } from "../proxy/rig.ts";
import { temporaryFolder } from "../support/processes.ts";

afterEach(cleanUp);

/** A control API that sends this much of an answer, and breaks off. */
async function breakingOff(body: string): Promise<ControlClient> {
  const folder = temporaryFolder();
  const path = `${folder.path}/admin.sock`;
  const server = createServer((_request, response) => {
    response.writeHead(200);
    response.write(body, () => response.destroy());
  }).listen(path);
  await once(server, "listening");
  onCleanUp(async () => {
    server.close();
    folder.remove();
  });
  return new ControlClient({ path });
}

const ended = "control API: the proxy ended, or broke the connection off; see its log";

for (const [name, body, rows] of [
  ["between two lines", '{"a":1}\n', [{ a: 1 }]],
  ["within a line", '{"a":1}\n{"b"', [{ a: 1 }]],
] as const)
  test(`a stream that breaks off ${name} gives what came, and says that the proxy ended`, async () => {
    const stream = await (await breakingOff(body)).stream("/v1/events");
    if (!stream.ok) throw stream.error;
    const taken: unknown[] = [];
    const read = async (): Promise<void> => {
      for await (const row of stream.value) taken.push(row);
    };
    await expect(read()).rejects.toThrow(ended);
    expect(taken).toEqual(rows);
  });

test("an answer that breaks off says that the proxy ended", async () => {
  const answer = await (await breakingOff('{"pid"')).get("/v1/status");
  expect(answer).toMatchObject({ ok: false, error: { code: "ADMIN_ENDED", message: ended } });
});
