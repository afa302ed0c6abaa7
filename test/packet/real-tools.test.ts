import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Flow } from "../../src/packet/flow.ts";
import { FrameView } from "../../src/packet/frame-view.ts";
import { tcpHeaderBytes, writeTcpFrame, writeUdpFrame } from "../../src/packet/synthesis.ts";
import {
  type ConversationSegment,
  TcpConversation,
  type TcpSide,
} from "../../src/packet/tcp-conversation.ts";
import { ClassicWriter } from "../../src/pcap/classic-writer.ts";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { corpus } from "../support/corpora.ts";
import { needing } from "../support/needing.ts";
import { Random } from "./random.ts";

/** Runs `use` with a capture file of these Ethernet frames, and removes it. */
function withCapture<T>(frames: readonly Uint8Array[], use: (file: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "weir-packet-"));
  try {
    const file = join(folder, "frames.pcap");
    const writer = new ClassicWriter(1);
    const records = frames.map((data, i) =>
      writer.record({ seconds: 1, nanoseconds: i * 1000, originalLength: data.length, data }),
    );
    writeFileSync(file, Buffer.concat([writer.header, ...records]));
    return use(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function output(tool: string, ...args: string[]): string {
  const run = spawnSync(tool, args, { encoding: "utf8", maxBuffer: 2 ** 28 });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout;
}

const hosts = {
  4: ["192.0.2.1", "198.51.100.7"],
  6: ["2001:db8::1", "2001:db8::2"],
} as const;

/** Datagrams of many sizes in both directions, over both families. */
function datagrams(): Uint8Array[] {
  const random = new Random(53);
  const frames: Uint8Array[] = [];
  const bytes = new Uint8Array(new SharedArrayBuffer(2048));
  for (const family of [4, 6] as const) {
    const client = { address: hosts[family][0], port: 40_000 };
    const server = { address: hosts[family][1], port: 9999 };
    for (const flow of [new Flow("udp", client, server), new Flow("udp", server, client)])
      for (const size of [0, 1, 2, 3, 63, 64, 65, 1399, 1400, 1472]) {
        const at = random.below(8);
        bytes.set(random.bytes(size), at + flow.headerBytes);
        frames.push(bytes.slice(at, at + writeUdpFrame(bytes, at, flow, size)));
      }
  }
  return frames;
}

/** A whole connection with wrap-around of both sequence numbers, over one family. */
function conversation(family: 4 | 6): Uint8Array[] {
  const random = new Random(80 + family);
  const client = { address: hosts[family][0], port: 40_000 + family };
  const server = { address: hosts[family][1], port: 9999 };
  const flows = {
    client: new Flow("tcp", client, server),
    upstream: new Flow("tcp", server, client),
  };
  const tcp = new TcpConversation(family, 2 ** 32 - 50, 2 ** 32 - 3000);
  const frames: Uint8Array[] = [];
  const bytes = new Uint8Array(2048);
  const emit = (side: TcpSide, segment: ConversationSegment): void => {
    const flow = flows[side];
    bytes.set(random.bytes(segment.payloadBytes), tcpHeaderBytes(flow, segment));
    const length = writeTcpFrame(bytes, 0, flow, segment, segment.payloadBytes);
    frames.push(bytes.slice(0, length));
  };
  const send = (side: TcpSide, size: number): void => {
    for (let left = size; left > 0; ) {
      const segment = tcp.data(side, left);
      emit(side, segment);
      left -= segment.payloadBytes;
    }
  };
  emit("client", tcp.syn());
  emit("upstream", tcp.synAck());
  emit("client", tcp.ack());
  send("client", 101);
  send("upstream", 5000);
  send("client", 1);
  emit("client", tcp.fin("client"));
  send("upstream", 77);
  emit("upstream", tcp.fin("upstream"));
  return frames;
}

needing("tcpdump")("tcpdump finds every checksum of synthetic UDP right", () => {
  const frames = datagrams();
  const text = withCapture(frames, (file) => output("tcpdump", "-nnvvr", file));
  expect(text.match(/\[udp sum ok\]/g)?.length).toBe(frames.length);
  expect(text).not.toMatch(/bad|incorrect|wrong|truncated/i);
  expect(text).toContain("ttl 64");
  expect(text).toContain("flags [DF]");
});

for (const family of [4, 6] as const)
  needing("tcpdump")(`tcpdump follows a synthetic TCP conversation over IPv${family}`, () => {
    const frames = conversation(family);
    const text = withCapture(frames, (file) => output("tcpdump", "-nnvvr", file));
    expect(text.match(/\(correct\)/g)?.length).toBe(frames.length);
    expect(text).not.toMatch(/bad|incorrect|wrong|truncated/i);
    const size = family === 4 ? 1460 : 1440;
    const rest = 5000 - 3 * size;
    // Relative numbers from the handshake on, as tcpdump prints them.
    const lines = [...text.matchAll(/Flags \[([^\]]+)\].*?length (\d+)/g)].map((match) => {
      const sequence = /, seq ([\d:]+)/.exec(match[0])?.[1];
      const acknowledgement = /, ack (\d+)/.exec(match[0])?.[1];
      return [match[1], sequence, acknowledgement, match[2]].join(" ");
    });
    expect(lines).toEqual([
      "S 4294967246  0",
      "S. 4294964296 4294967247 0",
      ". 1 1 0",
      "P. 1:102 1 101",
      `. 1:${1 + size} 102 ${size}`,
      `. ${1 + size}:${1 + 2 * size} 102 ${size}`,
      `. ${1 + 2 * size}:${1 + 3 * size} 102 ${size}`,
      `P. ${1 + 3 * size}:5001 102 ${rest}`,
      "P. 102:103 5001 1",
      "F. 103 5001 0",
      "P. 5001:5078 104 77",
      "F. 5078 104 0",
    ]);
    expect(text).toContain(`[mss ${size}]`);
  });

needing("tshark")("tshark sees nothing wrong with synthetic conversations", () => {
  const frames = [...datagrams(), ...conversation(4), ...conversation(6)];
  const text = withCapture(frames, (file) =>
    output(
      "tshark",
      ...["-n", "-r", file],
      ...["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"],
      ...["-o", "tcp.check_checksum:TRUE", "-T", "fields"],
      ...["-e", "ip.checksum.status", "-e", "udp.checksum.status", "-e", "tcp.checksum.status"],
      ...["-e", "tcp.analysis.flags", "-e", "_ws.malformed"],
    ),
  );
  const lines = text.trimEnd().split("\n");
  expect(lines.length).toBe(frames.length);
  for (const line of lines) {
    const [ip, udp, tcp, analysis, malformed] = line.split("\t");
    // 1 is "good"; IPv6 has no header checksum.
    expect(["1", ""]).toContain(ip);
    expect([udp, tcp]).toContain("1");
    expect([analysis ?? "", malformed ?? ""]).toEqual(["", ""]);
  }
});

/** Whole Ethernet frames of all captures in the corpora. */
function realFrames(root: string): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (const name of (readdirSync(root, { recursive: true }) as string[]).sort()) {
    const file = join(root, name);
    if (!/\.pcap(ng)?$/.test(name) || !statSync(file).isFile()) continue;
    for (const packet of readCaptureBytes(readFileSync(file), name))
      if (packet.linkType === 1 && packet.data.length === packet.originalLength)
        frames.push(packet.data);
  }
  return frames;
}

const captures = corpus("pcap");
const dissected = needing("tshark");

if (captures === undefined)
  test.skip("FrameView reads real frames as tshark does [skipped: needs the corpora]", () => {});
else
  dissected("FrameView reads real frames as tshark does", { timeout: 60_000 }, () => {
    const frames = realFrames(captures);
    expect(frames.length).toBeGreaterThan(3000);
    const fields = ["ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "udp.srcport", "udp.dstport"];
    fields.push("udp.length", "tcp.srcport", "tcp.dstport", "tcp.len", "tcp.flags");
    const text = withCapture(frames, (file) =>
      output(
        "tshark",
        ...["-n", "-r", file, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"],
        ...["-T", "fields", "-E", "occurrence=f", "-e", "frame.protocols"],
        ...fields.flatMap((field) => ["-e", field]),
      ),
    );
    const lines = text.split("\n");
    const view = new FrameView();
    const seen = { refused: 0, ip: 0, ipv6: 0, udp: 0, tcp: 0, none: 0, fragment: 0 };
    frames.forEach((frame, i) => {
      const [protocols = "", ...values] = lines[i]!.split("\t");
      const [ip4s, ip6s, ip4d, ip6d, udpFrom, udpTo, udpLength, tcpFrom, tcpTo, tcpLength, flags] =
        values;
      const title = `frame ${i + 1}: ${protocols}`;
      if (view.bind(frame, 0, frame.length) !== undefined) {
        seen.refused++;
        return;
      }
      const layers = protocols
        .split(":")
        .filter((layer) => !/^(eth|ethertype|ieee8021ad|vlan|ah|ipv6\..*)$/.test(layer));
      const network = { 0: "none", 4: "ip", 6: "ipv6" }[view.version] as "none" | "ip" | "ipv6";
      seen[network]++;
      const theirs = layers[0] === "ip" || layers[0] === "ipv6" ? layers[0] : "none";
      // Some dissectors go through headers that are opaque to a frame view: MACsec, MPLS.
      if (network === "none" || protocols.startsWith("eth:ethertype:macsec")) return;
      expect(network, title).toBe(theirs);
      expect(view.sourceAddress(), title).toBe(view.version === 4 ? ip4s : ip6s);
      expect(view.destinationAddress(), title).toBe(view.version === 4 ? ip4d : ip6d);
      if (view.isFragment) {
        seen.fragment++;
        return;
      }
      const transport = view.protocol === 17 ? "udp" : view.protocol === 6 ? "tcp" : undefined;
      if (transport === undefined) {
        expect(layers[1] === "udp" || layers[1] === "tcp", title).toBe(false);
        return;
      }
      seen[transport]++;
      expect(layers[1], title).toBe(transport);
      const isUdp = transport === "udp";
      const ports = isUdp ? [udpFrom, udpTo] : [tcpFrom, tcpTo];
      expect([view.sourcePort, view.destinationPort], title).toEqual(ports.map(Number));
      expect(view.payloadLength, title).toBe(isUdp ? Number(udpLength) - 8 : Number(tcpLength));
      if (!isUdp) expect(view.tcpFlags, title).toBe(Number(flags) & 0xff);
    });
    // Captures of attacks and of offloads: jumbo lengths of 0, cut headers, wrong versions.
    expect(seen.refused).toBeLessThan(60);
    for (const [kind, count] of Object.entries(seen))
      expect([kind, count > 10]).toEqual([kind, true]);
  });
