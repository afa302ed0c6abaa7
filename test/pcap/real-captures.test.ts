import { spawnSync } from "node:child_process";
import {
  createReadStream,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { PcapngWriter } from "../../src/pcap/pcapng-writer.ts";
import { readCapture } from "../../src/pcap/read-capture.ts";
import { corpus } from "../support/corpora.ts";
import { needing } from "../support/needing.ts";
import { concat, readAll } from "./capture-bytes.ts";

const captures = corpus("pcap");
const judged = needing("tcpdump");

/** Fractions beyond a second: tcpdump's own conversion to nanoseconds overflows 32 bits there. */
const oddTimes = new Set([
  "tcpdump/atm-oam-loopback-print-overrun.pcap",
  "tcpdump/rx_serviceid_oobr.pcap",
]);

/** Wireshark takes the pseudo-header of ATM packets off their lengths. */
const oddCounts = new Set(["tcpdump/atm-oam-loopback-print-overrun.pcap"]);

if (captures === undefined)
  test.skip("every capture reads as tcpdump reads it [skipped: needs the corpora]", () => {});
else {
  const files = (readdirSync(captures, { recursive: true }) as string[])
    .filter((name) => statSync(join(captures, name)).isFile())
    .sort();

  judged(
    "every capture reads as tcpdump reads it: packets, bytes, lengths, times",
    { timeout: 60_000 },
    () => {
      const seen = { same: 0, refused: 0 };
      for (const name of files) {
        const file = join(captures, name);
        const theirs = spawnSync(
          "tcpdump",
          ["-r", file, "-w", "-", "--time-stamp-precision=nano"],
          { maxBuffer: 2 ** 28 },
        );
        const { packets, error } = readAll(readFileSync(file));
        if (theirs.status !== 0) {
          expect(error, name).toBeDefined();
          seen.refused++;
          continue;
        }
        expect(error, name).toBeUndefined();
        const writer = new ClassicWriter(packets[0]?.linkType ?? 0);
        const ours = Buffer.concat(packets.map((packet) => writer.record(packet)));
        const records = theirs.stdout.subarray(24);
        if (oddTimes.has(name)) {
          expect(
            packets.map((packet) => toHex(packet.data)),
            name,
          ).toEqual(readAll(theirs.stdout).packets.map((packet) => toHex(packet.data)));
        } else expect(Buffer.compare(ours, records), name).toBe(0);
        seen.same++;
      }
      expect(seen.same).toBeGreaterThan(400);
      // The folder's licence text is the one file that is no capture.
      expect(seen.refused).toBe(1);
    },
  );

  needing("capinfos")(
    "every capture has the packets and bytes that Wireshark counts",
    { timeout: 60_000 },
    () => {
      const { stdout } = spawnSync(
        "capinfos",
        ["-TmQ", "-c", "-d", ...files.map((name) => join(captures, name))],
        { encoding: "utf8", maxBuffer: 2 ** 24 },
      );
      const counted = new Map(
        stdout
          .trim()
          .split("\n")
          .slice(1)
          .map((line) => {
            const [file, packets, bytes] = line.replaceAll('"', "").split(",");
            return [file!, [Number(packets), Number(bytes)]] as const;
          }),
      );
      const wrong: string[] = [];
      let same = 0;
      for (const name of files) {
        const expected = counted.get(join(captures, name));
        if (expected === undefined || oddCounts.has(name)) continue;
        const { packets } = readAll(readFileSync(join(captures, name)));
        const bytes = packets.reduce((sum, packet) => sum + packet.originalLength, 0);
        if (expected[0] === packets.length && expected[1] === bytes) same++;
        else
          wrong.push(`${name}: ${packets.length} packets, ${bytes} bytes; capinfos: ${expected}`);
      }
      expect(wrong).toEqual([]);
      expect(same).toBeGreaterThan(400);
    },
  );

  test("a capture reads the same from a file stream", async () => {
    const file = join(captures, "tcpdump/afs.pcap");
    const whole = readAll(readFileSync(file));
    let count = 0;
    for await (const packet of readCapture(createReadStream(file, { highWaterMark: 1000 }))) {
      const expected = whole.packets[count++]!;
      expect([packet.offset, toHex(packet.data)]).toEqual([expected.offset, toHex(expected.data)]);
    }
    expect(count).toBe(whole.packets.length);
    expect(count).toBeGreaterThan(100);
  });
}

const frame = Buffer.from(
  "0204c63364070204c000020108004500001c000100004011000000000000c0000201c633640704d2003500080000",
  "hex",
);

function withFile<T>(bytes: Uint8Array, use: (file: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "weir-pcap-"));
  try {
    const file = join(folder, "written");
    writeFileSync(file, bytes);
    return use(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const written = {
  seconds: 1_700_000_000,
  nanoseconds: 123_456_789,
  originalLength: 100,
  data: new Uint8Array(frame),
  comments: ["verdict: drop", "Grund: größer"],
};

for (const [name, make] of [
  ["pcap", () => new ClassicWriter(1)],
  ["pcapng", () => new PcapngWriter([{ linkType: 1, name: "left" }])],
] as const)
  judged(`tcpdump reads a written ${name} with its times and lengths`, () => {
    const writer = make();
    const run = withFile(
      concat(writer.header, writer.record(written), writer.record(written)),
      (file) =>
        spawnSync("tcpdump", ["-nettr", file, "--time-stamp-precision=nano"], { encoding: "utf8" }),
    );
    expect(run.status, run.stderr).toBe(0);
    const lines = run.stdout.trimEnd().split("\n");
    expect(lines.length).toBe(2);
    for (const line of lines) {
      expect(line).toMatch(/^1700000000\.123456789 /);
      expect(line).toMatch(/length 100: /);
    }
  });

needing("tshark")("tshark shows the comments and the interface of a written pcapng", () => {
  const writer = new PcapngWriter([{ linkType: 1, name: "left" }]);
  const run = withFile(concat(writer.header, writer.record(written)), (file) =>
    spawnSync(
      "tshark",
      ["-n", "-r", file, "-T", "fields", "-e", "frame.comment", "-e", "frame.interface_name"],
      { encoding: "utf8" },
    ),
  );
  expect(run.status, run.stderr).toBe(0);
  expect(run.stdout).toBe("verdict: drop,Grund: größer\tleft\n");
});
