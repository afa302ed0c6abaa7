import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { compileRuntimeSources } from "../../scripts/build-runtime.ts";
import { storageBytes } from "../../src/maps/create-map.ts";
import type { MapType } from "../../src/object/object-spec.ts";
import type { Arena } from "../../src/runtime/arena.ts";
import { MAIN_THREAD, type MapRuntime } from "../../src/runtime/map-runtime.ts";
import { bytesOf, seeded } from "../maps/numbers.ts";
import { mapSpec, openArena, openMap, place } from "../maps/open-map.ts";

/**
 * Runtimes that stop before each read of a shared word, or before each write, and let the test do
 * something: a reader that writers overtake, and a writer whom readers watch at every step.
 */
const memory = await readFile(new URL("../../src/runtime/wasm/memory.ts", import.meta.url), "utf8");
const pausingReader = await pausing(/return atomic\.load/g);
const pausingWriter = await pausing(/(?<=\{\n {2})(atomic\.)?store</g);

async function pausing(before: RegExp): Promise<WebAssembly.Module> {
  const source = `${memory.replace(before, "pause(); $&")}declare function pause(): void;\n`;
  return new WebAssembly.Module(await compileRuntimeSources({ "memory.ts": source }));
}

const keys = 7;
const valueSize = 8;

for (const { type, keySize, maxEntries, key } of [
  // Few buckets, so that chains have several elements.
  { type: "hash", keySize: 4, maxEntries: 4, key: (i: number) => bytesOf(i, 4) },
  { type: "hash", keySize: 21, maxEntries: 2, key: (i: number) => bytesOf(i, 21) },
  { type: "percpu_hash", keySize: 8, maxEntries: 4, key: (i: number) => bytesOf(i, 8) },
  { type: "lru_hash", keySize: 16, maxEntries: 4, key: (i: number) => bytesOf(i, 16) },
  { type: "lpm_trie", keySize: 8, maxEntries: 5, key: (i: number) => prefix(i, 8) },
  { type: "lpm_trie", keySize: 20, maxEntries: 5, key: (i: number) => prefix(i, 20) },
] as const) {
  const scenes = (): Scene[] =>
    Array.from({ length: 150 }, (_, i) => scene(type, keySize, maxEntries, key, i + 1));
  const total = (pauses: readonly number[]): number => pauses.reduce((sum, n) => sum + n, 0);

  test(`a reader of a ${type} with keys of ${keySize} bytes that writers overtake finds what was there at some time`, () => {
    expect(total(scenes().map(overtake))).toBeGreaterThan(500);
  });

  test(`readers of a ${type} with keys of ${keySize} bytes see each write wholly or not at all`, () => {
    expect(total(scenes().map(watch))).toBeGreaterThan(500);
  });
}

/** Prefixes of one address, so that each is found by way of those before it, and neighbours. */
function prefix(i: number, keySize: number): Uint8Array {
  const bytes = new Uint8Array(keySize);
  bytes[0] = [32, 8, 16, 20, 24, 28, 32][i] as number;
  bytes.set([10, 1, 0x11, i === 6 ? 0x1e : 0x11], 4);
  return bytes;
}

/** A map in a random state, writes that may follow, and a key that is sought. */
interface Scene {
  readonly where: string;
  readonly arena: Arena;
  readonly runtime: MapRuntime;
  readonly writes: readonly ((by: MapRuntime) => void)[];
  /** Where the key's value is, looked up by a program or by the main thread. */
  readonly find: (by: MapRuntime, cpu: number) => number;
  /** The first byte of the value, or that there is none. */
  readonly read: (by: MapRuntime) => number | undefined;
  readonly restore: () => void;
}

function scene(
  type: MapType,
  keySize: number,
  maxEntries: number,
  keyOf: (i: number) => Uint8Array,
  seed: number,
): Scene {
  const random = seeded(seed);
  const spec = mapSpec(type, keySize, valueSize, maxEntries);
  const { arena, runtime, handle } = openMap(spec, 2, openArena(2 ** 18));
  const { descriptor } = handle;
  const value = place(arena, new Uint8Array(valueSize));
  const out = place(arena, new Uint8Array(2 * valueSize));
  const offsets = Array.from({ length: keys }, (_, i) => place(arena, keyOf(i)));
  const write = (): ((by: MapRuntime) => void) => {
    const kind = random(5);
    const key = offsets[random(keys)] as number;
    const cpu = random(2);
    const number = random(250);
    return (by) => {
      arena.bytes[value] = number;
      if (kind < 2) by.remove(descriptor, key, cpu);
      else by.update(descriptor, key, value, 0, cpu);
    };
  };
  for (let i = 0; i < 12; i++) write()(runtime);
  const writes = Array.from({ length: 1 + random(8) }, write);
  const sought = offsets[random(keys)] as number;
  const start = arena.bytes.slice(descriptor, descriptor + storageBytes(spec, 2));
  return {
    where: `seed ${seed}`,
    arena,
    runtime,
    writes,
    find: (by, cpu) => by.lookup(descriptor, sought, cpu),
    read: (by) => (by.read(descriptor, sought, out) === 0 ? arena.bytes[out] : undefined),
    restore: () => arena.bytes.set(start, descriptor),
  };
}

/**
 * A lookup and some writes, which happen all at the reader's first pause, or all at its second,
 * and so on. Returns the number of pauses.
 */
function overtake({ where, arena, runtime, writes, find, read, restore }: Scene): number {
  // As the main thread, which leaves no mark of use: it must not change what is evicted.
  const everFound = new Set([find(runtime, MAIN_THREAD)]);
  const everRead = new Set([read(runtime)]);
  for (const step of writes) {
    step(runtime);
    everFound.add(find(runtime, MAIN_THREAD));
    everRead.add(read(runtime));
  }
  let pauses = 0;
  for (const operation of ["lookup", "read"] as const)
    for (let at = 1; ; at++) {
      restore();
      let countdown = at;
      const reader = instance(pausingReader, arena, () => {
        if (--countdown === 0) for (const step of writes) step(runtime);
      });
      const message = `${where}, ${operation}, pause ${at}`;
      if (operation === "lookup") expect(everFound, message).toContain(find(reader, 0));
      else expect(everRead, message).toContain(read(reader));
      if (countdown > 0) break;
      pauses++;
    }
  return pauses;
}

/** One write after the other, and before each of a write's stores readers. Returns their number. */
function watch({ where, arena, runtime, writes, find, read, restore }: Scene): number {
  let pauses = 0;
  const befores: (number | undefined)[][] = [];
  for (const step of writes) {
    befores.push([find(runtime, MAIN_THREAD), read(runtime)]);
    step(runtime);
  }
  befores.push([find(runtime, MAIN_THREAD), read(runtime)]);
  restore();
  for (const [i, step] of writes.entries()) {
    const [before, after] = befores.slice(i, i + 2) as [
      (number | undefined)[],
      (number | undefined)[],
    ];
    const writer = instance(pausingWriter, arena, () => {
      pauses++;
      expect([before[0], after[0]], where).toContain(find(runtime, MAIN_THREAD));
      expect([before[1], after[1]], where).toContain(read(runtime));
    });
    step(writer);
  }
  return pauses;
}

function instance(module: WebAssembly.Module, arena: Arena, pause: () => void): MapRuntime {
  const imports = { env: { memory: arena.memory }, memory: { pause } };
  return new WebAssembly.Instance(module, imports).exports as unknown as MapRuntime;
}
