import { once } from "node:events";
import { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { readAccepted } from "../../src/proxy/accepted-reads.ts";
import { connection } from "./connection.ts";
import { cleanUp } from "./rig.ts";

afterEach(cleanUp);

test("an accepted socket is read into the buffers that it is given, and ends", async () => {
  const { client, accepted } = await connection();
  const buffers = [Buffer.alloc(3), Buffer.alloc(5)];
  const chunks: string[] = [];
  let next = 0;
  const taken = readAccepted(accepted, {
    buffer: () => buffers[next++ % 2]!,
    callback: (bytes, buffer) => {
      chunks.push(Buffer.from(buffer.subarray(0, bytes)).toString());
      return true;
    },
  });
  expect(taken).toBe(true);
  accepted.on("data", () => chunks.push("data"));
  accepted.read(0);
  client.end("abcdefghij");
  await once(accepted, "end");
  expect(chunks).toEqual(["abc", "defgh", "ij"]);
});

test("a socket that was read from, or has no handle, is left as it is", async () => {
  const { client, accepted } = await connection();
  client.write("early");
  accepted.resume();
  await once(accepted, "data");
  const unused = {
    buffer: (): Buffer => expect.unreachable(),
    callback: (): boolean => expect.unreachable(),
  };
  expect(readAccepted(accepted, unused)).toBe(false);
  client.write("late");
  expect((await once(accepted, "data")).toString()).toBe("late");
  expect(readAccepted(new Socket(), unused)).toBe(false);
});

test("a socket whose inside is another is left as it is", () => {
  const handle = { useUserBuffer: () => expect.unreachable() };
  const other = { _handle: handle, bytesRead: 0 } as unknown as Socket;
  const buffer = (): Buffer => expect.unreachable();
  expect(readAccepted(other, { buffer, callback: () => true })).toBe(false);
  expect(Object.keys(other)).toEqual(["_handle", "bytesRead"]);
});
