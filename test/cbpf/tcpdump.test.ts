import { execFile } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect } from "vitest";
import { compileExpression } from "../../src/cbpf/compile-expression.ts";
import type { ClassicProgram } from "../../src/cbpf/instruction.ts";
import { type ClassicPacket, runClassic } from "../../src/cbpf/interpreter.ts";
import type { LinkType } from "../../src/cbpf/link-type.ts";
import { type ListingForm, listClassic } from "../../src/cbpf/listing.ts";
import { code } from "../../src/cbpf/opcode.ts";
import { parseListing } from "../../src/cbpf/parse-listing.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { ExpressionGenerator } from "./expression-generator.ts";
import { capture, captures } from "./pcapfilter-corpus.ts";

const test = needing("tcpdump");
const run = promisify(execFile);

/** LINKTYPE_ numbers of capture files. */
const numbers: Readonly<Record<LinkType, number>> = {
  NULL: 0,
  EN10MB: 1,
  RAW: 101,
  LOOP: 108,
  LINUX_SLL: 113,
  LINUX_SLL2: 276,
};

let folder: ReturnType<typeof temporaryFolder>;

beforeAll(() => {
  folder = temporaryFolder();
  for (const [name, number] of Object.entries(numbers)) {
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(262_144, 16);
    header.writeUInt32LE(number, 20);
    writeFileSync(join(folder.path, `${name}.pcap`), header);
  }
});

afterAll(() => folder.remove());

const flags: Readonly<Record<ListingForm, string>> = { assembly: "-d", c: "-dd", decimal: "-ddd" };

/** What tcpdump compiles an expression to, for an empty capture of a link type; undefined if refused. */
async function tcpdump(
  expression: string,
  linkType: LinkType,
  form: ListingForm,
  options: readonly string[] = [],
): Promise<string | undefined> {
  const file = join(folder.path, `${linkType}.pcap`);
  try {
    const args = [flags[form], ...options, "-r", file, "--", expression];
    return (await run("tcpdump", args)).stdout;
  } catch {
    return undefined;
  }
}

/** The first packets of all captures with this link type, and pieces of them, as cut by a snap length. */
function packetsOf(linkType: LinkType): readonly ClassicPacket[] {
  if (captures === undefined) return [];
  const files = ["tcpdump", "libpcap"].flatMap((name) => readdirSync(join(captures!, name)));
  const packets = files
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .map((name) => capture(name)!)
    .filter((found) => found.linkType === linkType)
    .flatMap((found) => found.packets.slice(0, 4));
  const pieces = packets.map(({ data, length }, i) => ({
    data: data.subarray(0, (i * 7) % 60),
    length,
  }));
  return [...packets, ...pieces];
}

function differs(ours: ClassicProgram, theirs: ClassicProgram, packet: ClassicPacket): boolean {
  return (runClassic(ours, packet) === 0) !== (runClassic(theirs, packet) === 0);
}

/**
 * Whether a program tests a value by `jset #0xffffffff`, which libpcap 1.10's optimiser takes to hold
 * of any. Its own code before that optimiser does not.
 */
function masksAllBits(program: ClassicProgram): boolean {
  return program.some(({ code: each, k }) => each === code.jumpSet && k === 0xffff_ffff);
}

async function compare(
  expression: string,
  linkType: LinkType,
  packets: readonly ClassicPacket[],
  totals: { accepted: number; refused: number; ours: number; theirs: number },
): Promise<string | undefined> {
  const ours = compileExpression(expression, { linkType, netmask: 0 });
  const plain = ours.ok && masksAllBits(ours.value) ? ["-O"] : [];
  const theirs = await tcpdump(expression, linkType, "decimal", plain);
  if (theirs === undefined || !ours.ok) {
    if (theirs === undefined && !ours.ok) {
      totals.refused++;
      return undefined;
    }
    return `${ours.ok ? "accepted" : ours.error.message}: ${expression}`;
  }
  totals.accepted++;
  const rows = theirs.trim().split("\n").slice(1);
  if (plain.length === 0) {
    totals.ours += ours.value.length;
    totals.theirs += rows.length;
  }
  if (theirs === listClassic(ours.value, "decimal")) return undefined;
  const program = rows.map((row) => {
    const [code, jt, jf, k] = row.split(" ").map(Number) as [number, number, number, number];
    return { code, jt, jf, k };
  });
  const packet = packets.findIndex((each) => differs(ours.value, program, each));
  return packet < 0 ? undefined : `packet ${packet} of ${linkType}: ${expression}`;
}

/** How many random expressions are compared for each link type. */
const counts: Readonly<Record<LinkType, number>> = {
  EN10MB: 600,
  RAW: 100,
  LINUX_SLL: 100,
  LINUX_SLL2: 100,
  NULL: 100,
  LOOP: 100,
};

for (const [linkType, count] of Object.entries(counts) as [LinkType, number][])
  test(`${count} random expressions for ${linkType} are refused or match as tcpdump has it`, async () => {
    const generator = new ExpressionGenerator(numbers[linkType] + 1);
    const packets = packetsOf(linkType);
    const totals = { accepted: 0, refused: 0, ours: 0, theirs: 0 };
    const wrong: string[] = [];
    const expressions = Array.from({ length: count }, () => generator.next());
    const worker = async (): Promise<void> => {
      for (let next = expressions.pop(); next !== undefined; next = expressions.pop()) {
        const difference = await compare(next, linkType, packets, totals);
        if (difference !== undefined) wrong.push(difference);
      }
    };
    await Promise.all([worker(), worker()]);
    expect(wrong).toEqual([]);
    expect(totals.accepted).toBeGreaterThan(count / 4);
    expect(totals.refused).toBeGreaterThan(count / 10);
    expect(totals.ours / totals.theirs).toBeLessThan(1.05);
  }, 60_000);

for (const [expression, field] of [
  ["ether[6:4] & 0xffffffff != 0", 6],
  ["ether[6:4] & 0xffffffff = 0", 6],
  ["ether[0:4] & -1 != 0", 0],
] as const)
  test(`"${expression}" matches what it does to libpcap without its optimiser`, async () => {
    const packets = [0, 1, 0x8000_0000].map((value) => {
      const data = Buffer.alloc(60);
      data.writeUInt32BE(value, field);
      return { data, length: data.length };
    });
    const totals = { accepted: 0, refused: 0, ours: 0, theirs: 0 };
    expect(await compare(expression, "EN10MB", packets, totals)).toBeUndefined();
    expect(totals.accepted).toBe(1);
  });

const samples: readonly (readonly [LinkType, string])[] = [
  ["EN10MB", "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)"],
  ["EN10MB", "ip[0] * 3 / 2 % 7 | 1 ^ 2 = -len or ip[1] << 2 >> 1 + 0xffffff00 >= ip6[3]"],
  ["EN10MB", "ip protochain 51 or ip6 protochain 58"],
  ["EN10MB", "geneve 17 and vlan 5 and host 10.0.0.1"],
  ["EN10MB", "not (vlan 100 or vlan 200) and ether multicast"],
  ["LINUX_SLL2", "inbound and ifindex 3"],
  ["RAW", "portrange 1-1023 and len > 100"],
  ["EN10MB", "ip proto 300 or proto 256 or ether proto 70000 or ether proto 1000"],
  ["RAW", "ether proto 70000 or ip6 proto 4294967295"],
  ["NULL", "ip proto 300 or ip6 proto 256"],
  ["EN10MB", ""],
  ["EN10MB", Array.from({ length: 80 }, (_, i) => `host 10.0.0.${i}`).join(" or ")],
];

for (const [linkType, expression] of samples)
  test(`listings of "${expression.slice(0, 40)}" for ${linkType} are tcpdump's byte for byte`, async () => {
    for (const form of ["assembly", "c", "decimal"] as const)
      for (const optimise of [true, false]) {
        const compiled = compileExpression(expression, { linkType, optimise });
        if (!compiled.ok) throw compiled.error;
        const theirs = await tcpdump(expression, linkType, form, optimise ? [] : ["-O"]);
        expect(listClassic(compiled.value, form)).toBe(theirs);
        if (form === "assembly" || /protochain/.test(expression)) continue;
        expect(parseListing(theirs!, "tcpdump")).toEqual(compiled);
      }
  });

/** Names and aliases of a system's table, of entries that `wanted` takes: `name number[/x] aliases`. */
function systemNames(file: string, wanted: RegExp): string[] {
  const names = new Set<string>();
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [entry = ""] = line.split("#");
    if (!wanted.test(entry)) continue;
    const [name, , ...aliases] = entry.trim().split(/\s+/);
    for (const each of [name!, ...aliases]) names.add(each);
  }
  return [...names];
}

for (const { file, wanted, test: testOf } of [
  {
    file: "/etc/services",
    wanted: /^\S+\s+\d+\/(tcp|udp)\b/,
    test: (name: string) =>
      name.includes("-") ? `port \\${name}` : `port \\${name} or portrange \\${name}-6`,
  },
  { file: "/etc/protocols", wanted: /^\S+\s+\d+\s/, test: (name: string) => `ip proto \\${name}` },
])
  test(`names of ${file} mean what they mean to tcpdump`, async () => {
    const names = systemNames(file, wanted);
    expect(names.length).toBeGreaterThan(30);
    for (let i = 0; i < names.length; i += 40) {
      const text = names
        .slice(i, i + 40)
        .map(testOf)
        .join(" or ");
      const compiled = compileExpression(text, { linkType: "EN10MB", optimise: false });
      if (!compiled.ok) throw compiled.error;
      const theirs = await tcpdump(text, "EN10MB", "decimal", ["-O"]);
      expect(listClassic(compiled.value, "decimal")).toBe(theirs);
    }
  });

test("listings for NULL packets of a big-endian capture are tcpdump's", async () => {
  const header = Buffer.alloc(24);
  header.writeUInt32BE(0xa1b2c3d4, 0);
  header.writeUInt16BE(2, 4);
  header.writeUInt16BE(4, 6);
  header.writeUInt32BE(262_144, 16);
  const file = join(folder.path, "big-endian.pcap");
  writeFileSync(file, header);
  for (const expression of ["ip", "ip6", "arp", "udp port 53", "host ::1 or host 10.0.0.1"]) {
    const options = { linkType: "NULL", bigEndian: true } as const;
    const compiled = compileExpression(expression, options);
    const theirs = await run("tcpdump", ["-d", "-r", file, "--", expression]).catch(
      () => undefined,
    );
    expect(compiled.ok ? listClassic(compiled.value, "assembly") : undefined).toBe(theirs?.stdout);
    const little = compileExpression(expression, { linkType: "NULL" });
    if (compiled.ok && expression !== "arp") expect(little).not.toEqual(compiled);
  }
});
