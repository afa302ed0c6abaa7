import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import {
  captureFile,
  datagram,
  folder,
  frame,
  packetsOf,
  replay,
  three,
  verdictsOf,
} from "./replay-rig.ts";

const ip = datagram("10.0.0.1", 53);
const ip6 = Buffer.concat([
  Buffer.from(
    `60000000000c1140${"20010db8".padEnd(32, "0")}${"20010db8".padEnd(30, "0")}01`,
    "hex",
  ),
  ip.subarray(20),
]);
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

for (const { name, linkType, data, header } of [
  { name: "RAW IPv4", linkType: 101, data: ip, header: "02040a000002 02040a000001 0800" },
  { name: "OpenBSD's RAW", linkType: 14, data: ip, header: "02040a000002 02040a000001 0800" },
  { name: "RAW IPv6", linkType: 101, data: ip6, header: "0206........ 0206........ 86dd" },
  {
    name: "NULL of a little-endian machine",
    linkType: 0,
    data: Buffer.concat([hex("02000000"), ip]),
    header: "02040a000002 02040a000001 0800",
  },
  {
    name: "NULL of a big-endian machine",
    linkType: 0,
    data: Buffer.concat([hex("00000002"), ip]),
    header: "02040a000002 02040a000001 0800",
  },
  {
    name: "LOOP IPv6",
    linkType: 108,
    data: Buffer.concat([hex("00000018"), ip6]),
    header: "0206........ 0206........ 86dd",
  },
  {
    name: "LINUX_SLL",
    linkType: 113,
    data: Buffer.concat([hex("0000 0001 0006 0200aabbccdd 0000 0800"), ip]),
    header: "02040a000002 0200aabbccdd 0800",
  },
  {
    name: "LINUX_SLL broadcast",
    linkType: 113,
    data: Buffer.concat([hex("0001 0001 0006 0200aabbccdd 0000 0800"), ip]),
    header: "ffffffffffff 0200aabbccdd 0800",
  },
  {
    name: "LINUX_SLL2 of a tunnel",
    linkType: 276,
    data: Buffer.concat([hex("0800 0000 00000002 fffe 00 00 0000000000000000"), ip]),
    header: "02040a000002 02040a000001 0800",
  },
])
  test(`${name} gets an Ethernet header, and is written so where it passes, as it came where not`, async () => {
    const file = captureFile("link.pcapng", [{ data, linkType }]);
    const [passed, dropped] = [`${folder.path}/link-p.pcapng`, `${folder.path}/link-d.pcapng`];
    await replay(file, "dns", "-w", passed);
    const [one] = packetsOf(passed);
    expect(one!.linkType).toBe(1);
    const text = Buffer.from(one!.data).toString("hex");
    expect(text.slice(0, 28)).toMatch(new RegExp(`^${header.replaceAll(" ", "")}$`));
    expect(text.slice(28)).toBe(
      (linkType === 101 && data === ip6) || linkType === 108
        ? ip6.toString("hex")
        : ip.toString("hex"),
    );
    await replay(file, "none", "--dropped", dropped);
    expect(packetsOf(dropped)).toMatchObject([{ linkType, data: new Uint8Array(data) }]);
  });

for (const { name, linkType, data, reason } of [
  {
    name: "less than an Ethernet header",
    linkType: 1,
    data: hex("0200"),
    reason: "frame_truncated",
  },
  { name: "RAW that is no IP", linkType: 101, data: hex("00"), reason: "frame_bad_header" },
  { name: "empty RAW", linkType: 101, data: hex(""), reason: "frame_truncated" },
  { name: "half a NULL header", linkType: 0, data: hex("0200"), reason: "frame_truncated" },
  { name: "an unknown family", linkType: 0, data: hex("0700000000"), reason: "frame_bad_header" },
  {
    name: "netlink",
    linkType: 113,
    data: hex("0004 0338 0000 0000000000000000 0000 00"),
    reason: "frame_bad_header",
  },
  {
    name: "a cooked CAN frame",
    linkType: 113,
    data: hex("0000 0118 0000 0000000000000000 000c 00"),
    reason: "frame_bad_header",
  },
  { name: "a cut cooked header", linkType: 276, data: hex("0800"), reason: "frame_truncated" },
  {
    name: "more than a slot holds",
    linkType: 1,
    data: Buffer.alloc(65_600),
    reason: "frame_too_large",
  },
])
  test(`${name} is dropped unseen: ${reason}`, async () => {
    const file = captureFile("odd.pcapng", [{ data, linkType }]);
    expect(await verdictsOf(file, "dns")).toEqual([`drop  ${reason} 1`]);
  });

test("a link type without frames is refused by name, after what came before it", async () => {
  const file = captureFile("wifi.pcapng", [
    { data: frame("10.0.0.1", 53) },
    { data: ip, linkType: 105 },
  ]);
  const { code, stdout, stderr } = await replay(file, "dns");
  expect(code).toBe(1);
  expect(stdout).toMatch(/^1 packet, /m);
  expect(stderr).toMatch(
    /packet 1: .*link type 105 \(IEEE802_11\).*frames are made of EN10MB, RAW/,
  );
});

test("a classic pcap does not take a second link type", async () => {
  const mixed = captureFile("mixed.pcapng", [
    { data: frame("10.0.0.1", 53) },
    { data: ip, linkType: 101 },
  ]);
  const { code, stderr } = await replay(mixed, "none", "--dropped", `${folder.path}/mixed.pcap`);
  expect(code).toBe(1);
  expect(stderr).toMatch(/mixed\.pcap: a classic pcap holds packets of one link type.*\.pcapng\n$/);
});

test("a truncated capture is replayed as far as it is whole, exit 1, and so are the files", async () => {
  const cut = `${folder.path}/cut.pcapng`;
  const passed = `${folder.path}/cut-passed.pcapng`;
  writeFileSync(cut, readFileSync(three).subarray(0, -30));
  const { code, stdout, stderr } = await replay(cut, "open", "--json", "-w", passed);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^weir replay: .*cut\.pcapng, byte \d+: the capture ends within /);
  expect(JSON.parse(stdout)).toMatchObject({ packets: 2, error: { code: "CAPTURE_TRUNCATED" } });
  expect(packetsOf(passed).length).toBe(2);
});

test("packets that had been cut when captured are pointed out, and stay marked as cut", async () => {
  const writer = new ClassicWriter(1, "microseconds");
  const data = frame("10.0.0.1", 53);
  const file = `${folder.path}/snap.pcap`;
  const passed = `${folder.path}/snap-passed.pcap`;
  const record = writer.record({ seconds: 1, nanoseconds: 0, originalLength: 1000, data });
  writeFileSync(file, Buffer.concat([writer.header, record]));
  const { stdout } = await replay(file, "open", "-w", passed);
  expect(stdout).toMatch(/^1 packet had been cut when captured: filters saw what is left$/m);
  expect(packetsOf(passed)).toMatchObject([{ originalLength: 1000 }]);
});
