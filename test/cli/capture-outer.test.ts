/** What `weir capture` tells of both packets of a tunnel, in lines, JSON and files. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import { Flow } from "../../src/packet/flow.ts";
import { writeUdpFrame } from "../../src/packet/synthesis.ts";
import { readCaptureBytes } from "../../src/pcap/read-capture.ts";
import { needing } from "../support/needing.ts";
import {
  command,
  freePort,
  type Running,
  start,
  startWeir,
  temporaryFolder,
} from "../support/processes.ts";
import { inProcess } from "./in-process.ts";

const weirCommand = fileURLToPath(new URL("../../bin/weir.js", import.meta.url));
const place = temporaryFolder();
const admin = `unix:${place.path}/admin.sock`;
const flow = new Flow(
  "udp",
  { address: "10.0.0.1", port: 1000 },
  { address: "10.0.0.2", port: 40_000 },
);
/** With the group policy bit, of network 42. */
const vxlan = "8800000100002a00";
/** AWS's options, and one of another class; IPv4 follows. */
const geneve = `0b000800 00000700 01080102 0000000000000abc 01080202 00000000000000de
  01080301 01020304 01020500 01020601 cafe0000`.replace(/\s/g, "");
let weir: Running;
let client: Socket;
let ports: { vxlan: number; geneve: number; own: number };

beforeAll(async () => {
  client = createSocket("udp4").bind(0, "127.0.0.1");
  await once(client, "listening");
  ports = { vxlan: await freePort(), geneve: await freePort(), own: client.address().port };
  weir = await startWeir(
    place,
    `version: 1
admin: { listen: "${admin}" }
metrics: { listen: off }
filters:
  fw: { expression: "greater 0" }
listeners:
  - { name: dc, protocol: vxlan, listen: "127.0.0.1:${ports.vxlan}", vni: 42, ingress: [fw],
      peers: { left: "127.0.0.1:${ports.own}", right: "127.0.0.1:9" } }
  - { name: lb, protocol: geneve, mode: mirror, listen: "127.0.0.1:${ports.geneve}", ingress: [fw] }
`,
  );
});
afterAll(async () => {
  client.close();
  await weir.stop();
  place.remove();
});

function frameOf(payloadBytes: number): Uint8Array {
  const frame = new Uint8Array(flow.headerBytes + payloadBytes).fill(0x78);
  writeUdpFrame(frame, 0, flow, payloadBytes);
  return frame;
}

/** Runs a capture over a frame by VXLAN, one that is too long, one of another network, one by GENEVE. */
async function captured(...options: string[]): Promise<{ lines: string[] }> {
  const capture = start(process.execPath, [
    weirCommand,
    ...["capture", "-c", "4", "--admin", admin, ...options],
  ]);
  await capture.printed(/capturing/);
  const short = toHex(frameOf(10));
  for (const [datagram, port] of [
    [vxlan + short, ports.vxlan],
    [vxlan + toHex(frameOf(1460)), ports.vxlan],
    [`0800000000000700${short}`, ports.vxlan],
    [geneve + short.slice(28), ports.geneve],
  ] as const)
    await new Promise((sent) => client.send(parseHex(datagram)!, port, "127.0.0.1", sent));
  expect(await capture.ended).toEqual({ code: 0, signal: null });
  const lines = capture.output().split("\n");
  return { lines: lines.filter((line) => /^[{\d]/.test(line) && !/packets? captured/.test(line)) };
}

test("lines show the tunnel's header, both ends, options by name, and what came after the verdict", async () => {
  const { lines } = await captured();
  const { own } = ports;
  const from = `127.0.0.1:${own} > 127.0.0.1`;
  const around = (text: string) => lines.map((line) => line.includes(`[${text}]`)).indexOf(true);
  expect(around(`vxlan vni 42 flags 0x88, left, ${from}:${ports.vxlan}`)).toBe(0);
  expect(around(`vxlan vni 7 flags 0x08, left, ${from}:${ports.vxlan}`)).toBe(2);
  expect(
    around(
      `geneve vni 7 protocol 0x0800, any, ${from}:${ports.geneve}, endpoint id 0000000000000abc, attachment id 00000000000000de, flow cookie 01020304, option 0x0102/0x05 empty, option 0x0102/0x06 cafe0000`,
    ),
  ).toBe(3);
  expect(lines.map((line) => /(?:pass|drop)\b[^\]]*$/.exec(line)![0])).toEqual([
    "pass by fw",
    "pass by fw, then dropped: mtu_exceeded",
    "drop (tunnel_unknown_vni)",
    "pass by fw",
  ]);
});

test("JSON has the header in its parts and as it came", async () => {
  const rows = (await captured("--json")).lines.map((line) => JSON.parse(line));
  expect(rows[0].tunnel).toEqual({
    protocol: "vxlan",
    peer: "left",
    vni: 42,
    outer: `127.0.0.1:${ports.own}`,
    own: `127.0.0.1:${ports.vxlan}`,
    flags: 0x88,
    ether_type: 0x6558,
    header: vxlan,
  });
  expect(rows[1]).toMatchObject({ verdict: "pass", filter: "fw", reason: "mtu_exceeded" });
  expect(rows[2]).toMatchObject({ verdict: "drop", reason: "tunnel_unknown_vni" });
  expect(rows[3].tunnel).toMatchObject({
    ether_type: 0x0800,
    options: [
      { class: 0x0108, type: 1, name: "endpoint id", data: "0000000000000abc" },
      { class: 0x0108, type: 2, name: "attachment id", data: "00000000000000de" },
      { class: 0x0108, type: 3, name: "flow cookie", data: "01020304" },
      { class: 0x0102, type: 5, data: "" },
      { class: 0x0102, type: 6, data: "cafe0000" },
    ],
    header: geneve,
  });
});

needing("tshark")("tshark reads the outer packets of -w --outer, and the inner ones", async () => {
  const file = `${place.path}/outer.pcapng`;
  await captured("-w", file, "--outer");
  const { vxlan: vxlanPort, geneve: genevePort, own } = ports;
  const fields =
    "ip.src udp.srcport udp.dstport udp.checksum.status vxlan.vni geneve.vni geneve.option.type ip.dst frame.len frame.comment _ws.malformed";
  const shown = await command("tshark", [
    ...["-r", file, "-T", "fields", "-E", "separator=;", "-o", "udp.check_checksum:TRUE"],
    ...["-d", `udp.port==${vxlanPort},vxlan`, "-d", `udp.port==${genevePort},geneve`],
    ...fields.split(" ").flatMap((field) => ["-e", field]),
  ]);
  const outer = 14 + 20 + 8;
  const ends = "127.0.0.1,10.0.0.1";
  const ours = "127.0.0.1,10.0.0.2";
  const line = (port: number, header: string, bytes: number) =>
    [ends, `${own},1000`, `${port},40000`, "3,1", header, ours, outer + bytes].join(";");
  const [first, second, third, fourth, ...more] = shown.stdout.trim().split("\n");
  expect(more).toEqual([]);
  expect(first).toMatch(`${line(vxlanPort, "42;;", 8 + 52)};weir: dc ingress, worker 0, outer`);
  expect(first).toMatch(/: pass by fw;$/);
  expect(second).toMatch(`${line(vxlanPort, "42;;", 8 + 1502)};`);
  expect(second).toMatch(/: pass by fw, then dropped: mtu_exceeded;$/);
  expect(third).toMatch(`${line(vxlanPort, "7;;", 8 + 52)};`);
  expect(fourth).toMatch(
    line(genevePort, ";0x000007;0x01,0x02,0x03,0x05,0x06", geneve.length / 2 + 38),
  );
});

test("explain takes no outer packet for a frame, and --outer without -w is refused", async () => {
  const file = `${place.path}/explained.pcapng`;
  await captured("-w", file, "--outer", "--snap-length", "60");
  const [, long] = [...readCaptureBytes(readFileSync(file), file)];
  // What was cut off is counted in all lengths.
  expect(long).toMatchObject({ originalLength: 42 + 8 + 1502 });
  expect(long!.data.length).toBe(42 + 8 + 60);
  expect(await inProcess(["explain", file, "--admin", admin])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("capture it without --outer"),
  });
  expect(await inProcess(["capture", "--outer", "--admin", admin])).toMatchObject({
    stderr: expect.stringContaining("-w FILE"),
    stdout: "",
  });
});
