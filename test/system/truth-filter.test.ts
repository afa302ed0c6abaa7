import { expect } from "vitest";
import { Flow } from "../../src/packet/flow.ts";
import { TcpConversation } from "../../src/packet/tcp-conversation.ts";
import { type FilterBench, openObject, tcpFrame, udpFrame } from "../filters/filter-bench.ts";
import { expectKernelAccepts } from "../filters/kernel-load.ts";
import { needing } from "../support/needing.ts";
import { buildProgram, enumNames } from "./truth-rig.ts";

/** The truth filter must be able to fail: each lie it is there to find, told to it once. */
const test = needing("clang");

const client = "192.0.2.1:4000";
const listener = "198.51.100.1:53";

async function open(): Promise<FilterBench> {
  const mapped = (hex: string) => `hex:00000000000000000000ffff${hex}`;
  return openObject(buildProgram("truth"), {
    globals: {
      client_address: mapped("c0000201"),
      listener_address: mapped("c6336401"),
      client_port: 4000,
      listener_port: 53,
    },
  });
}

function wrong(filter: FilterBench): string[] {
  const names = enumNames("truth.h", "wrong");
  return Object.entries(filter.entries("wrong"))
    .filter(([, count]) => count !== 0)
    .map(([key]) => names[Number(key)]!.replace("wrong_", ""));
}

const toListener = (frame: Uint8Array, filter: FilterBench) =>
  filter.judge(frame, "xdp_truth_ingress");
const toClient = (frame: Uint8Array, filter: FilterBench) =>
  filter.judge(frame, "xdp_truth_egress");

/** Sets a byte, and mends the IPv4 header's checksum so that it alone is the lie. */
function withHeaderByte(at: number, value: number): Buffer {
  const frame = udpFrame(client, listener, "hello");
  frame[at] = value;
  frame.writeUInt16BE(0, 24);
  let sum = 0;
  for (let i = 14; i < 34; i += 2) sum += frame.readUInt16BE(i);
  sum = (sum & 0xffff) + (sum >> 16);
  frame.writeUInt16BE(~(sum + (sum >> 16)) & 0xffff, 24);
  return frame;
}

function changed(frame: Buffer, change: (frame: Buffer) => void): Buffer {
  change(frame);
  return frame;
}

const datagram = () => udpFrame(client, listener, "hello");

for (const { lie, frame, found } of [
  { lie: "nothing", frame: datagram(), found: [] },
  {
    lie: "a MAC of a vendor",
    frame: changed(datagram(), (f) => f.writeUInt8(0, 6)),
    found: ["mac_not_local"],
  },
  {
    lie: "a group's MAC",
    frame: changed(datagram(), (f) => f.writeUInt8(3, 0)),
    found: ["mac_not_local"],
  },
  {
    lie: "an EtherType of none",
    frame: changed(datagram(), (f) => f.writeUInt16BE(0x806, 12)),
    found: ["ethernet_type"],
  },
  { lie: "a frame without headers", frame: datagram().subarray(0, 30), found: ["length_of_frame"] },
  { lie: "a hop fewer", frame: withHeaderByte(22, 63), found: ["ip_ttl"] },
  { lie: "no DF", frame: withHeaderByte(20, 0), found: ["ip_fragment_bits"] },
  { lie: "a length that is not the frame's", frame: withHeaderByte(17, 99), found: ["ip_length"] },
  {
    lie: "a wrong IP checksum",
    frame: changed(datagram(), (f) => f.writeUInt8(f[24]! ^ 1, 24)),
    found: ["ip_checksum"],
  },
  {
    lie: "another payload than was summed",
    frame: changed(datagram(), (f) => f.writeUInt8(0x69, 42)),
    found: ["udp_checksum"],
  },
  {
    lie: "no UDP checksum",
    frame: changed(datagram(), (f) => f.writeUInt16BE(0, 40)),
    found: ["udp_checksum"],
  },
  {
    lie: "a datagram's length with Ethernet padding",
    frame: Buffer.concat([datagram(), Buffer.alloc(1)]),
    found: ["ip_length", "udp_length", "udp_checksum"],
  },
  {
    lie: "another client",
    frame: udpFrame("192.0.2.2:4000", listener, "hello"),
    found: ["source_address"],
  },
  {
    lie: "another client's port",
    frame: udpFrame("192.0.2.1:4001", listener, "hello"),
    found: ["source_port"],
  },
  {
    lie: "another listener",
    frame: udpFrame(client, "198.51.100.2:53", "hello"),
    found: ["destination_address"],
  },
  {
    lie: "another listener's port",
    frame: udpFrame(client, "198.51.100.1:54", "hello"),
    found: ["destination_port"],
  },
  {
    lie: "the other direction",
    frame: udpFrame(listener, client, "hello"),
    found: ["source_address", "destination_address", "source_port", "destination_port"],
  },
  {
    lie: "data before a handshake",
    frame: tcpFrame(client, listener, { window: 0xffff }, 5),
    found: ["tcp_order"],
  },
])
  test(`the truth filter finds in ${lie} ${found.join(", ") || "nothing wrong"}`, async () => {
    const filter = await open();
    expect(toListener(frame, filter)).toBe("pass");
    expect(wrong(filter)).toEqual(found);
  });

test("the truth filter finds a MAC that changes and an identification that does not run", async () => {
  const filter = await open();
  toListener(datagram(), filter);
  const other = datagram();
  other[11]! ^= 1;
  const [first] = [Buffer.from(datagram())];
  toListener(other, filter);
  expect(wrong(filter)).toContain("mac_changed");
  const again = await open();
  toListener(first!, again);
  toListener(first!, again);
  expect(wrong(again)).toEqual(["ip_identification"]);
});

/** A conversation as Weir makes it, told with one segment changed. */
function conversation(change: (step: string, frame: Buffer) => Buffer | undefined = (_, f) => f) {
  const at = (text: string) => ({ address: text.split(":")[0]!, port: Number(text.split(":")[1]) });
  const talk = new TcpConversation(4, 0xffff_fff0, 7);
  const flows = {
    client: new Flow("tcp", at(client), at(listener)),
    upstream: new Flow("tcp", at(listener), at(client)),
  };
  const steps = [
    { step: "syn", side: "client", segment: talk.syn(), bytes: 0 },
    { step: "syn_ack", side: "upstream", segment: talk.synAck(), bytes: 0 },
    { step: "ack", side: "client", segment: talk.ack(), bytes: 0 },
    { step: "question", side: "client", segment: talk.data("client", 1000), bytes: 1000 },
    { step: "answer", side: "upstream", segment: talk.data("upstream", 20), bytes: 20 },
    { step: "fin", side: "client", segment: talk.fin("client"), bytes: 0 },
    { step: "late_answer", side: "upstream", segment: talk.data("upstream", 30), bytes: 30 },
    { step: "last_fin", side: "upstream", segment: talk.fin("upstream"), bytes: 0 },
  ] as const;
  return steps.flatMap(({ step, side, segment, bytes }) => {
    const told = change(step, tcpFrame(client, listener, segment, bytes, flows[side]));
    return told === undefined ? [] : [{ side, frame: told }];
  });
}

/** A change to a TCP field that leaves the checksum right. */
function field(wanted: string, at: number, from: number, to: number) {
  return (step: string, frame: Buffer): Buffer => {
    if (step !== wanted) return frame;
    expect(frame.readUInt16BE(at)).toBe(from);
    frame.writeUInt16BE(to, at);
    const sum = (~frame.readUInt16BE(50) & 0xffff) + (~from & 0xffff) + to;
    const folded = (sum & 0xffff) + (sum >> 16);
    frame.writeUInt16BE(~((folded & 0xffff) + (folded >> 16)) & 0xffff, 50);
    return frame;
  };
}

for (const { lie, change, found } of [
  { lie: "a whole conversation", change: undefined, found: [] },
  {
    lie: "a lost segment",
    change: (step: string, f: Buffer) => (step === "answer" ? undefined : f),
    found: ["ip_identification", "tcp_sequence", "tcp_acknowledgement"],
  },
  {
    lie: "a sequence number one too high",
    change: field("late_answer", 40, 28, 29),
    found: ["tcp_sequence"],
  },
  {
    lie: "an acknowledgement of too much",
    change: field("answer", 44, 985, 986),
    found: ["tcp_acknowledgement"],
  },
  {
    lie: "a window that is not the one announced",
    change: field("question", 48, 0xffff, 0xfffe),
    found: ["tcp_window"],
  },
  { lie: "another MSS", change: field("syn", 56, 1460, 1400), found: ["tcp_option"] },
  {
    lie: "flags of no segment of TCP",
    change: field("answer", 46, 0x5018, 0x5038),
    found: ["tcp_flags"],
  },
  { lie: "a reserved bit", change: field("answer", 46, 0x5018, 0x5118), found: ["tcp_header"] },
  { lie: "a FIN with data", change: field("question", 46, 0x5018, 0x5011), found: ["tcp_payload"] },
  {
    lie: "a wrong TCP checksum",
    change: (step: string, f: Buffer) =>
      step === "answer" ? changed(f, (g) => g.writeUInt8(g[60]! ^ 4, 60)) : f,
    found: ["tcp_checksum"],
  },
] as {
  lie: string;
  change?: (step: string, frame: Buffer) => Buffer | undefined;
  found: string[];
}[])
  test(`the truth filter finds in ${lie} ${found.join(", ") || "nothing wrong"}`, async () => {
    const filter = await open();
    for (const { side, frame } of conversation(change))
      (side === "client" ? toListener : toClient)(frame, filter);
    // Where one is wrong, what follows is too: the first is what counts.
    expect(wrong(filter)).toEqual(expect.arrayContaining(found));
    if (found.length === 0) expect(wrong(filter)).toEqual([]);
    if (found.length === 0) expect(Object.keys(filter.entries("seen"))).toHaveLength(9);
  });

for (const name of ["truth", "rewrite", "fuzz"])
  needing(
    "clang",
    "bpftool",
    "root",
    "kernel bpf()",
  )(`the kernel's verifier accepts the programs of ${name}.c`, () =>
    expectKernelAccepts(buildProgram(name)),
  );
