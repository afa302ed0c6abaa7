import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { type LoadedObject, loadObject, tcpFrame, udpFrame } from "../../src/index.ts";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { buildProgram } from "../system/truth-rig.ts";

const filter = (name: string): string =>
  fileURLToPath(new URL(`../../filters/${name}.o`, import.meta.url));
const to = "198.51.100.1:53";
const from = "203.0.113.9:4000";
const frame = udpFrame({ from, to, payload: "x" });

for (const engine of ["jit", "interpreter"] as const)
  describe(`on the ${engine}`, () => {
    test("a program judges packets by typed entries of its maps, and what it counts is read back", async () => {
      const object = await loadObject(filter("blocklist"), { engine });
      object.map("blocked").set("203.0.113.0/24", 7);
      const program = object.program();
      expect(program).toMatchObject({ name: "xdp_blocklist", type: "xdp", engine });
      expect(program.run(frame)).toEqual({
        verdict: "drop",
        returned: 1,
        data: frame,
        trace: [],
        events: [],
      });
      const other = udpFrame({ from: "192.0.2.1:4000", to });
      expect(program.run(other)).toMatchObject({ verdict: "pass", returned: 2 });
      expect([...object.map<number, number>("blocked_packets_total")]).toEqual([[7, 1]]);
    });

    test("globals are set by their types before a program is verified", async () => {
      const object = await loadObject(filter("blocklist"), {
        engine,
        globals: { default_action: 2 },
      });
      object.map("blocked").set("0.0.0.0/0", 1);
      expect(object.program().run(frame).verdict).toBe("pass");
      expect(object.getGlobal("default_action")).toBe(2);
    });

    test("the clock that programs see is the caller's", async () => {
      let nowNs = 1_000_000_000_000n;
      const object = await loadObject(filter("rate-limit"), {
        engine,
        globals: { packets_per_second: 1, packet_burst: 1 },
        nowNs: () => nowNs,
      });
      const judge = () => object.program("xdp_rate_limit").run(frame).verdict;
      expect([judge(), judge()]).toEqual(["pass", "drop"]);
      nowNs += 1_000_000_000n;
      expect([judge(), judge()]).toEqual(["pass", "drop"]);
    });
  });

test("an object may be given as bytes, with a name for messages", async () => {
  const object = await loadObject(readFileSync(filter("dns-guard")), { file: "guard" });
  expect(object.programs).toEqual(["xdp_dns_guard", "xdp_dns_learn"]);
  expect(object.maps).toEqual(["asked_queries", "dns_guard_messages_total"]);
  expect([...object.globals].sort()).toEqual([
    "default_action",
    "dns_port",
    "drop_any",
    "response_timeout_ms",
  ]);
  expect(() => object.program()).toThrow(
    "guard: has 2 programs; name one of xdp_dns_guard, xdp_dns_learn",
  );
});

test("a Uint8Array stands for itself as a key and as a value", async () => {
  const blocked = (await loadObject(filter("blocklist"))).map("blocked");
  const key = Uint8Array.of(24, 0, 0, 0, 203, 0, 113, 0);
  blocked.set(key, Uint8Array.of(7, 0, 0, 0));
  expect([...blocked]).toEqual([["203.0.113.0/24", 7]]);
  expect([blocked.get(key), blocked.getBytes(key)]).toEqual([7, Uint8Array.of(7, 0, 0, 0)]);
  expect([blocked.size, blocked.has(key)]).toEqual([1, true]);
  expect([blocked.delete(key), blocked.delete(key), blocked.has(key)]).toEqual([
    true,
    false,
    false,
  ]);
});

type Attempt = (object: LoadedObject) => unknown;
for (const { name, attempt, code, says } of [
  {
    name: "a program that there is not",
    attempt: (object) => object.program("nope"),
    code: "OBJECT_NO_PROGRAM",
    says: 'has no program "nope"; name one of xdp_blocklist',
  },
  {
    name: "a map that there is not",
    attempt: (object) => object.map("nope"),
    code: "MAP_UNKNOWN",
    says: "it has blocked, blocked6, blocked_packets_total",
  },
  {
    name: "a global that there is not",
    attempt: (object) => object.getGlobal("nope"),
    code: "GLOBAL_UNKNOWN",
    says: "it has default_action",
  },
  {
    name: "setting a constant of a loaded object",
    attempt: (object) => object.setGlobal("default_action", 1),
    code: "GLOBAL_READ_ONLY",
    says: "load the object with globals: { default_action: … }",
  },
  {
    name: "a key that its type does not take",
    attempt: (object) => object.map("blocked").set("203.0.113.0/33", 1),
    code: "VALUE_PREFIX",
    says: "map blocked, key",
  },
  {
    name: "bytes of a wrong length",
    attempt: (object) => object.map("blocked").set(Uint8Array.of(1), 1),
    code: "VALUE_RANGE",
    says: "map blocked, key: 1 bytes; give 8",
  },
  {
    name: "popping what is no queue",
    attempt: (object) => object.map("blocked").pop(),
    code: "MAP_REFUSED",
    says: "map blocked, pop: maps of this type do not do that; its type is lpm_trie",
  },
  {
    name: "a packet of less than an Ethernet header",
    attempt: (object) => object.program().run(new Uint8Array(13)),
    code: "PACKET_TOO_SHORT",
    says: "13 bytes",
  },
  {
    name: "a device's number that is none",
    attempt: (object) => object.program().run(frame, { ctx: { ifindex: -1 } }),
    code: "CONTEXT_VALUE",
    says: "ctx.ifindex: -1 does not fit; give a whole number from 0 to 4294967295",
  },
  {
    name: "a packet that is none",
    attempt: (object) => object.program().run("abc" as never),
    code: "ARGUMENT_TYPE",
    says: "run, packet: was given 'abc'; give a Uint8Array",
  },
  {
    name: "no packet",
    attempt: (object) => object.program().run(undefined as never),
    code: "ARGUMENT_TYPE",
    says: "run, packet: was given undefined; give a Uint8Array",
  },
  {
    name: "an option of a run that there is not",
    attempt: (object) => object.program().run(frame, { context: {} } as never),
    code: "ARGUMENT_UNKNOWN",
    says: 'run, options: there is no "context"; there is ctx',
  },
  {
    name: "a context that is none",
    attempt: (object) => object.program().run(frame, { ctx: null as never }),
    code: "ARGUMENT_TYPE",
    says: "run, options.ctx: was given null",
  },
  {
    name: "metadata that is no bytes",
    attempt: (object) => object.program().run(frame, { ctx: { metadata: "abcd" as never } }),
    code: "CONTEXT_VALUE",
    says: "ctx.metadata: is no Uint8Array",
  },
  {
    name: "a field that programs of a type do not have",
    attempt: (object) => object.program().run(frame, { ctx: { mark: 1 } }),
    code: "CONTEXT_VALUE",
    says: "ctx.mark: programs of type xdp have none in their context; set some of ifindex, rx",
  },
  {
    name: "a type that there is not",
    attempt: (object) => object.program("xdp_blocklist", "xpd" as never),
    code: "ARGUMENT_TYPE",
    says: `program, type: was given 'xpd'; give "xdp", "tc", "tcx", "action", "socket" or "cgroup_skb"`,
  },
  {
    name: "pushing where keys are",
    attempt: (object) => object.map("blocked").push(1),
    code: "MAP_REFUSED",
    says: "its type is lpm_trie, and it takes 65536 entries",
  },
  {
    name: "a frame of misspelt parts",
    attempt: () => udpFrame({ from, to, paylod: "x" } as never),
    code: "ARGUMENT_UNKNOWN",
    says: 'udpFrame: there is no "paylod"; did you mean payload?',
  },
  {
    name: "a frame of no parts",
    attempt: () => tcpFrame(undefined as never),
    code: "ARGUMENT_TYPE",
    says: "tcpFrame: was given undefined",
  },
  {
    name: "flags that are no list",
    attempt: () => tcpFrame({ from, to, flags: "syn" as never }),
    code: "ARGUMENT_TYPE",
    says: "tcpFrame.flags: was given 'syn'; give an array",
  },
] satisfies readonly { name: string; attempt: Attempt; code: string; says: string }[])
  test(`${name} is a UserError that says where and what`, async () => {
    const object = await loadObject(filter("blocklist"));
    expect(() => attempt(object)).toThrow(expect.objectContaining({ name: "UserError", code }));
    expect(() => attempt(object)).toThrow(says);
  });

for (const { name, source, globals, code } of [
  { name: "a file that there is not", source: "/nowhere/x.o", code: "OBJECT_UNREADABLE" },
  { name: "a URL of the network", source: new URL("http://x/y.o"), code: "OBJECT_UNREADABLE" },
  { name: "bytes that are no object", source: new Uint8Array(99), code: "OBJECT_NOT_ELF" },
  {
    name: "a global of a wrong type",
    source: filter("blocklist"),
    globals: { default_action: "much" },
    code: "VALUE_TYPE",
  },
])
  test(`loading ${name} rejects with a UserError`, async () => {
    await expect(loadObject(source, globals && { globals })).rejects.toMatchObject({
      name: "UserError",
      code,
    });
  });

needing("clang")("a map that only a kernel has is told of who asks for it", async () => {
  const object = await loadObject(build("parted.c"), { file: "parted.o" });
  expect(object.maps).toEqual(["counters"]);
  expect(object.program("plain").run(frame).verdict).toBe("pass");
  const refusal = expect.objectContaining({ name: "UserError", code: "MAP_TYPE_UNSUPPORTED" });
  expect(() => object.map("peers")).toThrow(refusal);
  expect(() => object.program("in_sockmap")).toThrow(refusal);
  expect(() => object.program("in_sockmap")).toThrow(/, instruction \d+ \(r1 = peers ll, /);
  const calling = await loadObject(build("externs.c", "-DNOWHERE"));
  expect(() => calling.program()).toThrow(/, instruction \d+ \(call nowhere\b/);
  // Else the program would run on another map than the one that it names.
  await expect(
    loadObject(build("parted.c"), { innerMaps: { peers: { outer: "any" } } }),
  ).rejects.toMatchObject({
    code: "INNER_MAP_TEMPLATE",
    what: expect.stringContaining("has a map of that name"),
  });
});

for (const engine of ["jit", "interpreter"] as const)
  needing("clang")(
    `a devmap entry's program finds no egress_ifindex, on the ${engine}`,
    async () => {
      const object = await loadObject(build("devmap.c"), { engine, file: "devmap.o" });
      for (const name of ["leaves", "leaves_in_parts"])
        expect(object.program(name).run(frame).verdict).toBe("drop");
      expect(() => object.program("on_another_cpu")).toThrow(
        /program on_another_cpu, section "xdp\/cpumap", instruction .* xdp_md\.egress_ifindex .* put it into SEC\("xdp\/devmap"\)/,
      );
    },
  );

test("surplus arguments of a map's set are told of", async () => {
  const map = (await loadObject(filter("blocklist"))).map("blocked");
  const set = map.set.bind(map) as (...given: unknown[]) => unknown;
  expect(() => set("203.0.113.0/24", 7, 1)).toThrow(
    "map blocked, set: was given 3 arguments; give a key and a value; there are no flags",
  );
  expect(map.size).toBe(0);
});

for (const { name, options, code, says } of [
  {
    name: "an option that there is not",
    options: { global: {} },
    code: "ARGUMENT_UNKNOWN",
    says: 'loadObject, options: there is no "global"; did you mean globals?',
  },
  {
    name: "an engine that there is not",
    options: { engine: "native" },
    code: "ARGUMENT_TYPE",
    says: `options.engine: was given 'native'; give "jit" or "interpreter"`,
  },
  {
    name: "a clock that is a number",
    options: { nowNs: 5 },
    code: "ARGUMENT_TYPE",
    says: "options.nowNs: was given 5; give a function",
  },
  {
    name: "memory as text",
    options: { memoryBytes: "64MiB" },
    code: "ARGUMENT_TYPE",
    says: "options.memoryBytes: was given '64MiB'; give a whole number",
  },
  {
    name: "no memory at all",
    options: { memoryBytes: 0 },
    code: "ARENA_SIZE",
    says: "0 bytes is too little for an arena; set 131072 to 2147418112 bytes",
  },
  {
    name: "more memory than there can be",
    options: { memoryBytes: 2 ** 31 },
    code: "ARENA_SIZE",
    says: "2147483648 bytes is too much for an arena; set 131072 to 2147418112 bytes",
  },
  {
    name: "an inner map without its outer map",
    options: { innerMaps: { one: {} } },
    code: "ARGUMENT_TYPE",
    says: "options.innerMaps.one.outer: was given undefined; give text",
  },
  {
    name: "an inner map without a name",
    options: { innerMaps: { "": { outer: "tenants" } } },
    code: "INNER_MAP_TEMPLATE",
    says: "its name is empty; choose a name",
  },
  {
    name: "options that are null",
    options: null,
    code: "ARGUMENT_TYPE",
    says: "loadObject, options: was given null",
  },
  {
    name: "an inner map that is no block",
    options: { innerMaps: { one: 5 } },
    code: "ARGUMENT_TYPE",
    says: "options.innerMaps.one: was given 5",
  },
])
  test(`loading with ${name} rejects with a UserError`, async () => {
    const loading = loadObject(filter("blocklist"), options as never);
    await expect(loading).rejects.toMatchObject({
      name: "UserError",
      code,
      message: expect.stringContaining(says),
    });
  });

test("a source that is neither path nor bytes rejects with a UserError", async () => {
  await expect(loadObject(5 as never)).rejects.toMatchObject({
    code: "ARGUMENT_TYPE",
    message: "loadObject, source: was given 5; give a file's path, its URL, or bytes",
  });
});

test("a clock that gives no bigint is told of where it is asked", async () => {
  const object = await loadObject(filter("blocklist"), { nowNs: (() => 5) as never });
  expect(() => object.program().run(frame)).toThrow(
    "loadObject, options.nowNs: gave 5, which is no unsigned 64-bit bigint",
  );
});

test("bytes of another realm are bytes: test runners give tests globals of their own", async () => {
  const other = <T>(code: string): T => runInNewContext(code) as T;
  const object = await loadObject(filter("blocklist"));
  object.map("blocked").set(other("Uint8Array.of(24, 0, 0, 0, 203, 0, 113, 0)"), 7);
  expect([...object.map("blocked")]).toEqual([["203.0.113.0/24", 7]]);
  const packet = other<Uint8Array>(`Uint8Array.of(${frame.join()})`);
  expect(packet).not.toBeInstanceOf(Uint8Array);
  expect(object.program().run(packet)).toMatchObject({ verdict: "drop", data: frame });
});

test("after dispose everything of an object throws, by name", async () => {
  let kept: LoadedObject;
  {
    using object = await loadObject(filter("blocklist"));
    kept = object;
    object.program().run(frame);
  }
  for (const use of [() => kept.program(), () => kept.map("blocked")])
    expect(use).toThrow(expect.objectContaining({ code: "OBJECT_DISPOSED" }));
});

needing("clang")("events, queues and maps of maps are read and filled", async () => {
  const object = await loadObject(buildProgram("events"));
  const { events, verdict } = object.program().run(frame);
  expect(verdict).toBe("pass");
  const length = Uint8Array.of(frame.length, 0, 0, 0);
  expect(events).toEqual([
    { map: "ring", bytes: length },
    {
      map: "events",
      bytes: Uint8Array.of(...length, ...frame.subarray(0, 14)),
    },
  ]);
  expect(object.program().run(tcpFrame({ from, to })).events).toHaveLength(2);
  expect(object.map("shared").get(0)).toBe(2);
  const tokens = object.map<undefined, number>("tokens");
  tokens.push(1);
  tokens.push(2);
  expect([tokens.get(), tokens.pop(), tokens.pop(), tokens.pop()]).toEqual([1, 1, 2, undefined]);
  expect([tokens.set(undefined, 3).has(), tokens.pop(), tokens.has()]).toEqual([true, 3, false]);
  for (const attempt of [() => tokens.set(0 as never, 1), () => tokens.get(0 as never)])
    expect(attempt).toThrow("map tokens, key: maps of type queue have no keys; leave it out");
  expect(() => object.map("ring").push(1)).toThrow(
    expect.objectContaining({ code: "MAP_REFUSED" }),
  );
  expect(object.map("events").maxEntries).toBe(1);
  const tenants = object.map<number, string>("tenants").set(5, "ports");
  expect([...tenants]).toEqual([[5, "ports"]]);
  expect(() => tenants.set(6, "seen")).toThrow(expect.objectContaining({ code: "MAP_INNER" }));
});

needing("clang")(
  "a program sees where its packet came from, and a run begins in zeroed room",
  async () => {
    const object = await loadObject(buildProgram("judge-code"));
    const { data } = object
      .program("metadata")
      .run(frame, { ctx: { ifindex: 7, rxQueueIndex: 3 } });
    expect(data).toEqual(Uint8Array.of(7, 0, 0, 0, 3, 0, 0, 0, ...frame));
    const growth = frame.length % 50;
    const grown = object.program("grow_head").run(frame).data;
    expect(grown.subarray(14, growth)).toEqual(new Uint8Array(growth - 14));
    const even = udpFrame({ from, to, payload: "xy" });
    expect(object.program("redirect").run(even)).toMatchObject({
      verdict: "redirect",
      redirect: 1,
    });
  },
);

for (const engine of ["jit", "interpreter"] as const)
  needing("clang")(
    `a broadcast on the ${engine} names the ports, and a worker lets pass`,
    async () => {
      using object = await loadObject(buildProgram("judge-maps"), { engine });
      const one = Uint8Array.of(1, 0, 0, 0);
      object.map("devices").set(one, one);
      const run = (name: string) => object.program(name).run(new Uint8Array(60));
      const { returned, verdict, redirect, ports } = run("to_all_devices");
      expect([returned, verdict, redirect, ports]).toEqual([4, "redirect", undefined, [1]]);
      expect(run("on_workers").verdict).toBe("drop");
      object.map("workers").set(new Uint8Array(4), Uint8Array.of(64, 0, 0, 0));
      expect(run("on_workers")).toMatchObject({ returned: 4, verdict: "pass" });
    },
  );

for (const engine of ["jit", "interpreter"] as const)
  needing("clang")(`tail calls on the ${engine}: slots by programs' names`, async () => {
    const object = await loadObject(buildProgram("tail-calls"), { engine });
    const run = (digit: number) =>
      object.program("dispatch").run(udpFrame({ from, to, payload: String(digit) })).verdict;
    const chosen = object.map<number, string>("chosen").set(0, "drop_it");
    expect([run(0), run(1)]).toEqual(["drop", "pass"]);
    chosen.set(1, "send_back");
    expect([run(0), run(1)]).toEqual(["drop", "tx"]);
    expect([...chosen]).toEqual([
      [0, "drop_it"],
      [1, "send_back"],
    ]);
    expect(() => chosen.set(2, "of_a_socket")).toThrow(
      expect.objectContaining({ name: "UserError" }),
    );
    expect([chosen.delete(0), chosen.delete(0), run(0), run(1)]).toEqual([
      true,
      false,
      "pass",
      "tx",
    ]);
    expect(object.program("to_second").run(frame).returned).toBe(42);
  });
