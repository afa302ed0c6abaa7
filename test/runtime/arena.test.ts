import { expect, test } from "vitest";
import { Arena, reservedBytes } from "../../src/runtime/arena.ts";

function arenaOf(bytes: number): Arena {
  const arena = Arena.create(bytes);
  if (!arena.ok) throw arena.error;
  return arena.value;
}

function allocate(arena: Arena, size: number): number {
  const offset = arena.allocate(size, "test");
  if (!offset.ok) throw offset.error;
  return offset.value;
}

test("what neighbours gave back, in any order, one larger allocation can take", () => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [0, 2, 1],
    [1, 0, 2],
  ]) {
    const arena = arenaOf(1 << 20);
    const parts = [0, 1, 2].map(() => allocate(arena, 1000));
    const behind = allocate(arena, 64);
    for (const i of order) arena.release(parts[i]!, 1000);
    expect(allocate(arena, 3072)).toBe(parts[0]);
    expect(behind).toBeGreaterThan(parts[2]!);
  }
});

test("an allocation takes the smallest range that holds it, and leaves the rest", () => {
  const arena = arenaOf(1 << 20);
  const large = allocate(arena, 4096);
  allocate(arena, 64);
  const small = allocate(arena, 256);
  allocate(arena, 64);
  arena.release(large, 4096);
  arena.release(small, 256);
  expect(allocate(arena, 200)).toBe(small);
  expect(allocate(arena, 1024)).toBe(large);
  expect(allocate(arena, 3072)).toBe(large + 1024);
});

test("the arena shrinks again from its end, and all it hands out is zeroed", () => {
  const arena = arenaOf(1 << 20);
  const first = allocate(arena, 128);
  const last = allocate(arena, 128);
  arena.bytes.fill(0xff, first, last + 128);
  arena.release(first, 128);
  expect(arena.usedBytes).toBe(last + 128);
  arena.release(last, 128);
  expect(arena.usedBytes).toBe(reservedBytes);
  expect(allocate(arena, 256)).toBe(first);
  expect(arena.bytes.slice(first, first + 256).every((byte) => byte === 0)).toBe(true);
});

test("a hundred generations of growing and shrinking sizes leave no more than they found", () => {
  const arena = arenaOf(1 << 20);
  const before = arena.usedBytes;
  let held: { offset: number; size: number }[] = [];
  for (let round = 0; round < 100; round++) {
    // The next ones are there before the last are given back, as in a reload.
    const next = Array.from({ length: 8 }, (_, i) => {
      const size = 64 + ((round * 37 + i * 101) % 97) * 64;
      return { offset: allocate(arena, size), size };
    });
    for (const { offset, size } of held) arena.release(offset, size);
    held = next;
  }
  for (const { offset, size } of held) arena.release(offset, size);
  expect(arena.usedBytes).toBe(before);
});
