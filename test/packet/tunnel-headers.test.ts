import { describe, expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import {
  GeneveView,
  gatewayLoadBalancerOptions,
  setGeneveProtocol,
  writeGeneve,
} from "../../src/packet/geneve.ts";
import { VxlanView, writeVxlan } from "../../src/packet/vxlan.ts";
import { Random } from "./random.ts";

const hex = (text: string): Uint8Array => parseHex(text)!;

describe("VxlanView", () => {
  for (const { name, bytes, result } of [
    { name: "reads the VNI", bytes: "0800000000002a00", result: 42 },
    { name: "reads the largest VNI", bytes: "08000000ffffff00", result: 0xffffff },
    // RFC 7348 §5: ignored on receipt. 0x88 and 0x8000 are the group policy's.
    { name: "ignores reserved bits", bytes: "8880800000002aff", result: 42 },
    {
      name: "refuses a header without the VNI flag",
      bytes: "0000000000002a00",
      result: "tunnel_bad_header",
    },
    {
      name: "refuses VXLAN-GPE's next protocol",
      bytes: "0c00000100002a00",
      result: "tunnel_bad_header",
    },
    { name: "refuses seven bytes", bytes: "0800000000002a", result: "tunnel_truncated" },
    { name: "refuses nothing at all", bytes: "", result: "tunnel_truncated" },
  ])
    test(name, () => {
      const view = new VxlanView();
      const datagram = hex(bytes);
      expect(view.bind(datagram, 0, datagram.length) ?? view.vni).toBe(result);
    });

  test("reads what writeVxlan writes, at any place", () => {
    const bytes = new Uint8Array(12).fill(0xff);
    expect(writeVxlan(bytes, 3, 0x123456)).toBe(8);
    expect(toHex(bytes)).toBe("ffffff0800000012345600ff");
    const view = new VxlanView();
    expect(view.bind(bytes, 3, 11)).toBe(undefined);
    expect([view.vni, view.payloadAt]).toEqual([0x123456, 11]);
  });
});

/**
 * As AWS documents it: an IPv4 packet (0x0800) under three options of class 0x0108, 8, 8 and 4
 * bytes long, VNI 0; option length 8 words.
 */
const aws = `08000800 00000000
  01080102 0000000000000abc 01080202 00000000000000de 01080301 01020304`;

describe("GeneveView", () => {
  for (const { name, bytes, result } of [
    { name: "reads a header without options", bytes: "00006558 00002a00", result: [42, 0x6558, 8] },
    { name: "reads AWS's options", bytes: aws, result: [0, 0x0800, 40] },
    { name: "lets empty options be", bytes: "01006558 00000100 ffff7f00", result: [1, 0x6558, 12] },
    { name: "ignores reserved bits", bytes: "003f86dd 00000aff", result: [10, 0x86dd, 8] },
    {
      name: "does not need the C flag to refuse a critical option",
      bytes: "01006558 00000100 ffff8000",
      result: "tunnel_critical_option",
    },
    {
      name: "refuses a critical option announced by the C flag",
      bytes: "01406558 00000100 01088100",
      result: "tunnel_critical_option",
    },
    {
      name: "accepts the C flag where no option is critical",
      bytes: "01406558 00000100 01080100",
      result: [1, 0x6558, 12],
    },
    {
      name: "refuses an option longer than the header",
      bytes: "02006558 00000100 01080102 00000000",
      result: "tunnel_bad_option",
    },
    {
      name: "refuses options longer than the packet",
      bytes: "03006558 00000100 01080100",
      result: "tunnel_truncated",
    },
    { name: "refuses another version", bytes: "40006558 00000100", result: "tunnel_bad_header" },
    { name: "refuses control packets", bytes: "00806558 00000100", result: "tunnel_control" },
    { name: "refuses seven bytes", bytes: "00006558 000001", result: "tunnel_truncated" },
  ])
    test(name, () => {
      const view = new GeneveView();
      const datagram = hex(bytes);
      expect(
        view.bind(datagram, 0, datagram.length) ?? [view.vni, view.protocol, view.payloadAt],
      ).toEqual(result);
    });

  test("walks over AWS's options", () => {
    const view = new GeneveView();
    const datagram = hex(aws);
    expect(view.bind(datagram, 0, datagram.length)).toBe(undefined);
    const { optionClass, endpointId, attachmentId, flowCookie } = gatewayLoadBalancerOptions;
    const options = view.options();
    const found: unknown[] = [];
    while (options.next())
      found.push([
        options.optionClass,
        options.type,
        toHex(datagram.subarray(options.dataAt, options.dataAt + options.dataBytes)),
      ]);
    expect(found).toEqual([
      [optionClass, endpointId, "0000000000000abc"],
      [optionClass, attachmentId, "00000000000000de"],
      [optionClass, flowCookie, "01020304"],
    ]);
  });

  test("reads what writeGeneve writes", () => {
    const bytes = new Uint8Array(8).fill(0xff);
    expect(writeGeneve(bytes, 0, 0x123456, 0x6558, new Uint8Array(0))).toBe(8);
    expect(toHex(bytes)).toBe("0000655812345600");
    setGeneveProtocol(bytes, 0, 0x86dd);
    expect(toHex(bytes)).toBe("000086dd12345600");
  });
});

test("both decoders take a million mutated headers, and read nothing beyond the end", () => {
  const random = new Random(4789);
  const seeds = [
    aws,
    "08000000 00002a00",
    "00006558 00002a00",
    "3f406558 00000100 01080102 0000000000000abc",
  ].map(hex);
  const views = [new VxlanView(), new GeneveView()];
  const met = new Set<unknown>();
  const bytes = new Uint8Array(320);
  for (let i = 0; i < 1_000_000; i++) {
    const seed = seeds[i % seeds.length]!;
    const end = random.below(8) === 0 ? random.below(280) : seed.length;
    bytes.set(seed);
    for (let changes = random.below(4); changes > 0; changes--)
      bytes[random.below(44)] = random.below(3) === 0 ? 0 : random.below(256);
    for (const view of views) {
      // What lies behind the end is not to matter.
      bytes.fill(0, end, end + 8);
      const first = view.bind(bytes, 0, end);
      bytes.fill(0xff, end, end + 8);
      const second = view.bind(bytes, 0, end);
      if (first !== second) expect.fail(`reads beyond ${end} of ${toHex(bytes)}`);
      if (first === undefined && view.payloadAt > end)
        expect.fail(`points outside ${toHex(bytes)}`);
      met.add(first);
    }
  }
  expect([...met].map(String).sort()).toEqual([
    "tunnel_bad_header",
    "tunnel_bad_option",
    "tunnel_control",
    "tunnel_critical_option",
    "tunnel_truncated",
    "undefined",
  ]);
});
