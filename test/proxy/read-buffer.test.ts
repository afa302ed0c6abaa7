import { createHash, randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { firstSizes, ReadBuffer } from "../../src/proxy/read-buffer.ts";
import { cleanUp, startRig, TcpClient, tcpUpstream } from "./rig.ts";

afterEach(cleanUp);

/** Reads of these sizes, as a socket would do them: what each was read into. */
function read(buffer: ReadBuffer, sizes: readonly number[], isFree = true): Uint8Array[] {
  const used: Uint8Array[] = [];
  buffer.onChunk = () => isFree;
  const next = buffer.options.buffer as () => Uint8Array;
  for (const size of sizes) {
    used.push(next());
    buffer.options.callback(size, next());
  }
  return used;
}

test("one buffer serves all reads, while nothing of it is needed any more", () => {
  expect(new Set(read(new ReadBuffer(firstSizes.upstream), [1, 100, 8000])).size).toBe(1);
});

test("bytes that are still needed are not read over", () => {
  expect(new Set(read(new ReadBuffer(firstSizes.upstream), [1, 100, 8000], false)).size).toBe(3);
});

test("a read that fills the buffer makes it a size larger; many small ones a size smaller", () => {
  const sizes = [2920, 8760, 65_700, 9000, ...Array(33).fill(10)];
  const used = read(new ReadBuffer(firstSizes.client), sizes);
  expect(used.map(({ length }) => length / 1460)).toEqual([
    ...[2, 6],
    ...Array(18).fill(45),
    ...Array(16).fill(6),
    2,
  ]);
});

test("the small buffer of a closed connection serves the next, once", () => {
  const first = new ReadBuffer(firstSizes.upstream);
  const [used] = read(first, [1]);
  first.release();
  first.release();
  const [again, other] = [1, 2].map(() => read(new ReadBuffer(firstSizes.upstream), [1])[0]);
  expect(again).toBe(used);
  expect(other).not.toBe(used);
});

test("a client that reads slowly gets every byte of a large answer, in order", async () => {
  const body = randomBytes(4 << 20);
  const upstream = await tcpUpstream((socket) => socket.end(body));
  const rig = await startRig("tcp", { upstreams: [upstream] });
  const client = new TcpClient(rig.address);
  client.socket.on("data", async () => {
    client.socket.pause();
    await setTimeout(1);
    client.socket.resume();
  });
  expect(await client.over).toBe("end");
  const hash = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
  expect(hash(client.received)).toBe(hash(body));
});
