import { expect, test } from "vitest";
import { decodeClassic, encodeClassic } from "../../src/cbpf/instruction.ts";
import { listClassic } from "../../src/cbpf/listing.ts";
import { parseListing } from "../../src/cbpf/parse-listing.ts";

/** code, jt, jf, k, and the line of tcpdump -d at number 0. */
const images: readonly (readonly [number, number, number, number, string])[] = [
  [0x00, 0, 0, 0xffff_ffff, "ld       #0xffffffff"],
  [0x20, 0, 0, 12, "ld       [12]"],
  [0x28, 0, 0, 0xffff_fffe, "ldh      [-2]"],
  [0x30, 0, 0, 0xffff_f004, "ldb      [type]"],
  [0x30, 0, 0, 0xffff_f03c, "ldb      [vlan_tpid]"],
  [0x30, 0, 0, 0xffff_f001, "ldb      [-4095]"],
  [0x40, 0, 0, 5, "ld       [x + 5]"],
  [0x48, 0, 0, 5, "ldh      [x + 5]"],
  [0x50, 0, 0, 0xffff_ffff, "ldb      [x + -1]"],
  [0x60, 0, 0, 3, "ld       M[3]"],
  [0x80, 0, 0, 0, "ld       #pktlen"],
  [0x01, 0, 0, 40, "ldx      #0x28"],
  [0x61, 0, 0, 3, "ldx      M[3]"],
  [0xb1, 0, 0, 14, "ldxb     4*([14]&0xf)"],
  [0x02, 0, 0, 1, "st       M[1]"],
  [0x03, 0, 0, 1, "stx      M[1]"],
  [0x04, 0, 0, 0xffff_ffff, "add      #-1"],
  [0x0c, 0, 0, 0, "add      x"],
  [0x14, 0, 0, 1, "sub      #1"],
  [0x24, 0, 0, 4, "mul      #4"],
  [0x34, 0, 0, 4, "div      #4"],
  [0x94, 0, 0, 4, "mod      #4"],
  [0x44, 0, 0, 255, "or       #0xff"],
  [0x54, 0, 0, 255, "and      #0xff"],
  [0xa4, 0, 0, 255, "xor      #0xff"],
  [0x64, 0, 0, 2, "lsh      #2"],
  [0x7c, 0, 0, 0, "rsh      x"],
  [0x84, 0, 0, 0, "neg      "],
  [0x05, 0, 0, 7, "ja       8"],
  [0x05, 0, 0, 0xffff_fffe, "ja       -1"],
  [0x15, 1, 255, 6, "jeq      #0x6             jt 2\tjf 256"],
  [0x25, 0, 1, 0xffff_ffff, "jgt      #0xffffffff      jt 1\tjf 2"],
  [0x3d, 0, 1, 0, "jge      x                jt 1\tjf 2"],
  [0x45, 2, 0, 1, "jset     #0x1             jt 3\tjf 1"],
  [0x06, 0, 0, 0xffff_ffff, "ret      #-1"],
  [0x16, 0, 0, 0, "ret      "],
  [0x07, 0, 0, 0, "tax      "],
  [0x87, 0, 0, 0, "txa      "],
  [0x81, 0, 0, 0, "unimp    0x81"],
  [0xffff, 0, 0, 0, "unimp    0xffff"],
];

for (const [code, jt, jf, k, line] of images)
  test(`code 0x${code.toString(16)} with ${k} is listed as "${line}"`, () => {
    expect(listClassic([{ code, jt, jf, k }], "assembly")).toBe(`(000) ${line}\n`);
  });

const program = [
  { code: 0x28, jt: 0, jf: 0, k: 12 },
  { code: 0x15, jt: 0, jf: 1, k: 0x800 },
  { code: 0x06, jt: 0, jf: 0, k: 0x40000 },
  { code: 0x06, jt: 0, jf: 0, k: 0 },
];

test("decimal and C listings are written, and read back", () => {
  const decimal = "4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n";
  expect(listClassic(program, "decimal")).toBe(decimal);
  const c =
    "{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000800 },\n" +
    "{ 0x6, 0, 0, 0x00040000 },\n{ 0x6, 0, 0, 0x00000000 },\n";
  expect(listClassic(program, "c")).toBe(c);
  for (const text of [
    decimal,
    c,
    decimal.trim().replaceAll("\n", ","),
    decimal.replaceAll("\n", "\r\n"),
  ])
    expect(parseListing(text, "text")).toEqual({ ok: true, value: program });
});

for (const { text, message } of [
  { text: "", message: /^text: no instructions/ },
  { text: "\n\n", message: /^text: no instructions/ },
  { text: "2\n6 0 0 0\n", message: /^text:1: announces 2 instructions, but there are 1/ },
  { text: "one\n6 0 0 0\n", message: /^text:1: announces one instructions/ },
  { text: "1\n6 0 0\n", message: /^text:2: "6 0 0" is no instruction; expected four numbers/ },
  { text: "1\n6 0 0 4294967296\n", message: /^text:2: / },
  { text: "1\n6 256 0 0\n", message: /^text:2: / },
  { text: "1\n6 0 0 -1\n", message: /^text:2: / },
  { text: "1\n6 0 0 0x10\n", message: /^text:2: / },
  { text: "{ 0x6, 0, 0, 0x0 }\nret\n", message: /^text:2: "ret" is no instruction; expected \{/ },
  { text: "1\n40 0 0 12\n", message: /^text, instruction 0: the last instruction does not return/ },
  { text: "9".repeat(2_000_000), message: /2000000 characters/ },
])
  test(`the listing ${JSON.stringify(text.slice(0, 30))} is refused with its line`, () => {
    const parsed = parseListing(text, "text");
    expect(parsed.ok || parsed.error.message).toMatch(message);
  });

test("a program has the bytes of struct sock_filter", () => {
  const bytes = encodeClassic(program);
  expect(Buffer.from(bytes.subarray(8, 16)).toString("hex")).toBe("1500000100080000");
  expect(decodeClassic(bytes, "bytes")).toEqual({ ok: true, value: program });
  const broken = decodeClassic(bytes.subarray(1), "bytes");
  expect(broken.ok || broken.error.message).toMatch(/^bytes: 31 bytes are no whole number/);
});
