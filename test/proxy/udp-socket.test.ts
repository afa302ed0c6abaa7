import { createSocket, type Socket } from "node:dgram";
import { afterEach, expect, test } from "vitest";
import { type BindOptions, bindSocket, numericLookup } from "../../src/proxy/udp-socket.ts";

const open: Socket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

function bound(options: Partial<BindOptions>): Promise<Socket> {
  const all = {
    family: 4,
    host: "127.0.0.1",
    port: 0,
    reusePort: false,
    sendsOnly: false,
  } as const;
  return new Promise((resolve, reject) =>
    bindSocket({ ...all, ...options }, (result) => {
      if (!result.ok) {
        reject(result.error);
        return;
      }
      open.push(result.value);
      resolve(result.value);
    }),
  );
}

test("a socket that only sends asks for no memory to receive into, and as much as others to send from", async () => {
  const plain = createSocket({ type: "udp4", lookup: numericLookup });
  open.push(plain);
  await new Promise<void>((resolve) => plain.bind(0, "127.0.0.1", resolve));
  const sending = await bound({ sendsOnly: true });
  expect(sending.getRecvBufferSize()).toBe(plain.getRecvBufferSize());
  const receiving = await bound({});
  expect(receiving.getRecvBufferSize()).toBeGreaterThan(plain.getRecvBufferSize());
  expect(sending.getSendBufferSize()).toBe(receiving.getSendBufferSize());
});

test("an address that is in use is refused", async () => {
  const { port } = (await bound({})).address();
  await expect(bound({ port })).rejects.toThrow("EADDRINUSE");
});
