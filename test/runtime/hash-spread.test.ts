import { expect, test } from "vitest";
import { putU32le } from "../../src/common/bytes.ts";
import { MAP_BUCKET_MASK, MAP_BUCKETS } from "../../src/runtime/wasm/layout.ts";
import { mapSpec, type OpenMap, openMap } from "../maps/open-map.ts";

const entries = 4096;

/** Keys that a weak hash piles up: they differ in few bits, chosen without knowing the seed. */
const families: readonly { name: string; words: (i: number) => readonly number[] }[] = [
  { name: "numbers in sequence", words: (i) => [i] },
  { name: "multiples of the bucket count", words: (i) => [i * entries] },
  { name: "the highest bits of the first word", words: (i) => [i << 20] },
  { name: "the last word alone", words: (i) => [7, 7, 7, i << 20] },
  { name: "the second and third word alike", words: (i) => [0, i << 20, i << 20, 0] },
  { name: "first and last word against each other", words: (i) => [i << 20, 0, 0, -(i << 20)] },
  { name: "two halves swapped", words: (i) => (i & 1 ? [i >> 1, 0, 9, 0] : [9, 0, i >> 1, 0]) },
];

for (const keySize of [4, 8, 16, 24, 37])
  for (const { name, words } of families) {
    const distinct = new Set(Array.from({ length: entries }, (_, i) => keyText(words(i), keySize)));
    if (distinct.size < entries) continue;
    test(`keys of ${keySize} bytes spread over the buckets: ${name}`, () => {
      const map = openMap(mapSpec("hash", keySize, 8, entries));
      for (let i = 0; i < entries; i++)
        expect(map.access.update(keyOf(words(i), keySize), new Uint8Array(8))).toBe(0);
      // A random function gives 8 or so; 1 in 10¹⁰ gives more than 20.
      expect(longestChain(map)).toBeLessThanOrEqual(20);
    });
  }

function keyOf(words: readonly number[], keySize: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(keySize, 16));
  for (const [i, word] of words.entries()) putU32le(bytes, i * 4, word);
  return bytes.slice(0, keySize);
}

function keyText(words: readonly number[], keySize: number): string {
  return keyOf(words, keySize).join();
}

function longestChain({ arena, handle }: OpenMap): number {
  const word = (at: number): number => arena.view.getUint32(at, true);
  const buckets = word(handle.descriptor + MAP_BUCKETS);
  let longest = 0;
  for (let i = 0; i <= word(handle.descriptor + MAP_BUCKET_MASK); i++) {
    let length = 0;
    for (let element = word(buckets + i * 4); element !== 0; element = word(element)) length++;
    longest = Math.max(longest, length);
  }
  return longest;
}
