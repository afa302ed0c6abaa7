import { describe, expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { skb } from "../../src/engine/socket-context.ts";
import { loadObject, type PacketContext, udpFrame } from "../../src/index.ts";
import { needing } from "../support/needing.ts";
import { kernelAnswers } from "./kernel.ts";
import { buildProgram } from "./truth-rig.ts";

const test = needing("clang", "kernel bpf()");
const frame = udpFrame({ from: "192.0.2.1:4000", to: "198.51.100.1:53", payload: "question" });
const skbBytes = 192;

/** The `ctx_in` that BPF_PROG_TEST_RUN takes for a context of a program with a `__sk_buff`. */
function skbOf(ctx: PacketContext): Uint8Array {
  const bytes = new Uint8Array(skbBytes);
  const view = new DataView(bytes.buffer);
  const words = [
    [skb.ifindex, ctx.ifindex ?? 1],
    [skb.ingressIfindex, ctx.ingressIfindex ?? ctx.ifindex ?? 1],
    [skb.mark, ctx.mark],
    [skb.priority, ctx.priority],
    ...[0, 1, 2, 3, 4].map((i) => [skb.cb + i * 4, ctx.cb?.[i]] as const),
    [skb.wireLength, ctx.wireLength],
    [skb.gsoSegments, ctx.gsoSegments],
    [skb.gsoSize, ctx.gsoSize],
  ] as const;
  for (const [offset, value] of words) view.setUint32(offset, value ?? 0, true);
  view.setBigUint64(skb.timestamp, ctx.tstamp ?? 0n, true);
  view.setBigUint64(skb.hardwareTimestamp, ctx.hwtstamp ?? 0n, true);
  return bytes;
}

/** What the kernel gives back of a `__sk_buff`: it does not tell of queues and classes. */
function toldOf(ctx: string): object {
  const view = new DataView(Uint8Array.from(Buffer.from(ctx, "hex")).buffer);
  return {
    mark: view.getUint32(skb.mark, true),
    priority: view.getUint32(skb.priority, true),
    cb: [0, 1, 2, 3, 4].map((i) => view.getUint32(skb.cb + i * 4, true)),
    tstamp: view.getBigUint64(skb.timestamp, true),
  };
}

const contexts: readonly PacketContext[] = [
  {},
  { mark: 0xffff_ffff, priority: 6, cb: [1, 2, 3, 4, 0xffff_fff0], tstamp: 2n ** 63n + 7n },
  { ingressIfindex: 3000, wireLength: 9000, gsoSegments: 6, gsoSize: 1448, hwtstamp: 123n },
  { cb: [9], mark: 1, wireLength: frame.length, gsoSegments: 0xffff },
];

for (const engine of ["interpreter", "jit"] as const)
  describe(`on the ${engine}`, () => {
    for (const program of ["on_tc", "on_cgroup", "on_socket"])
      test(`${program} sees the context that a test sets, and leaves the kernel's`, async () => {
        const file = buildProgram("context");
        using object = await loadObject(file, { engine });
        for (const ctx of contexts) {
          const [run, shown] = kernelAnswers(file, [
            `run ${program} ${toHex(frame)} ${toHex(skbOf(ctx))}`,
            "show .bss",
          ]);
          object.setGlobal("seen", new Uint8Array(128));
          const here = object.program(program).run(frame, { ctx });
          expect(here.returned).toBe(run!.ret);
          expect(here.ctx).toMatchObject(toldOf(run!.ctx!));
          expect(toHex(object.map(".bss").getBytes(0)!)).toBe(shown!.entries![0]![1]);
        }
      });

    test("an xdp program sees the metadata that a test puts before its packet", async () => {
      const file = buildProgram("context");
      using object = await loadObject(file, { engine });
      for (const size of [0, 4, 12, 216]) {
        const metadata = Uint8Array.from({ length: size }, (_, i) => i + 5);
        const context = new Uint8Array(24);
        new DataView(context.buffer).setUint32(0, size, true);
        new DataView(context.buffer).setUint32(4, size + frame.length, true);
        const packet = Uint8Array.of(...metadata, ...frame);
        const [run, shown] = kernelAnswers(file, [
          `run on_xdp ${toHex(packet)} ${toHex(context)}`,
          "show .bss",
        ]);
        const { returned, data, ctx } = object.program("on_xdp").run(frame, { ctx: { metadata } });
        expect([returned, toHex(data), ctx]).toEqual([run!.ret, run!.data, undefined]);
        expect(toHex(object.map(".bss").getBytes(0)!)).toBe(shown!.entries![0]![1]);
        object.setGlobal("seen", new Uint8Array(128));
      }
    });

    needing("clang")("a test reads what a tc program left for queues and in the tag", async () => {
      using object = await loadObject(buildProgram("context"), { engine });
      expect(object.program("on_tc").run(frame, { ctx: { mark: 41 } }).ctx).toEqual({
        mark: 42,
        priority: 0xff,
        queueMapping: 4,
        tcIndex: 7,
        tcClassid: 0x10002,
        cb: [0, 0, 0, 0, 0],
        tstamp: 5n,
        packetType: 0,
        vlan: { protocol: 0x88a8, tci: 0x2005 },
      });
    });
  });

for (const { program, ctx, says } of [
  { program: "on_xdp", ctx: { mark: 1 }, says: "ctx.mark: programs of type xdp have none" },
  {
    program: "on_tc",
    ctx: { rxQueueIndex: 1 },
    says: "ctx.rxQueueIndex: programs of type tc have none",
  },
  { program: "on_tc", ctx: { mark: 2 ** 32 }, says: "ctx.mark: 4294967296 does not fit" },
  { program: "on_tc", ctx: { wireLength: 20 }, says: "give a whole number from 50 to 65536" },
  { program: "on_tc", ctx: { gsoSegments: 65_536 }, says: "ctx.gsoSegments: 65536 does not fit" },
  { program: "on_tc", ctx: { cb: [1, -1] }, says: "ctx.cb[1]: -1 does not fit" },
  { program: "on_tc", ctx: { cb: [1, 2, 3, 4, 5, 6] }, says: "ctx.cb: 6 words; give at most 5" },
  { program: "on_tc", ctx: { tstamp: -1n }, says: "ctx.tstamp: -1 is no unsigned 64-bit number" },
  { program: "on_xdp", ctx: { metadata: new Uint8Array(3) }, says: "give a multiple of 4" },
  { program: "on_xdp", ctx: { metadata: new Uint8Array(256) }, says: "at most 216" },
  { program: "on_xdp", ctx: { ifindex: 1.5 }, says: "ctx.ifindex: 1.5 does not fit" },
] satisfies readonly { program: string; ctx: PacketContext; says: string }[])
  needing("clang")(`${program} with a wrong context is told: ${says}`, async () => {
    using object = await loadObject(buildProgram("context"));
    const run = () => object.program(program).run(frame, { ctx });
    expect(run).toThrow(expect.objectContaining({ name: "UserError", code: "CONTEXT_VALUE" }));
    expect(run).toThrow(says);
  });
