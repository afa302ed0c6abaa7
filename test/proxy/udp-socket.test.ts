import { createSocket, type Socket } from "node:dgram";
import { afterEach, expect, test } from "vitest";
import {
  type BindOptions,
  bindSocket,
  maxQueuedBytes,
  numericLookup,
  SendRoom,
} from "../../src/proxy/udp-socket.ts";

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

/** Room for a socket with `queuedBytes` waiting, as the test has it, and how often it was looked at. */
function room() {
  const socket = { queuedBytes: 0, looks: 0 };
  const sendRoom = new SendRoom({
    getSendQueueSize: () => {
      socket.looks++;
      return socket.queuedBytes;
    },
  });
  return { socket, take: (bytes: number) => sendRoom.take(bytes) };
}

test("there is room for a datagram exactly while no more waits than may, whatever was sent before", () => {
  const { socket, take } = room();
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % below;
  };
  const answers = { true: 0, false: 0 };
  for (let i = 0; i < 20_000; i++) {
    const had = socket.queuedBytes <= maxQueuedBytes;
    const bytes = random(65_508);
    const has = take(bytes);
    expect(has).toBe(had);
    answers[`${has}`]++;
    if (has) socket.queuedBytes += bytes;
    // The kernel takes some or all of what waits.
    if (random(50) === 0) socket.queuedBytes = random(socket.queuedBytes + 1);
    if (random(200) === 0) socket.queuedBytes = 0;
  }
  expect(answers.true).toBeGreaterThan(1_000);
  expect(answers.false).toBeGreaterThan(100);
});

test("what waits is looked at once a mebibyte sent, not for each datagram", () => {
  const { socket, take } = room();
  for (let i = 0; i < 10_000; i++) expect(take(1_024)).toBe(true);
  expect(socket.looks).toBe(Math.floor((10_000 * 1_024) / (maxQueuedBytes + 1_024)));
});
