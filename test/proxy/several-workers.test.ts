import { afterEach, expect } from "vitest";
import { socketCallsProblem } from "../../src/proxy/socket-calls.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { instantiateRuntime } from "../../src/runtime/instantiate.ts";
import { bytesOf } from "../maps/numbers.ts";
import { mapSpec, type OpenMap, openMap } from "../maps/open-map.ts";
import { needing } from "../support/needing.ts";
import { echoUpstream, PlanBench, silent, stopping } from "./plan-of.ts";
import { cleanUp, udpSocket, value } from "./rig.ts";

afterEach(cleanUp);

const workers = 3;
const clientCount = 48;
const datagramsEach = 20;

/** Counts under the worker's number: for each worker by itself, and for all together. */
const counting = `
  r1 = *(u32 *)(r1 + 16)
  *(u32 *)(r10 - 4) = r1
  r1 = map_by_fd(0) ll
  r2 = r10
  r2 += -4
  call 1
  if r0 == 0 goto missing
  r1 = *(u64 *)(r0 + 0)
  r1 += 1
  *(u64 *)(r0 + 0) = r1
  r1 = map_by_fd(1) ll
  r2 = r10
  r2 += -4
  call 1
  if r0 == 0 goto missing
  r1 = 1
  lock *(u64 *)(r0 + 0) += r1
  r0 = 2
  exit
missing:
  r0 = 1
  exit`;

const hasBatches = (await socketCallsProblem()) === undefined;

for (const io of hasBatches ? (["dgram", "mmsg"] as const) : (["dgram"] as const))
  needing("linux")(
    `io: ${io}: each of several workers keeps its own clients' sessions and counts in its own place of per-CPU maps`,
    async () => {
      const bench = new PlanBench(workers);
      const made = await bench.plan({
        upstreams: [await echoUpstream()],
        listeners: [{ io }],
        workers,
        filters: [{ assembly: counting }],
      });
      const place = { arena: bench.arena, runtime: instantiateRuntime(made.runtime, bench.arena) };
      const own = openMap(mapSpec("percpu_array", 4, 8, workers), workers, place);
      const shared = openMap(mapSpec("array", 4, 8, workers), workers, place);
      const maps = [own.handle, shared.handle];
      const filters = made.filters.map((filter) => ({
        ...filter,
        engine: "jit" as const,
        program: { ...filter.program, maps },
      }));
      const proxy = stopping(value(await startProxy({ ...made, filters }, silent)));
      const { address } = proxy.listeners[0]!;
      const clients = await Promise.all(Array.from({ length: clientCount }, () => udpSocket()));
      await Promise.all(
        clients.map(async (client, number) => {
          for (let i = 0; i < datagramsEach; i++) {
            client.send(`${number}.${i}`, address);
            expect(await client.text()).toBe(`${number}.${i}`);
          }
        }),
      );
      const carried = bench.counters.map((worker) => worker.readPackets(0, "ingress", "pass"));
      expect(carried.reduce((sum, count) => sum + count)).toBe(clientCount * datagramsEach);
      // A worker without any client: once in 90 million runs.
      expect(Math.min(...carried)).toBeGreaterThan(0);
      const seen: string[] = [];
      for (const [worker, count] of carried.entries()) {
        expect(numbersOf(own, worker)).toEqual(
          carried.map((_, cpu) => (cpu === worker ? count : 0)),
        );
        expect(numbersOf(shared, worker)).toEqual([count]);
        const answer = value(await proxy.ask(worker, { kind: "sessions", limit: clientCount }));
        if (answer.kind !== "sessions") throw new Error("another answer");
        expect(answer.sessions).toHaveLength(count / datagramsEach);
        expect(bench.counters[worker]!.readCell(0, "sessions")).toBe(count / datagramsEach);
        seen.push(...answer.sessions.map(({ client }) => client));
      }
      expect(seen.sort()).toEqual(clients.map(({ port }) => `127.0.0.1:${port}`).sort());
    },
  );

/** A map's numbers under `key`: one, or one a CPU. */
function numbersOf({ access }: OpenMap, key: number): number[] {
  return access
    .lookup(bytesOf(key, 4))!
    .map((bytes) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true));
}
