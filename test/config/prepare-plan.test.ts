import { expect, test } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/load-config.ts";
import { memoryNeed } from "../../src/config/memory-need.ts";
import { needsEcho, preparePlan } from "../../src/config/prepare-plan.ts";
import { unresolvedText } from "../../src/config/resolve-upstreams.ts";
import type { LinkedProgram } from "../../src/engine/engine.ts";
import { stackBytes } from "../../src/engine/engine.ts";
import { Counters, placeBytes } from "../../src/filter/counters.ts";
import { type Instruction, register } from "../../src/isa/instruction.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";

function configOf(text: string): Config {
  const config = parseConfig(text, "config/t.yaml");
  if (!config.ok) throw new Error(config.error.map(String).join("\n"));
  return config.value;
}

const text = `version: 1
workers: 2
upstreams: { app: { addresses: ["127.0.0.1:5353"] }, pot: { addresses: ["pot.test:1", "[::1]:2"] }, self: { echo: true } }
ports: { 2: pot, 3: self }
filters:
  count: { object: ../filters/count-by-protocol.o }
  block:
    object: ../filters/blocklist.o
    globals: { default_action: 2 }
    maps:
      blocked: { entries: [{ key: 10.0.0.0/8, value: 7 }, { key: 192.0.2.1/32, value: 8 }] }
      blocked_packets_total: { entries: [{ key: 7, value: 100 }] }
listeners:
  - { name: a, protocol: udp, listen: "0.0.0.0:1", upstream: app, ingress: [count, block], localAddress: 192.0.2.1 }
  - { name: b, protocol: tcp, listen: "127.0.0.1:2", upstream: pot, ingress: ["block:xdp_blocklist"], egress: [count] }
`;
const echo = { host: "127.0.0.1", port: 7 };
const resolve = async (host: string): Promise<readonly string[]> => {
  if (host === "pot.test") return ["192.0.2.9"];
  throw Object.assign(new Error("not found"), { code: "ENOTFOUND" });
};

test("a plan names filters, upstreams and ports by their places in its lists", async () => {
  const config = configOf(text);
  expect(needsEcho(config)).toBe(true);
  const prepared = await preparePlan(config, { echo, resolve });
  if (!prepared.ok) throw new Error(prepared.error.map(String).join("\n"));
  const { plan } = prepared.value;
  expect(plan.upstreams).toMatchObject([
    { name: "app", addresses: [{ host: "127.0.0.1", port: 5353 }] },
    {
      name: "pot",
      addresses: [
        { host: "192.0.2.9", port: 1 },
        { host: "::1", port: 2 },
      ],
    },
    { name: "self", addresses: [echo] },
  ]);
  expect(plan.ports).toEqual([
    { ifindex: 2, upstream: 1 },
    { ifindex: 3, upstream: 2 },
  ]);
  expect(plan.filters.map(({ name, engine, program }) => [name, engine, program.name])).toEqual([
    ["count", "jit", "xdp_count_by_protocol"],
    ["block", "jit", "xdp_blocklist"],
  ]);
  for (const { counters } of plan.workers)
    expect(Object.values(counters).map((places) => places.length)).toEqual([2, 2, 4, 0]);
  expect(plan.listeners).toMatchObject([
    {
      name: "a",
      ifindex: 1000,
      upstream: 0,
      ingress: [0, 1],
      egress: [],
      localAddress: "192.0.2.1",
    },
    { name: "b", ifindex: 1001, upstream: 1, ingress: [1], egress: [0], localAddress: "127.0.0.1" },
  ]);
  // Everything survives the way to a worker.
  expect(structuredClone({ ...plan, runtime: undefined, memory: undefined })).toMatchObject({
    listeners: plan.listeners,
  });
});

test("maps hold what the config says, on every CPU, and globals are set", async () => {
  const prepared = await preparePlan(configOf(text), { echo, resolve });
  if (!prepared.ok) throw new Error(prepared.error.map(String).join("\n"));
  const block = prepared.value.filters[1]!;
  const map = (name: string) => block.maps.find((one) => one.name === name)!.source;
  expect(map("blocked").count).toBe(2);
  expect(map("blocked").lookup(Uint8Array.of(32, 0, 0, 0, 10, 1, 2, 3))).toEqual([
    Uint8Array.of(7, 0, 0, 0),
  ]);
  expect(map("blocked6").count).toBe(0);
  const counted = Uint8Array.of(100, 0, 0, 0, 0, 0, 0, 0);
  expect(map("blocked_packets_total").lookup(Uint8Array.of(7, 0, 0, 0))).toEqual([
    counted,
    counted,
  ]);
  expect(map(".rodata").lookup(Uint8Array.of(0, 0, 0, 0))).toEqual([Uint8Array.of(2, 0, 0, 0)]);
  expect(block).toMatchObject({ name: "block", file: "filters/blocklist.o" });
  expect(block.plans[0]!.program.maps.map(({ descriptor }) => descriptor)).toEqual(
    block.maps.map(({ handle }) => handle.descriptor),
  );
});

test("a filter with a program that is too large for the JIT runs on the interpreter, and that is said", async () => {
  const config = configOf(text);
  const [count, ...others] = config.filters;
  const [program] = count!.programs;
  const swap: Instruction = { kind: "byte_order", to: "be", bits: 64, dst: register(2) };
  const instructions = [...new Array<Instruction>(200_000).fill(swap), ...program.instructions];
  const large = { ...count!, programs: [withoutProof(program, instructions)] as const };
  const prepared = await preparePlan({ ...config, filters: [large, ...others] }, { echo, resolve });
  if (!prepared.ok) throw new Error(prepared.error.map(String).join("\n"));
  const { plan, fallbacks } = prepared.value;
  expect(plan.filters.map(({ name, engine }) => [name, engine])).toEqual([
    ["count", "interpreter"],
    ["block", "jit"],
  ]);
  expect(fallbacks).toMatchObject([
    {
      filter: "count",
      refusal: { code: "JIT_PROGRAM_TOO_LARGE", what: expect.stringContaining("V8 takes") },
    },
  ]);
});

test("each worker has a stack, slots and counters that nothing else uses", async () => {
  const prepared = await preparePlan(configOf(text), { echo, resolve });
  if (!prepared.ok) throw new Error(prepared.error.map(String).join("\n"));
  const { plan, arena } = prepared.value;
  const pieces = plan.workers.flatMap(({ stack, slots, slotCount, counters }) => [
    { at: stack, bytes: stackBytes },
    { at: slots, bytes: slotCount * SLOT_BYTES },
    ...(["listeners", "filters", "addresses"] as const).flatMap((kind) =>
      counters[kind].map((at) => ({ at, bytes: placeBytes[kind] })),
    ),
  ]);
  expect(pieces).toHaveLength(20);
  pieces.sort((a, b) => a.at - b.at);
  for (const [i, piece] of pieces.entries())
    expect(piece.at + piece.bytes).toBeLessThanOrEqual(pieces[i + 1]?.at ?? arena.usedBytes);
  const counters = new Counters(plan.memory, plan.workers[1]!.counters);
  expect(counters.readPackets(1, "egress", "pass")).toBe(0);
});

test("the memory that a config is said to need is what its plan takes, to the byte", async () => {
  const config = configOf(text);
  const { bytes } = memoryNeed(
    config.filters,
    { listeners: config.listeners.length, addresses: 4 },
    config.workers,
  );
  const prepared = await preparePlan(config, { echo, resolve });
  expect(prepared.ok && prepared.value.arena.usedBytes).toBe(bytes);
  const refused = parseConfig(text.replace("workers: 2", `workers: 2\nmemory: ${bytes - 1}B`), "t");
  expect(refused.ok).toBe(false);
  const pages = Math.ceil(bytes / 65_536) * 65_536;
  const fits = await preparePlan({ ...config, memoryBytes: pages }, { echo, resolve });
  expect(fits.ok).toBe(true);
});

test("a host name without an address is told with its upstream, which goes on with what else it has", async () => {
  const config = configOf(text.replace("pot.test", "absent.test"));
  const prepared = await preparePlan(config, { echo, resolve });
  if (!prepared.ok) throw prepared.error[0];
  const { plan, unresolved } = prepared.value;
  expect(plan.upstreams.find(({ name }) => name === "pot")?.addresses).toEqual([
    { host: "::1", port: 2 },
  ]);
  expect(unresolved.map(unresolvedText)).toEqual([
    "upstream pot: the host name absent.test has no address (ENOTFOUND); it is left out until it has one",
  ]);
});

test("localhost is looked up as the system does", async () => {
  const config = configOf(`version: 1
upstreams: { app: { addresses: ["localhost:5353"] } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:1", upstream: app }]
`);
  expect(needsEcho(config)).toBe(false);
  const prepared = await preparePlan(config);
  expect(prepared.ok && prepared.value.plan.upstreams).toMatchObject([
    {
      name: "app",
      addresses: [{ host: expect.stringMatching(/^(127\.0\.0\.1|::1)$/), port: 5353 }],
    },
  ]);
});

/** The program with other instructions, of which nothing is proven. */
function withoutProof(
  { name, type, maps }: LinkedProgram,
  instructions: readonly Instruction[],
): LinkedProgram {
  return { name, type, maps, instructions };
}
