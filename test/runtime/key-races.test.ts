import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { compileRuntimeSources } from "../../scripts/build-runtime.ts";
import { toHex } from "../../src/common/bytes.ts";
import { storageBytes } from "../../src/maps/create-map.ts";
import type { MapType } from "../../src/object/object-spec.ts";
import type { MapRuntime } from "../../src/runtime/map-runtime.ts";
import { bytesOf, seeded } from "../maps/numbers.ts";
import { mapSpec, type OpenMap, openArena, openMap, place } from "../maps/open-map.ts";

/**
 * A program's key may lie in a map's value, which another worker writes. The runtime here stops
 * before each of its stores, and the test gives the key other bytes there.
 */
const memory = await readFile(new URL("../../src/runtime/wasm/memory.ts", import.meta.url), "utf8");
const pausing = new WebAssembly.Module(
  await compileRuntimeSources({
    "memory.ts": `${memory.replaceAll(/(?<=\{\n {2})(atomic\.)?store</g, "pause(); $&")}declare function pause(): void;\n`,
  }),
);

const valueSize = 8;
const maxEntries = 6;

/** A key of the trie: `length` need not fit. */
function prefix(length: number, keySize: number, last: number): Uint8Array {
  const key = new Uint8Array(keySize).fill(0x11);
  new DataView(key.buffer).setUint32(0, length, true);
  key[keySize - 1] = last;
  return key;
}

for (const { type, keySize, keys } of [
  { type: "hash", keySize: 4, keys: [1, 2, 3, 4, 5, 6, 7].map((i) => bytesOf(i, 4)) },
  { type: "hash", keySize: 21, keys: [1, 2, 3, 4, 5, 6, 7].map((i) => bytesOf(i, 21)) },
  { type: "lru_hash", keySize: 8, keys: [1, 2, 3, 4, 5, 6, 7].map((i) => bytesOf(i, 8)) },
  { type: "percpu_hash", keySize: 16, keys: [1, 2, 3, 4, 5, 6, 7].map((i) => bytesOf(i, 16)) },
  ...[8, 20].map((size) => ({
    type: "lpm_trie" as const,
    keySize: size,
    keys: [
      ...[0, 9, 8 * size - 32, 8 * size - 40].map((length) => prefix(length, size, 0x11)),
      prefix(8 * size - 32, size, 0x91),
      // Longer than any: a node of that prefix would be walked beyond its end, or be a fork.
      prefix(8 * size - 31, size, 0x11),
      prefix(0x8000_0008, size, 0x11),
      prefix(0xffff_ffff, size, 0x22),
    ],
  })),
] satisfies { type: MapType; keySize: number; keys: Uint8Array[] }[])
  for (const operation of ["update", "remove"] as const)
    test(`${operation} on a ${type} takes a key of ${keySize} bytes that changes meanwhile for one that it was`, () => {
      const random = seeded(keySize);
      let pauses = 0;
      for (let round = 0; round < 40; round++) {
        const spec = mapSpec(type, keySize, valueSize, maxEntries);
        const map = openMap(spec, 2, openArena(2 ** 18));
        const { arena, runtime, handle } = map;
        const pick = (): Uint8Array => keys[random(keys.length)]!;
        const value = place(arena, new Uint8Array(valueSize).fill(7));
        const at = place(arena, new Uint8Array(keySize));
        const apply = (by: MapRuntime): void => {
          if (operation === "update") by.update(handle.descriptor, at, value, 0, 0);
          else by.remove(handle.descriptor, at, 0);
        };
        for (let i = 0; i < random(8); i++) {
          arena.bytes.set(pick(), at);
          runtime.update(handle.descriptor, at, value, 0, 0);
        }
        const [first, second] = [pick(), pick()];
        const start = arena.bytes.slice(
          handle.descriptor,
          handle.descriptor + storageBytes(spec, 2),
        );
        const after = [first, second].map((key) => {
          arena.bytes.set(start, handle.descriptor);
          arena.bytes.set(key, at);
          apply(runtime);
          return contents(map, keys);
        });
        for (let left = 1, isDone = false; !isDone; left++) {
          arena.bytes.set(start, handle.descriptor);
          arena.bytes.set(first, at);
          let countdown = left;
          const pause = (): void => {
            pauses++;
            if (--countdown === 0) arena.bytes.set(second, at);
          };
          const imports = { env: { memory: arena.memory }, memory: { pause } };
          apply(new WebAssembly.Instance(pausing, imports).exports as unknown as MapRuntime);
          expect(after, `round ${round}, pause ${left}`).toContain(contents(map, keys));
          isDone = countdown > 0;
        }
      }
      expect(pauses).toBeGreaterThan(100);
    });

/** All entries as a walk gives them, and which of the keys lookups find. */
function contents(
  { access, runtime, arena, handle }: OpenMap,
  keys: readonly Uint8Array[],
): string {
  const entries: string[] = [];
  for (const { key } of access.entries()) {
    entries.push(toHex(key));
    // Chains that have come to be a ring would give entries for ever.
    if (entries.length > maxEntries) break;
  }
  entries.sort();
  const at = place(arena, keys[0]!);
  const found = keys.map((key) => {
    arena.bytes.set(key, at);
    return runtime.lookup(handle.descriptor, at, 0) === 0 ? "-" : "+";
  });
  return `${entries.join(" ")} ${found.join("")}`;
}
