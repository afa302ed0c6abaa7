import { expect, test } from "vitest";
import {
  CaptureReader,
  CaptureWriter,
  captureRingMemory,
  clearCaptureRing,
} from "../../src/filter/capture-ring.ts";

const passed = { verdict: "pass", reason: undefined, ifindex: undefined } as const;

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);
}

test("records come out as they went in, round the ring's end many times", () => {
  const memory = captureRingMemory(2048);
  const writer = new CaptureWriter(memory, 200);
  const reader = new CaptureReader(memory);
  const tunnel = {
    protocol: "geneve",
    peer: "east",
    vni: 0xffffff,
    far: { address: "2001:db8::1", port: 65535 },
    own: { address: "2001:db8::2", port: 6081 },
    header: pattern(260, 3),
  } as const;
  const shadow = { filter: "next", verdict: "redirect", ifindex: 7 } as const;
  const tunnelOf = (i: number) =>
    i % 3 === 1 ? { ...tunnel, peer: i % 2 === 0 ? "east" : undefined } : undefined;
  for (let i = 0; i < 500; i++) {
    const entry = pattern(1 + ((i * 13) % 300), i);
    const exit = i % 3 === 0 ? pattern(1 + ((i * 29) % 250), i + 1) : undefined;
    expect(writer.begin(entry, 0, entry.length)).toBe(true);
    writer.fill(
      {
        listener: `listener-${i % 5}`,
        direction: i % 2 === 0 ? "ingress" : "egress",
        tunnel: tunnelOf(i),
      },
      {
        verdict: "drop",
        reason: "filter_drop",
        ifindex: undefined,
        filter: i % 4 === 0 ? undefined : `filter:${"é".repeat(i % 7)}`,
        shadow: i % 5 === 2 ? shadow : undefined,
      },
      exit && { bytes: exit, start: 0, end: exit.length },
    );
    writer.commit(i % 7 === 0 ? "mtu_exceeded" : undefined);
    expect(reader.next()).toMatchObject({
      listener: `listener-${i % 5}`,
      direction: i % 2 === 0 ? "ingress" : "egress",
      tunnel: tunnelOf(i),
      verdict: "drop",
      reason: i % 7 === 0 ? "mtu_exceeded" : "filter_drop",
      ifindex: undefined,
      filter: i % 4 === 0 ? undefined : `filter:${"é".repeat(i % 7)}`,
      shadow: i % 5 === 2 ? shadow : undefined,
      entry: { length: entry.length, data: entry.slice(0, 200) },
      exit: exit && { length: exit.length, data: exit.slice(0, 200) },
    });
    expect(reader.next()).toBe(undefined);
  }
  expect(reader.lost).toBe(0);
});

test("what finds no room is counted as lost, and what is there stays whole", () => {
  const memory = captureRingMemory(4096);
  const writer = new CaptureWriter(memory, 100);
  const reader = new CaptureReader(memory);
  const frame = pattern(100, 1);
  let written = 0;
  for (let i = 0; i < 20; i++) {
    if (!writer.begin(frame, 0, 100)) continue;
    const place = { listener: `listener-${written++}`, direction: "ingress" } as const;
    writer.fill(
      place,
      { verdict: "redirect", reason: undefined, ifindex: 7, filter: "filter" },
      undefined,
    );
    writer.commit();
  }
  expect(written).toBeGreaterThan(3);
  expect(reader.lost).toBe(20 - written);
  for (let i = 0; i < written; i++)
    expect(reader.next()).toMatchObject({
      listener: `listener-${i}`,
      ifindex: 7,
      entry: { data: frame },
    });
  expect(reader.next()).toBe(undefined);
  expect(writer.begin(frame, 0, 100)).toBe(true);
});

test("a record that was begun and not committed is never seen", () => {
  const memory = captureRingMemory(2048);
  const writer = new CaptureWriter(memory, 100);
  const reader = new CaptureReader(memory);
  writer.begin(pattern(60, 1), 0, 60);
  expect(reader.next()).toBe(undefined);
  const kept = pattern(60, 9);
  const place = { listener: "udp", direction: "egress" } as const;
  writer.begin(kept, 0, 60);
  writer.fill(place, { ...passed, filter: undefined }, undefined);
  expect(reader.next()).toBe(undefined);
  writer.commit();
  expect(reader.next()?.entry.data).toEqual(kept);
});

test("a name that is too long for a record is cut, and the rest of the record is whole", () => {
  const memory = captureRingMemory(2048);
  const writer = new CaptureWriter(memory, 100);
  const reader = new CaptureReader(memory);
  const frame = pattern(60, 1);
  const place = { listener: "udp", direction: "ingress" } as const;
  for (let i = 0; i < 10; i++) {
    expect(writer.begin(frame, 0, 60)).toBe(true);
    writer.fill(place, { ...passed, filter: `\n${"x".repeat(5000)}` }, undefined);
    writer.commit();
    const record = reader.next();
    expect(record).toMatchObject({ listener: "udp", entry: { data: frame } });
    expect(record?.filter).toMatch(/^\nx{360,383}$/);
  }
});

test("broadcasts are told by their ports, a packet's and a shadow's, wherever the ring goes round", () => {
  const memory = captureRingMemory(4096);
  const writer = new CaptureWriter(memory, 100);
  const reader = new CaptureReader(memory);
  const frame = pattern(60, 1);
  const place = { listener: "udp", direction: "ingress" } as const;
  const portsOf = (i: number): number[] =>
    Array.from({ length: i % 33 }, (_, k) => 2 ** 32 - 1 - k * i);
  for (let i = 0; i < 500; i++) {
    const live =
      i % 3 === 0 ? { ifindex: i, ports: undefined } : { ifindex: undefined, ports: portsOf(i) };
    const shadow =
      i % 4 === 0
        ? undefined
        : {
            filter: "next",
            verdict: "redirect" as const,
            ...(i % 4 === 1
              ? { ifindex: i, ports: undefined }
              : { ifindex: undefined, ports: portsOf(i + 7) }),
          };
    const outcome = {
      verdict: "redirect",
      reason: undefined,
      ...live,
      filter: "all",
      shadow,
    } as const;
    expect(writer.begin(frame, 0, 60)).toBe(true);
    writer.fill(place, outcome, undefined);
    writer.commit();
    expect(reader.next()).toMatchObject({ ...place, ...outcome, entry: { data: frame } });
  }
  expect(reader.lost).toBe(0);
});

test("a ring that was cleared is as a new one: no records, none lost, all its room", () => {
  const memory = captureRingMemory(4096);
  const fill = (writer: CaptureWriter): number => {
    for (let count = 0; ; count++) {
      if (!writer.begin(pattern(100, count), 0, 100)) return count;
      writer.fill({ listener: "a", direction: "ingress" }, { ...passed, filter: "f" }, undefined);
      writer.commit();
    }
  };
  const count = fill(new CaptureWriter(memory, 100));
  const before = new CaptureReader(memory);
  expect(before.next()).toBeDefined();
  expect(before.lost).toBe(1);
  clearCaptureRing(memory);
  const reader = new CaptureReader(memory);
  expect(reader.next()).toBeUndefined();
  expect(reader.lost).toBe(0);
  expect(fill(new CaptureWriter(memory, 100))).toBe(count);
  for (let i = 0; i < count; i++) expect(reader.next()?.entry.data).toEqual(pattern(100, i));
  expect(reader.next()).toBeUndefined();
});
