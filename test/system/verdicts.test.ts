import { afterAll, expect } from "vitest";
import { cleanUp, type Inbox, TcpClient, tcpUpstream, udpSocket } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually } from "../support/processes.ts";
import { allSeries, buildProgram, type RunningWeir, runWeir } from "./truth-rig.ts";

/**
 * Every verdict and rewrite, in both directions, over UDP and TCP: what arrives where, and which
 * reason the metrics give for what does not. The filter does what a payload's first byte says.
 */
const test = needing("clang");
afterAll(cleanUp);

const host = "127.0.0.1";

/** Answers datagrams and TCP chunks on one port with `mark` and what it got. */
async function server(mark: string): Promise<number> {
  const answer = (data: Buffer) => Buffer.concat([Buffer.from(mark), data]);
  for (;;) {
    const { port } = await tcpUpstream((socket) => {
      socket.on("data", (data: Buffer) => socket.write(answer(data)));
      socket.on("end", () => socket.end());
    });
    const inbox: Inbox | undefined = await udpSocket(host, port).catch(() => undefined);
    if (inbox === undefined) continue;
    inbox.socket.on("message", (data, from) =>
      inbox.socket.send(answer(data), from.port, from.address),
    );
    return port;
  }
}

const synCommands = [..."PDATVROUdfspNFXLH"];
const synAckCommands = [..."PDATRUs"];

let running: Promise<RunningWeir> | undefined;

/** One Weir for all cases; the first that runs starts it. */
function weir(): Promise<RunningWeir> {
  running ??= startAll();
  return running;
}

async function startAll(): Promise<RunningWeir> {
  const [app, plain, other, allowed, forbidden] = [
    await server("app:"),
    await server(""),
    await server("other:"),
    await server("allowed:"),
    await server("forbidden:"),
  ];
  const filter = (name: string, command: string) => `
  ${name}:
    object: ${buildProgram("rewrite")}
    program: xdp_command
    globals:
      allowed_address: 127.0.0.1
      allowed_port: ${allowed}
      forbidden_address: 127.0.0.1
      forbidden_port: ${forbidden}
      on_syn: ${command.charCodeAt(0)}`;
  const listener = (name: string, protocol: string, upstream: string, more: string) => `
  - { name: ${name}, protocol: ${protocol}, listen: "127.0.0.1:0", upstream: ${upstream}, allowDestinations: ["127.0.0.0/8:${allowed}"], ${more} }`;
  return runWeir(`
upstreams:
  app: { addresses: ["127.0.0.1:${app}"] }
  plain: { addresses: ["127.0.0.1:${plain}"] }
  other: { addresses: ["127.0.0.1:${other}"] }
ports: { 2: other, 3: app }
filters:${filter("command", "P")}${synCommands.map((command, i) => filter(`syn-${i}`, command)).join("")}
  cut: { object: ${buildProgram("rewrite")}, program: socket_cut }
listeners:${[
    listener("udp-ingress", "udp", "app", "ingress: [command]"),
    listener("udp-egress", "udp", "plain", "egress: [command]"),
    listener("udp-cut-ingress", "udp", "app", "ingress: [cut]"),
    listener("udp-cut-egress", "udp", "plain", "egress: [cut]"),
    listener("tcp-ingress", "tcp", "app", "ingress: [command]"),
    listener("tcp-egress", "tcp", "plain", "egress: [command]"),
    listener("tcp-discard-ingress", "tcp", "app", "ingress: [command], onSegmentDrop: discard"),
    listener("tcp-discard-egress", "tcp", "plain", "egress: [command], onSegmentDrop: discard"),
    ...synCommands.map((command, i) =>
      listener(`syn-${command.charCodeAt(0)}`, "tcp", "app", `ingress: [syn-${i}]`),
    ),
    ...synAckCommands.map((command) =>
      listener(
        `syn-ack-${command.charCodeAt(0)}`,
        "tcp",
        "app",
        `egress: [syn-${synCommands.indexOf(command)}]`,
      ),
    ),
  ].join("")}
`);
}

type Direction = "ingress" | "egress";

/** What of a listener's one direction is counted so far: packets by verdict, drops by reason. */
async function counted(listener: string, direction: Direction): Promise<Record<string, number>> {
  const text = await (await weir()).metrics();
  const found: Record<string, number> = {};
  for (const name of ["weir_packets_total", "weir_drops_total"])
    for (const [labels, value] of Object.entries(allSeries(text, name))) {
      const [of, way, what] = labels.split(" ");
      if (of === listener && way === direction && value > 0) found[what!] = value;
    }
  return found;
}

function difference(
  before: Record<string, number>,
  after: Record<string, number>,
): Record<string, number> {
  const entries = Object.entries(after).map(([key, value]) => [key, value - (before[key] ?? 0)]);
  return Object.fromEntries(entries.filter(([, value]) => value !== 0));
}

const dropped = (reason: string) => ({ drop: 1, [reason]: 1 });
const aborted = { aborted: 1, filter_aborted: 1 };

/** `reply` is what the client gets; undefined: nothing. `counts` is besides a packet that passed. */
interface Case {
  readonly does: string;
  readonly payload: string;
  readonly reply?: string;
  readonly counts: Record<string, number>;
}

/** What can come of any frame, wherever it is judged. */
const refusals: readonly Case[] = [
  { does: "XDP_DROP", payload: "D.", counts: dropped("filter_drop") },
  { does: "XDP_ABORTED", payload: "A.", counts: aborted },
  { does: "a return value that is no verdict", payload: "V.", counts: aborted },
  { does: "another source address", payload: "s.", counts: dropped("source_not_allowed") },
  { does: "another source port", payload: "p.", counts: dropped("source_not_allowed") },
  { does: "a frame that is not IP", payload: "N.", counts: dropped("not_routable") },
  { does: "a fragment", payload: "F.", counts: dropped("not_routable") },
  { does: "another IP protocol", payload: "X.", counts: dropped("not_routable") },
  { does: "an IP length beyond the frame", payload: "L.", counts: dropped("frame_bad_length") },
  { does: "an IP header that is too short", payload: "H.", counts: dropped("frame_bad_header") },
];

const cutOff: Case = {
  does: "a frame cut off behind Ethernet",
  payload: "Q.",
  counts: dropped("frame_truncated"),
};

/** On egress nothing but the client can be where a packet goes. */
const egressOnly: readonly Case[] = [
  { does: "XDP_TX", payload: "T.", counts: dropped("not_routable") },
  { does: "a redirect", payload: "R.", counts: dropped("not_routable") },
  { does: "a redirect to no port", payload: "U.", counts: dropped("not_routable") },
  { does: "another destination", payload: "d.", reply: "d.", counts: { pass: 1 } },
  { does: "a forbidden destination", payload: "f.", reply: "f.", counts: { pass: 1 } },
];

const resized = (mark: string): readonly Case[] => [
  { does: "a longer tail", payload: "+12", reply: `${mark}+12++++++++`, counts: { pass: 1 } },
  { does: "a longer head", payload: "-12", reply: `${mark}---------12`, counts: { pass: 1 } },
  { does: "a shorter tail", payload: ">12", reply: `${mark}>1`, counts: { pass: 1 } },
  { does: "a shorter head", payload: "<12", reply: `${mark}12`, counts: { pass: 1 } },
  { does: "a payload cut to nothing", payload: ">", reply: mark, counts: { pass: 1 } },
];

const udpCases: Record<string, readonly Case[]> = {
  ingress: [
    { does: "XDP_PASS", payload: "P.", reply: "app:P.", counts: { pass: 1 } },
    { does: "XDP_TX", payload: "T.", reply: "T.", counts: { tx: 1 } },
    { does: "a redirect", payload: "R.", reply: "other:R.", counts: { redirect: 1 } },
    { does: "a redirect to its upstream", payload: "O.", reply: "app:O.", counts: { redirect: 1 } },
    { does: "a redirect to no port", payload: "U.", counts: dropped("redirect_unknown_port") },
    { does: "an allowed destination", payload: "d.", reply: "allowed:d.", counts: { pass: 1 } },
    { does: "a forbidden destination", payload: "f.", counts: dropped("destination_not_allowed") },
    ...refusals,
    cutOff,
    ...resized("app:"),
  ],
  egress: [
    { does: "XDP_PASS", payload: "P.", reply: "P.", counts: { pass: 1 } },
    ...egressOnly,
    ...refusals,
    cutOff,
    ...resized(""),
  ],
};

for (const direction of ["ingress", "egress"] as const)
  for (const { does, payload, reply, counts } of udpCases[direction]!)
    test(`UDP ${direction}: ${does} is ${outcome(reply, counts)}`, async () => {
      const listener = `udp-${direction}`;
      const address = { host, port: (await weir()).port(listener) };
      const before = await counted(listener, direction);
      const client = await udpSocket();
      client.send(payload, address);
      if (reply !== undefined) expect(await client.text()).toBe(reply);
      // What was sent before a packet that came back has met its fate.
      client.send("Plast", address);
      expect(await client.text()).toMatch(/Plast$/);
      expect(client.received).toBe(reply === undefined ? 1 : 2);
      const after = await counted(listener, direction);
      const { pass = 0, ...rest } = difference(before, after);
      expect({ ...rest, ...(pass > 1 ? { pass: pass - 1 } : {}) }).toEqual(counts);
    });

for (const [direction, mark] of [
  ["ingress", "app:"],
  ["egress", ""],
] as const)
  test(`UDP ${direction}: a socket filter cuts the payload to what it keeps, and drops at 0`, async () => {
    const listener = `udp-cut-${direction}`;
    const address = { host, port: (await weir()).port(listener) };
    const client = await udpSocket();
    client.send("x".repeat(59), address);
    for (const payload of ["1234567", "123", ""]) {
      client.send(payload, address);
      const cut = payload.slice(0, 4);
      expect(await client.text()).toBe(`${mark}${cut}`);
    }
    expect(client.received).toBe(3);
    expect(await counted(listener, direction)).toEqual({ pass: 3, drop: 1, filter_drop: 1 });
  });

const tcpCases: Record<string, readonly Case[]> = {
  ingress: [
    { does: "XDP_PASS", payload: "P.", reply: "app:P.", counts: {} },
    { does: "XDP_TX", payload: "T.", reply: "T.", counts: { tx: 1 } },
    { does: "a redirect elsewhere", payload: "R.", counts: dropped("redirect_midstream") },
    { does: "a redirect to its upstream", payload: "O.", reply: "app:O.", counts: { redirect: 1 } },
    { does: "a redirect to no port", payload: "U.", counts: dropped("redirect_unknown_port") },
    { does: "an allowed destination", payload: "d.", counts: dropped("redirect_midstream") },
    { does: "a forbidden destination", payload: "f.", counts: dropped("destination_not_allowed") },
    ...refusals,
    cutOff,
  ],
  egress: [
    { does: "XDP_PASS", payload: "P.", reply: "P.", counts: {} },
    ...egressOnly.map(({ counts, ...rest }) => ({
      ...rest,
      counts: rest.reply === undefined ? counts : {},
    })),
    ...refusals,
    cutOff,
  ],
};

/** Besides handshake and end, which pass. */
async function judged(listener: string, direction: Direction, before: Record<string, number>) {
  const { pass: _, ...rest } = difference(before, await counted(listener, direction));
  return rest;
}

for (const direction of ["ingress", "egress"] as const)
  for (const { does, payload, reply, counts } of tcpCases[direction]!) {
    test(`TCP ${direction}: ${does} in data is ${reply === undefined ? `a reset, ${outcome(reply, counts)}` : outcome(reply, counts)}`, async () => {
      const listener = `tcp-${direction}`;
      const before = await counted(listener, direction);
      const client = new TcpClient({ host, port: (await weir()).port(listener) });
      client.write(payload);
      if (reply === undefined) expect(await client.over).toBe("ECONNRESET");
      else expect(await client.text(reply.length)).toBe(reply);
      expect(await judged(listener, direction, before)).toEqual(counts);
    });

    // What breaks a connection whatever is configured has no bytes to leave out.
    if (reply === undefined && !("redirect_midstream" in counts))
      test(`TCP ${direction}: ${does} in data leaves its bytes out where segments are discarded`, async () => {
        const listener = `tcp-discard-${direction}`;
        const before = await counted(listener, direction);
        const client = new TcpClient({ host, port: (await weir()).port(listener) });
        client.write(payload);
        const gone = async () =>
          Object.keys(await judged(listener, direction, before)).length > 0 ? true : undefined;
        await eventually(gone, "the segment's verdict");
        client.write("Plast");
        const last = direction === "ingress" ? "app:Plast" : "Plast";
        expect(await client.text(last.length)).toBe(last);
        expect(await judged(listener, direction, before)).toEqual(counts);
      });
  }

const synCases: readonly Case[] = [
  { does: "XDP_PASS", payload: "P", reply: "app:hello", counts: {} },
  { does: "a redirect", payload: "R", reply: "other:hello", counts: { redirect: 1 } },
  { does: "a redirect to its upstream", payload: "O", reply: "app:hello", counts: { redirect: 1 } },
  { does: "an allowed destination", payload: "d", reply: "allowed:hello", counts: {} },
  { does: "a forbidden destination", payload: "f", counts: dropped("destination_not_allowed") },
  { does: "a redirect to no port", payload: "U", counts: dropped("redirect_unknown_port") },
  { does: "XDP_TX", payload: "T", counts: dropped("not_routable") },
  ...refusals.map((one) => ({ ...one, payload: one.payload[0]! })),
];

for (const { does, payload: command, reply, counts } of synCases)
  test(`TCP SYN: ${does} is ${outcome(reply, counts)}`, () =>
    expectHandshake(`syn-${command.charCodeAt(0)}`, "ingress", reply, counts));

for (const { does, command, reply, counts } of [
  { does: "XDP_PASS", command: "P", reply: "app:hello", counts: {} },
  { does: "XDP_DROP", command: "D", counts: dropped("filter_drop") },
  { does: "XDP_ABORTED", command: "A", counts: aborted },
  { does: "XDP_TX", command: "T", counts: dropped("not_routable") },
  { does: "a redirect", command: "R", counts: dropped("not_routable") },
  { does: "a redirect to no port", command: "U", counts: dropped("not_routable") },
  { does: "another source address", command: "s", counts: dropped("source_not_allowed") },
])
  test(`TCP SYN-ACK: ${does} is ${outcome(reply, counts)}`, () =>
    expectHandshake(`syn-ack-${command.charCodeAt(0)}`, "egress", reply, counts));

async function expectHandshake(
  listener: string,
  direction: Direction,
  reply: string | undefined,
  counts: Record<string, number>,
): Promise<void> {
  const before = await counted(listener, direction);
  const client = new TcpClient({ host, port: (await weir()).port(listener) });
  client.write("hello");
  if (reply === undefined) expect(await client.over).toMatch(/ECONNRESET|EPIPE/);
  else expect(await client.text(reply.length)).toBe(reply);
  expect(await judged(listener, direction, before)).toEqual(counts);
}

function outcome(reply: string | undefined, counts: Record<string, number>): string {
  const reason = Object.keys(counts).find((key) => key !== "drop" && key !== "aborted");
  if (reply === undefined) return `dropped as ${reason}`;
  return `carried out as ${JSON.stringify(reply)}`;
}
