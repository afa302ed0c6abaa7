import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import type { EngineKind } from "../../src/engine/engine.ts";
import { compilePlan } from "../../src/proxy/compile-plan.ts";
import { DataWorker } from "../../src/proxy/data-worker.ts";
import { echoUpstream, PlanBench, planOf, silent } from "./plan-of.ts";
import { cleanUp, onCleanUp, udpSocket, value } from "./rig.ts";

afterEach(cleanUp);

const engines: readonly EngineKind[] = ["jit", "interpreter"];
const listeners = [{}];

/** A filter of `length` instructions that passes everything. */
function long(length: number, engine: EngineKind) {
  const lines = ["r3 = 5"];
  while (lines.length < length - 2) lines.push("r3 ^= 7");
  return { assembly: [...lines, "r0 = 2", "exit"].join("\n"), engine };
}

/** Values that structured cloning copies: not what threads share, nor machine code. */
function copied(one: unknown): number {
  if (typeof one !== "object" || one === null) return 1;
  if (one instanceof WebAssembly.Module || one instanceof WebAssembly.Memory) return 1;
  if (ArrayBuffer.isView(one)) return one.buffer instanceof SharedArrayBuffer ? 1 : one.byteLength;
  const parts = one instanceof Set || one instanceof Map ? [...one] : Object.values(one);
  return parts.reduce((sum: number, part) => sum + copied(part), 1);
}

for (const engine of engines) {
  test(`as much of a program of 20,000 instructions is copied to a worker as of one of 10 (${engine})`, async () => {
    const bench = new PlanBench();
    const sizes: number[] = [];
    for (const length of [10, 20_000]) {
      const filters = [long(length, engine)];
      const plan = await bench.plan({ upstreams: [], listeners, filters });
      const compiled = value(await compilePlan(plan, 0));
      // What cannot be cloned throws.
      structuredClone(compiled);
      sizes.push(copied(compiled));
    }
    expect(sizes[1]).toBe(sizes[0]);
  });
}

test("a worker answers datagrams while it loads a plan with a program of 99,000 instructions", async () => {
  const bench = new PlanBench();
  const upstreams = [await echoUpstream()];
  const first = value(await compilePlan(await bench.plan({ upstreams, listeners }), 0));
  const worker = new DataWorker(first, 0, {
    ...silent,
    onAccess: () => {},
    onCrowded: () => {},
    onTrace: () => {},
  });
  onCleanUp(() => worker.stop(0));
  const [address] = value(await worker.prepare(first));
  await worker.commit(0);
  const client = await udpSocket();
  const asked = async (): Promise<void> => {
    client.send("x", address!);
    await client.text();
  };
  await asked();

  const filters = [long(99_000, "jit"), ...[1, 2, 3].map((more) => long(10 + more, "jit"))];
  const plan = await bench.plan({
    upstreams,
    listeners: [{ listen: address! }],
    filters,
  });
  const next = value(await compilePlan(plan, 0));
  let isLoading = true;
  const loaded = worker.prepare(next).then((result) => {
    isLoading = false;
    return value(result);
  });
  let answered = 0;
  for (; isLoading; answered++) await asked();
  await loaded;
  // One of them came after.
  expect(answered).toBeGreaterThanOrEqual(3);
  await worker.commit(0);
  await asked();
  expect(bench.counters[0]!.readPackets(0, "ingress", "pass")).toBe(1 + answered + 1);
});

test("others have a turn between the programs of a plan that is compiled", async () => {
  const filters = [1, 2, 3].map((more) => long(50_000 + more, "jit"));
  const { plan } = await planOf({ upstreams: [], listeners, filters });
  let isCompiling = true;
  const compiled = compilePlan(plan, 0).finally(() => {
    isCompiling = false;
  });
  let turns = 0;
  for (; isCompiling; turns++) await nextTurn();
  value(await compiled);
  expect(turns).toBeGreaterThanOrEqual(filters.length);
});

test("a large program that is called to be compiled leaves nothing in the arena", async () => {
  const { assembly, engine } = long(20_000, "jit");
  const filters = [{ assembly: `*(u64 *)(r10 - 8) = 7\n${assembly}`, engine }];
  const { plan, arena } = await planOf({ upstreams: [], listeners, filters });
  const before = arena.bytes.slice();
  value(await compilePlan(plan, 0));
  expect(Buffer.compare(before, arena.bytes)).toBe(0);
});

test("code is made once: the interpreter's for all workers, the JIT's for each", async () => {
  const filters = [long(10, "jit"), long(10, "interpreter")];
  const { plan } = await planOf({ upstreams: [], listeners, filters, workers: 2 });
  const compiled = async (worker: number) =>
    value(await compilePlan(plan, worker)).filters.map(({ program }) => program);
  const [jit, interpreted] = await compiled(0);
  const [otherJit, otherInterpreted] = await compiled(1);
  expect(otherInterpreted).toBe(interpreted);
  expect(otherJit).not.toBe(jit);
  expect(await compiled(0)).toEqual([jit, interpreted]);
  expect((await compiled(0))[0]).toBe(jit);
});

test("a program of another arena is compiled anew, for its addresses there", async () => {
  const { plan } = await planOf({ upstreams: [], listeners, filters: [long(10, "jit")] });
  const [one] = value(await compilePlan(plan, 0)).filters;
  const { arena } = new PlanBench();
  const [other] = value(await compilePlan({ ...plan, memory: arena.memory }, 0)).filters;
  expect(other!.program).not.toBe(one!.program);
});
