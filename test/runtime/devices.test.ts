import { expect, test } from "vitest";
import { openMap, place } from "../maps/open-map.ts";
import { portMap, word } from "../support/flood.ts";

/** What `devices` of a map with these ports writes and returns. */
function open(type: "devmap" | "devmap_hash", ports: readonly number[]) {
  const { arena, runtime, handle, access } = openMap(portMap(type, ports));
  const out = place(arena, new Uint8Array(4 * 64).fill(0xee));
  const list = (excluded = 0, capacity = 64) => {
    arena.bytes.fill(0xee, out, out + 4 * 64);
    const count = runtime.devices(handle.descriptor, excluded, out, capacity, 0);
    const words = [...new Uint32Array(arena.memory.buffer, out, 64)];
    const written = words.slice(0, words.indexOf(0xeeee_eeee));
    return { count, written: written.toSorted((a, b) => a - b) };
  };
  return { access, list };
}

for (const type of ["devmap", "devmap_hash"] as const) {
  test(`a ${type} lists its ports, each as often as it stands there`, () => {
    const { list } = open(type, [7, 0, 9, 7, 4_000_000_000]);
    expect(list()).toEqual({ count: 4, written: [7, 7, 9, 4_000_000_000] });
  });

  test(`a ${type} leaves out one port, under whichever keys`, () => {
    const { list } = open(type, [7, 9, 7]);
    expect(list(7)).toEqual({ count: 1, written: [9] });
    expect(list(9)).toEqual({ count: 2, written: [7, 7] });
    expect(list(8)).toEqual({ count: 3, written: [7, 7, 9] });
  });

  test(`a ${type} counts ports that found no room, and writes none of them`, () => {
    const { list } = open(type, [1, 2, 3, 4, 5]);
    const { count, written } = list(0, 3);
    expect([count, written.length]).toEqual([5, 3]);
  });

  test(`a ${type} lists what is there now`, () => {
    const { access, list } = open(type, [1, 2, 3]);
    access.remove(word(1));
    expect(list()).toEqual({ count: 2, written: [1, 3] });
    access.update(word(0), word(8));
    expect(list()).toEqual({ count: 2, written: [3, 8] });
    access.remove(word(0));
    access.remove(word(2));
    expect(list()).toEqual({ count: 0, written: [] });
  });
}

test("a large devmap_hash is listed over several turns of its lock", () => {
  const { list } = open(
    "devmap_hash",
    Array.from({ length: 5000 }, (_, i) => i + 1),
  );
  expect(list(17).count).toBe(4999);
});

test("a devmap is listed in the order of its keys", () => {
  const { arena, runtime, handle } = openMap(portMap("devmap", [30, 10, 0, 20]));
  const out = place(arena, new Uint8Array(16));
  runtime.devices(handle.descriptor, 0, out, 4, 0);
  expect([...new Uint32Array(arena.memory.buffer, out, 3)]).toEqual([30, 10, 20]);
});
