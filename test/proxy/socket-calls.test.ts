import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { DescriptorSet } from "../../src/proxy/descriptor-set.ts";
import {
  closeAll,
  maxMessages,
  SocketCalls,
  silence,
  socketCallsProblem,
} from "../../src/proxy/socket-calls.ts";
import { decodeSocketName, encodeSocketName } from "../../src/proxy/socket-name.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { value } from "./rig.ts";

const problem = await socketCallsProblem();

async function setUp(slots = 4) {
  const arena = value(Arena.create(8 << 20));
  const first = value(arena.allocate(slots * SLOT_BYTES, "slots"));
  const descriptors = new DescriptorSet();
  const calls = value(await SocketCalls.load(arena, descriptors, first, slots));
  return { arena, first, descriptors, calls };
}

describe.skipIf(problem !== undefined)(`system calls${problem ? ` (${problem})` : ""}`, () => {
  test("datagrams go out of slots and come into slots, many a call", async () => {
    const { arena, first, calls } = await setUp();
    const [a, b] = [value(calls.socket(4, 65_536, 65_536)), value(calls.socket(4, 65_536, 65_536))];
    const any = encodeSocketName({ host: "127.0.0.1", port: 0 }, 4);
    const to = value(calls.bind(b, any, false)).slice(0, 16);
    const from = decodeSocketName(Buffer.from(value(calls.bind(a, any, false))), 0);
    calls.clear();
    for (const [slot, text] of ["one", "", "three"].entries()) {
      arena.copyIn(Buffer.from(text), first + slot * SLOT_BYTES);
      calls.addMessage(to);
      calls.addPiece(first + slot * SLOT_BYTES, text.length);
    }
    expect(calls.send(a, 0)).toBe(3);
    const lengths = new Uint32Array(4);
    expect(calls.receive(b, 1, 3, 100, 1000, lengths)).toBe(3);
    expect([...lengths]).toEqual([0, 3, 0, 5]);
    expect(arena.viewOf(first + 3 * SLOT_BYTES + 100, 5).toString()).toBe("three");
    expect(decodeSocketName(calls.names, calls.nameAt(1))).toEqual(from);
    expect(calls.receive(b, 0, 4, 100, 1000, lengths)).toBe(-11);
    for (const fd of [a, b]) calls.close(fd);
  });

  test("one message becomes datagrams of one length, the last maybe shorter", async () => {
    const { arena, first, calls } = await setUp();
    const [a, b] = [value(calls.socket(4, 65_536, 65_536)), value(calls.socket(4, 65_536, 65_536))];
    const any = encodeSocketName({ host: "127.0.0.1", port: 0 }, 4);
    const to = value(calls.bind(b, any, false)).slice(0, 16);
    arena.copyIn(Buffer.from("aaabbbc"), first);
    calls.clear();
    calls.addMessage(to);
    calls.addPiece(first, 3);
    calls.addPiece(first + 3, 4);
    calls.cutLast(3);
    expect(calls.send(a, 0)).toBe(1);
    const lengths = new Uint32Array(4);
    expect(calls.receive(b, 0, 4, 0, 1000, lengths)).toBe(3);
    expect([...lengths]).toEqual([3, 3, 1, 0]);
    for (const fd of [a, b]) calls.close(fd);
  });

  test("the kernel is given nothing but packet slots", async () => {
    const { first, calls } = await setUp();
    const outside: [number, number][] = [
      [first - 1, 1],
      [first, SLOT_BYTES + 1],
      [first + SLOT_BYTES - 1, 2],
      [first + 4 * SLOT_BYTES, 1],
      [first + 4 * SLOT_BYTES - 1, 2],
      [first, -1],
      [Number.NaN, 1],
      [0, 1],
    ];
    for (const [at, bytes] of outside) {
      calls.clear();
      calls.addMessage(undefined);
      expect(() => calls.addPiece(at, bytes)).toThrow(RangeError);
    }
    for (const [at, isOne] of [
      [first - 1, false],
      [first, true],
      [first + 4 * SLOT_BYTES - 1, true],
      [first + 4 * SLOT_BYTES, false],
      [-1, false],
    ] as const)
      expect(calls.holds(at)).toBe(isOne);
    const lengths = new Uint32Array(4);
    for (const [from, count, at, capacity] of [
      [-1, 1, 0, 1],
      [0, 5, 0, 1],
      [4, 1, 0, 1],
      [0, 1, SLOT_BYTES, 1],
      [0, 1, 0, SLOT_BYTES + 1],
      [0, 0, 0, 1],
    ] as const)
      expect(() => calls.receive(-1, from, count, at, capacity, lengths)).toThrow(RangeError);
  });

  test("more messages or pieces than there is room for are a bug that throws", async () => {
    const { first, calls } = await setUp();
    calls.clear();
    expect(() => calls.addPiece(first, 1)).toThrow(RangeError);
    expect(() => calls.send(-1, 0)).toThrow(RangeError);
    for (let i = 0; i < maxMessages; i++) calls.addMessage(undefined);
    expect(() => calls.addMessage(undefined)).toThrow(RangeError);
    for (let i = 0; i < maxMessages; i++) calls.addPiece(first, 1);
    expect(() => calls.addPiece(first, 1)).toThrow(RangeError);
    calls.clear();
    calls.addMessage(undefined);
    for (const bytes of [0, 65_536]) expect(() => calls.cutLast(bytes)).toThrow(RangeError);
    await expect(
      SocketCalls.load(value(Arena.create(1 << 20)), new DescriptorSet(), 0, maxMessages + 1),
    ).rejects.toThrow(RangeError);
  });

  test("what a dead worker left open is closed, and nothing else", async () => {
    const { calls, descriptors } = await setUp();
    const any = encodeSocketName({ host: "127.0.0.1", port: 0 }, 4);
    const left = value(calls.socket(4, 65_536, 65_536));
    const bound = value(calls.bind(left, any, false)).slice(0, 16);
    const closed = value(calls.socket(4, 65_536, 65_536));
    calls.close(closed);
    expect([...descriptors.values()]).toEqual([left]);
    const rival = value(calls.socket(4, 65_536, 65_536));
    expect(calls.bind(rival, bound, false)).toMatchObject({ error: { code: "EADDRINUSE" } });
    descriptors.remove(rival);
    await closeAll(descriptors);
    expect([...descriptors.values()]).toEqual([]);
    value(calls.bind(rival, bound, false));
    calls.close(rival);
  });

  test("a thread's wait is silenced, once its epoll is open and until its descriptors are closed", async () => {
    const { calls, descriptors } = await setUp();
    await silence(descriptors);
    expect(descriptors.epolls).toBeUndefined();
    const epoll = value(calls.epoll());
    expect(descriptors.epolls).toEqual({ watching: epoll, empty: expect.any(Number) });
    const [a, b] = [value(calls.socket(4, 65_536, 65_536)), value(calls.socket(4, 65_536, 65_536))];
    const any = encodeSocketName({ host: "127.0.0.1", port: 0 }, 4);
    const to = value(calls.bind(b, any, false)).slice(0, 16);
    expect(calls.watch(epoll, b, 7)).toBeUndefined();
    calls.clear();
    calls.addMessage(to);
    expect(calls.send(a, 0)).toBe(1);
    const ids = new Uint32Array(4);
    const heard = Promise.withResolvers<void>();
    const first = calls.notify(epoll, heard.resolve);
    await heard.promise;
    first.close();
    expect(calls.ready(epoll, ids)).toBe(1);
    expect(ids[0]).toBe(7);
    let calledBack = 0;
    const second = calls.notify(epoll, () => calledBack++);
    await silence(descriptors);
    for (let turn = 0; turn < 3; turn++) await setImmediate();
    expect(calledBack).toBe(0);
    expect(calls.ready(epoll, ids)).toBe(0);
    second.close();
    for (const fd of [a, b]) calls.close(fd);
    await closeAll(descriptors);
    expect(descriptors.epolls).toBeUndefined();
  });

  test("errors have the names of Node's own", async () => {
    const { calls } = await setUp();
    const fd = value(calls.socket(4, 65_536, 65_536));
    const elsewhere = encodeSocketName({ host: "192.0.2.1", port: 1 }, 4);
    expect(calls.bind(fd, elsewhere, false)).toMatchObject({
      error: { code: "EADDRNOTAVAIL", syscall: "bind", errno: -99 },
    });
    calls.close(fd);
  });
});

for (const { host, port, family, text } of [
  { host: "192.0.2.7", port: 53, family: 4, text: "192.0.2.7" },
  { host: "2001:db8::1", port: 65_535, family: 6, text: "2001:db8::1" },
  { host: "192.0.2.7", port: 53, family: 6, text: "::ffff:192.0.2.7" },
  { host: "::ffff:192.0.2.7", port: 53, family: 6, text: "::ffff:192.0.2.7" },
  { host: "0.0.0.0", port: 0, family: 4, text: "0.0.0.0" },
  { host: "::", port: 1, family: 6, text: "::" },
] as const)
  test(`the socket address of ${host} on IPv${family} reads as ${text} again`, () => {
    const name = Buffer.from(encodeSocketName({ host, port }, family));
    expect(decodeSocketName(name, 0)).toEqual({ address: text, port });
  });

test("a descriptor set holds what is added until it is removed, up to its bound", () => {
  const set = new DescriptorSet();
  const same = new DescriptorSet(set.memory);
  for (const fd of [0, 31, 32, 2 ** 20 - 1]) expect(set.add(fd)).toBe(true);
  expect(set.add(2 ** 20)).toBe(false);
  same.remove(31);
  expect([...same.values()]).toEqual([0, 32, 2 ** 20 - 1]);
});
