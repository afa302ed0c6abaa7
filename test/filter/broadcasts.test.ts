import { expect, test } from "vitest";
import { Broadcasts, isSameBroadcast, maxBroadcastPorts } from "../../src/filter/broadcasts.ts";
import type { Verdict } from "../../src/filter/verdict.ts";
import {
  F_BROADCAST,
  F_EXCLUDE_INGRESS,
  SLOT_BYTES,
  SLOT_INGRESS_IFINDEX,
  SLOT_REDIRECT_FLAGS,
  SLOT_REDIRECT_MAP,
} from "../../src/runtime/wasm/layout.ts";
import { openArena, openMap, place } from "../maps/open-map.ts";
import { portMap, word } from "../support/flood.ts";

const redirect: Verdict = { kind: "redirect", ifindex: 0 };

function setUp(ports: readonly number[], type: "devmap" | "devmap_hash" = "devmap") {
  const { arena, runtime, handle, access } = openMap(portMap(type, ports), 1, openArena());
  const slot = place(arena, new Uint8Array(SLOT_BYTES));
  const stack = place(arena, new Uint8Array(4096));
  const broadcasts = new Broadcasts({ arena, runtime, cpu: 0, stack });
  const resolve = (flags: number, ingress = 1000, verdict = redirect): Verdict => {
    arena.words[(slot + SLOT_REDIRECT_FLAGS) >> 2] = flags;
    arena.words[(slot + SLOT_REDIRECT_MAP) >> 2] = handle.descriptor;
    arena.words[(slot + SLOT_INGRESS_IFINDEX) >> 2] = ingress;
    return broadcasts.resolve(slot, verdict);
  };
  return { access, resolve };
}

const all = F_BROADCAST;
const others = F_BROADCAST | F_EXCLUDE_INGRESS;

test("a redirect without the flag, and any other verdict, stays as it is", () => {
  const { resolve } = setUp([1, 2]);
  expect(resolve(F_EXCLUDE_INGRESS)).toBe(redirect);
  const passed: Verdict = { kind: "pass" };
  expect(resolve(all, 1, passed)).toBe(passed);
});

test("a broadcast is of all ports, or of all but the one that the packet came by", () => {
  const { resolve } = setUp([1, 2, 3]);
  const to = (...ports: number[]) => ({ ...redirect, broadcast: { ports, isCut: false } });
  expect(resolve(all, 2)).toEqual(to(1, 2, 3));
  expect(resolve(others, 2)).toEqual(to(1, 3));
  expect(resolve(others, 9)).toEqual(to(1, 2, 3));
});

test("equal broadcasts have one verdict, others their own", () => {
  const { resolve, access } = setUp([1, 2, 3]);
  const first = resolve(others, 1);
  const second = resolve(others, 2);
  expect(resolve(others, 1)).toBe(first);
  expect(resolve(others, 2)).toBe(second);
  expect(second).not.toEqual(first);
  access.update(word(1), word(7));
  const changed = resolve(others, 1);
  expect(changed).toEqual({ ...redirect, broadcast: { ports: [7, 3], isCut: false } });
  // What was said of earlier packets holds of them.
  expect(first).toEqual({ ...redirect, broadcast: { ports: [2, 3], isCut: false } });
  access.remove(word(2));
  expect(resolve(others, 1)).toEqual({ ...redirect, broadcast: { ports: [7], isCut: false } });
});

test("no broadcast has more ports than the limit, and one with more says so", () => {
  const numbers = Array.from({ length: maxBroadcastPorts + 1 }, (_, i) => i + 1);
  const { resolve, access } = setUp(numbers);
  const ports = numbers.slice(0, maxBroadcastPorts);
  expect(resolve(all)).toEqual({ ...redirect, broadcast: { ports, isCut: true } });
  access.remove(word(maxBroadcastPorts));
  expect(resolve(all)).toEqual({ ...redirect, broadcast: { ports, isCut: false } });
});

test("broadcasts are the same where they go to the same ports, in any order", () => {
  const of = (...ports: number[]) => ({ ports, isCut: false });
  expect(isSameBroadcast(of(1, 10, 9), of(9, 1, 10))).toBe(true);
  expect(isSameBroadcast(of(1, 1, 2), of(1, 2, 2))).toBe(false);
  expect(isSameBroadcast(of(1), of(1, 2))).toBe(false);
  expect(isSameBroadcast(of(1), { ports: [1], isCut: true })).toBe(false);
  expect(isSameBroadcast(of(), undefined)).toBe(false);
  expect(isSameBroadcast(undefined, undefined)).toBe(true);
});
