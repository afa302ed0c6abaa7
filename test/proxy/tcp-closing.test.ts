import { once } from "node:events";
import type { Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { endSocket } from "../../src/proxy/tcp-closing.ts";
import { connection } from "./connection.ts";
import { cleanUp } from "./rig.ts";

afterEach(cleanUp);

/** An accepted socket whose client has sent its FIN. */
async function ended(): Promise<{ client: Socket; accepted: Socket }> {
  const pair = await connection();
  pair.client.end();
  pair.accepted.resume();
  await once(pair.accepted, "end");
  return pair;
}

test("the last FIN is the close: the peer gets all bytes and an end", async () => {
  const { client, accepted } = await ended();
  accepted.write("last words");
  expect(accepted.writableLength).toBe(0);
  endSocket(accepted);
  expect(accepted.destroyed).toBe(true);
  expect((await buffer(client)).toString()).toBe("last words");
});

test("a socket with bytes that the kernel has not taken is closed after them", async () => {
  const { client, accepted } = await ended();
  const content = Buffer.alloc(16 << 20, "weir");
  accepted.write(content);
  expect(accepted.writableLength).toBeGreaterThan(0);
  endSocket(accepted);
  expect(accepted.destroyed).toBe(false);
  expect((await buffer(client)).equals(content)).toBe(true);
  if (!accepted.destroyed) await once(accepted, "close");
});

test("a socket whose peer may still send is only shut down", async () => {
  const { client, accepted } = await connection();
  endSocket(accepted);
  client.resume();
  await once(client, "end");
  client.end("still here");
  expect((await buffer(accepted)).toString()).toBe("still here");
});
