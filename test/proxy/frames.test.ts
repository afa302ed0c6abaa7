import { randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import {
  cleanUp,
  startRig,
  TcpClient,
  tcpEcho,
  udpSocket,
  udpUpstream,
  until,
  xdp,
} from "./rig.ts";

afterEach(cleanUp);

/** The Internet checksum over 16-bit words, bit by bit as RFC 1071 §1 has it: right if it is 0. */
function internetSum(words: readonly number[]): number {
  let sum = 0;
  for (const word of words) {
    sum += word;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

function wordsOf(bytes: Uint8Array): number[] {
  const padded = bytes.length % 2 === 0 ? bytes : Uint8Array.from([...bytes, 0]);
  const view = new DataView(padded.buffer, padded.byteOffset, padded.length);
  return Array.from({ length: padded.length / 2 }, (_, i) => view.getUint16(i * 2));
}

/** What a frame says, read afresh from its bytes. Throws where a checksum or a length is wrong. */
function read(frame: Uint8Array): {
  source: string;
  destination: string;
  sequence: number;
  acknowledgement: number;
  flags: number;
  options: number[];
  payload: Buffer;
} {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const four = view.getUint16(12) === 0x0800;
  const network = frame.subarray(14, four ? 34 : 54);
  const transport = frame.subarray(four ? 34 : 54);
  const protocol = four ? network[9]! : network[6]!;
  const length = four ? view.getUint16(16) - 20 : view.getUint16(18);
  if (length !== transport.length) throw new Error(`length ${length} of ${transport.length}`);
  if (four && internetSum(wordsOf(network)) !== 0) throw new Error("IPv4 checksum");
  const addresses = four ? network.subarray(12) : network.subarray(8);
  const pseudo = [...wordsOf(addresses), protocol, length];
  if (internetSum([...pseudo, ...wordsOf(transport)]) !== 0) throw new Error("transport checksum");
  const half = addresses.length / 2;
  const header = protocol === 17 ? 8 : (transport[12]! >> 4) * 4;
  const ports = new DataView(transport.buffer, transport.byteOffset);
  if (protocol === 17 && ports.getUint16(4) !== length) throw new Error("UDP length");
  return {
    source: `${addresses.subarray(0, half).join(".")}:${ports.getUint16(0)}`,
    destination: `${addresses.subarray(half).join(".")}:${ports.getUint16(2)}`,
    sequence: protocol === 6 ? ports.getUint32(4) : 0,
    acknowledgement: protocol === 6 ? ports.getUint32(8) : 0,
    flags: protocol === 6 ? transport[13]! : 0,
    options: [...transport.subarray(protocol === 6 ? 20 : 8, header)],
    payload: Buffer.from(transport.subarray(header)),
  };
}

const loopbacks = [
  { host: "127.0.0.1", text: "127.0.0.1", mss: 1460 },
  { host: "::1", text: "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1", mss: 1440 },
];

for (const { host, text } of loopbacks)
  test(`UDP frames on ${host} have the true addresses, lengths and checksums`, async () => {
    const upstream = await udpUpstream("", host);
    const frames: { direction: string; frame: Uint8Array }[] = [];
    const keep = (direction: string) =>
      xdp((frame) => {
        frames.push({ direction, frame: frame.bytes });
        return 2;
      });
    const rig = await startRig("udp", {
      plan: { listen: { host, port: 0 } },
      upstreams: [upstream.address],
      ingress: [keep("in")],
      egress: [keep("out")],
    });
    const client = await udpSocket(host);
    for (const bytes of [0, 1, 2, 63, 1400, 9001]) {
      const payload = randomBytes(bytes);
      client.send(payload, rig.address);
      await client.next();
      const [asked, answered] = frames.splice(0);
      const ends = [`${text}:${client.port}`, `${text}:${rig.address.port}`];
      expect(asked?.direction).toBe("in");
      expect(read(asked!.frame)).toMatchObject({ source: ends[0], destination: ends[1], payload });
      expect(answered?.direction).toBe("out");
      expect(read(answered!.frame)).toMatchObject({
        source: ends[1],
        destination: ends[0],
        payload,
      });
      expect(asked!.frame[0]! & 3).toBe(2);
      expect([...asked!.frame.subarray(0, 6)]).toEqual([...answered!.frame.subarray(6, 12)]);
    }
  });

for (const { host, text, mss } of loopbacks)
  test(`TCP frames on ${host} are what a wire shows: handshake, contiguous segments, FINs`, async () => {
    const upstream = await tcpEcho(host);
    const frames: { client: boolean; frame: Uint8Array }[] = [];
    const keep = (client: boolean) =>
      xdp((frame) => {
        frames.push({ client, frame: frame.bytes });
        return 2;
      });
    const rig = await startRig("tcp", {
      plan: { listen: { host, port: 0 } },
      upstreams: [upstream],
      ingress: [keep(true)],
      egress: [keep(false)],
    });
    const client = new TcpClient(rig.address);
    const content = randomBytes(100_000);
    client.write(content);
    await client.bytes(content.length);
    const clientPort = client.socket.localPort;
    client.socket.end();
    await client.over;
    await until(() => rig.counters.readCell(0, "sessions") === 0);

    const segments = frames.map(({ client: isClient, frame }) => ({ isClient, ...read(frame) }));
    const [syn, synAck, ack, ...rest] = segments;
    const mssOption = [2, 4, mss >> 8, mss & 0xff];
    expect(syn).toMatchObject({
      isClient: true,
      source: `${text}:${clientPort}`,
      destination: `${text}:${rig.address.port}`,
      flags: 0x02,
      acknowledgement: 0,
      options: mssOption,
    });
    expect(synAck).toMatchObject({
      isClient: false,
      source: `${text}:${rig.address.port}`,
      destination: `${text}:${clientPort}`,
      flags: 0x12,
      acknowledgement: (syn!.sequence + 1) >>> 0,
      options: mssOption,
    });
    expect(ack).toMatchObject({
      isClient: true,
      flags: 0x10,
      sequence: (syn!.sequence + 1) >>> 0,
      acknowledgement: (synAck!.sequence + 1) >>> 0,
      options: [],
    });
    const next = { client: ack!.sequence, upstream: ack!.acknowledgement };
    const streams = { client: [] as Buffer[], upstream: [] as Buffer[] };
    for (const segment of rest) {
      const [own, peer] = segment.isClient
        ? (["client", "upstream"] as const)
        : (["upstream", "client"] as const);
      expect(segment.sequence).toBe(next[own]);
      expect(segment.acknowledgement).toBe(next[peer]);
      expect(segment.payload.length).toBeLessThanOrEqual(mss);
      expect(segment.options).toEqual([]);
      const fin = (segment.flags & 1) === 1;
      // The handshake's is the only pure ACK.
      expect(segment.payload.length > 0 || fin).toBe(true);
      streams[own].push(segment.payload);
      next[own] = (next[own] + segment.payload.length + (fin ? 1 : 0)) >>> 0;
    }
    expect(Buffer.concat(streams.client).equals(content)).toBe(true);
    expect(Buffer.concat(streams.upstream).equals(content)).toBe(true);
    expect(rest.filter((segment) => (segment.flags & 1) === 1).length).toBe(2);
  });
