import { createServer, type ServerResponse } from "node:http";
import { afterEach, expect, test } from "vitest";
import { ControlClient } from "../../src/admin/client.ts";
import { cleanUp, onCleanUp } from "../proxy/rig.ts";
import { temporaryFolder } from "../support/processes.ts";

afterEach(cleanUp);

test("what is under way may take longer than an answer may; a proxy that says nothing is given up", async () => {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  const path = `${folder.path}/admin.sock`;
  const underWay = Promise.withResolvers<ServerResponse>();
  const server = createServer((request, response) => {
    if (request.url !== "/long") return;
    response.writeProcessing();
    underWay.resolve(response);
  });
  await new Promise<void>((listening) => server.listen(path, listening));
  onCleanUp(() => {
    server.closeAllConnections();
    server.close();
  });
  const client = new ControlClient({ path }, 100);
  const long = client.send("POST", "/long");
  const response = await underWay.promise;
  // Twice: the first has begun before it is known that the long one's 102 has come.
  for (let i = 0; i < 2; i++)
    expect(await client.get("/silent")).toMatchObject({
      ok: false,
      error: { code: "ADMIN_UNREACHABLE", what: "does not answer" },
    });
  response.end(`{ "done": true }`);
  expect(await long).toEqual({ ok: true, value: { done: true } });
});
