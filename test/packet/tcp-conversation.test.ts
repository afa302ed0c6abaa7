import { expect, test } from "vitest";
import { tcpFlags } from "../../src/packet/tcp.ts";
import {
  type ConversationSegment,
  TcpConversation,
  type TcpSide,
} from "../../src/packet/tcp-conversation.ts";
import { Random } from "./random.ts";

const { fin, syn, rst, psh, ack } = tcpFlags;

function established(client = 1000, upstream = 5000): TcpConversation {
  const conversation = new TcpConversation(4, client, upstream);
  conversation.syn();
  conversation.synAck();
  conversation.ack();
  return conversation;
}

/** Flags, sequence and acknowledgement: what differs from segment to segment. */
function brief(segment: ConversationSegment): [number, number, number] {
  return [segment.flags, segment.sequence, segment.acknowledgement];
}

test("a whole conversation has the sequence numbers of a wire", () => {
  const tcp = new TcpConversation(4, 1000, 5000);
  expect(tcp.state).toBe("new");
  expect(tcp.syn()).toEqual({
    sequence: 1000,
    acknowledgement: 0,
    flags: syn,
    window: 65_535,
    maximumSegmentSize: 1460,
    payloadBytes: 0,
  });
  expect(tcp.state).toBe("syn-sent");
  expect(tcp.synAck()).toEqual({
    sequence: 5000,
    acknowledgement: 1001,
    flags: syn | ack,
    window: 65_535,
    maximumSegmentSize: 1460,
    payloadBytes: 0,
  });
  expect(tcp.state).toBe("syn-received");
  expect(brief(tcp.ack())).toEqual([ack, 1001, 5001]);
  expect(tcp.state).toBe("established");
  expect(brief(tcp.data("client", 100))).toEqual([ack | psh, 1001, 5001]);
  expect(brief(tcp.data("upstream", 50))).toEqual([ack | psh, 5001, 1101]);
  expect(brief(tcp.data("upstream", 50))).toEqual([ack | psh, 5051, 1101]);
  expect(brief(tcp.data("client", 1))).toEqual([ack | psh, 1101, 5101]);
  expect(brief(tcp.fin("client"))).toEqual([fin | ack, 1102, 5101]);
  expect(tcp.hasFinished("client")).toBe(true);
  expect(tcp.hasFinished("upstream")).toBe(false);
  expect(tcp.state).toBe("established");
  expect(brief(tcp.data("upstream", 7))).toEqual([ack | psh, 5101, 1103]);
  expect(brief(tcp.fin("upstream"))).toEqual([fin | ack, 5108, 1103]);
  expect(tcp.state).toBe("closed");
});

for (const [family, size] of [
  [4, 1460],
  [6, 1440],
] as const)
  test(`IPv${family} data is cut into segments of at most ${size} bytes, PSH on the last`, () => {
    const tcp = new TcpConversation(family, 0, 0);
    expect(tcp.syn().maximumSegmentSize).toBe(size);
    expect(tcp.synAck().maximumSegmentSize).toBe(size);
    expect(tcp.ack().maximumSegmentSize).toBeUndefined();
    let left = 2 * size + 10;
    const segments: [number, number, number][] = [];
    while (left > 0) {
      const segment = tcp.data("upstream", left);
      segments.push([segment.sequence, segment.payloadBytes, segment.flags]);
      left -= segment.payloadBytes;
    }
    expect(segments).toEqual([
      [1, size, ack],
      [1 + size, size, ack],
      [1 + 2 * size, 10, ack | psh],
    ]);
    expect(tcp.data("client", size).flags).toBe(ack | psh);
  });

test("sequence numbers wrap around at 2³²", () => {
  const tcp = established(0xffff_ffff, 0xffff_fff0);
  const request = tcp.data("client", 5);
  expect(brief(request)).toEqual([ack | psh, 0, 0xffff_fff1]);
  const answer = tcp.data("upstream", 20);
  expect(brief(answer)).toEqual([ack | psh, 0xffff_fff1, 5]);
  expect(brief(tcp.fin("upstream"))).toEqual([fin | ack, 5, 5]);
  expect(brief(tcp.fin("client"))).toEqual([fin | ack, 5, 6]);
});

test("initial sequence numbers are random over all 32 bits", () => {
  const high = new Set<number>();
  const all = new Set<number>();
  for (let i = 0; i < 64; i++) {
    const tcp = new TcpConversation(4);
    const first = tcp.syn().sequence;
    const second = tcp.synAck().sequence;
    for (const number of [first, second]) {
      expect(Number.isInteger(number) && number >= 0 && number < 2 ** 32).toBe(true);
      all.add(number);
      high.add(number >>> 28);
    }
  }
  expect(all.size).toBeGreaterThan(120);
  expect(high.size).toBeGreaterThan(8);
});

for (const [side, when, prepare, expected] of [
  [
    "upstream",
    "refused before the SYN-ACK",
    (tcp: TcpConversation) => void tcp.syn(),
    [rst | ack, 0, 1001],
  ],
  ["client", "gone before the SYN-ACK", (tcp: TcpConversation) => void tcp.syn(), [rst, 1001, 0]],
  [
    "client",
    "gone after the SYN-ACK",
    (tcp: TcpConversation) => {
      tcp.syn();
      tcp.synAck();
    },
    [rst | ack, 1001, 5001],
  ],
  [
    "upstream",
    "in the middle",
    (tcp: TcpConversation) => {
      tcp.syn();
      tcp.synAck();
      tcp.ack();
      tcp.data("client", 10);
      tcp.data("upstream", 20);
    },
    [rst | ack, 5021, 1011],
  ],
  [
    "client",
    "after the other side's FIN",
    (tcp: TcpConversation) => {
      tcp.syn();
      tcp.synAck();
      tcp.ack();
      tcp.fin("upstream");
    },
    [rst | ack, 1001, 5002],
  ],
] as const)
  test(`a reset of the ${side}, ${when}, has the numbers RFC 9293 gives it`, () => {
    const tcp = new TcpConversation(4, 1000, 5000);
    prepare(tcp);
    const segment = tcp.reset(side);
    expect(brief(segment)).toEqual(expected);
    expect(segment.window).toBe(0);
    expect(tcp.state).toBe("closed");
  });

for (const [event, act] of [
  ["SYN-ACK before SYN", () => new TcpConversation(4).synAck()],
  ["ACK before SYN-ACK", () => new TcpConversation(4).ack()],
  ["a second ACK", () => established().ack()],
  ["RST before SYN", () => new TcpConversation(4).reset("client")],
  [
    "data before the handshake ended",
    () => {
      const tcp = new TcpConversation(4);
      tcp.syn();
      tcp.data("client", 1);
    },
  ],
  [
    "data after FIN",
    () => {
      const tcp = established();
      tcp.fin("client");
      tcp.data("client", 1);
    },
  ],
  [
    "a second FIN",
    () => {
      const tcp = established();
      tcp.fin("client");
      tcp.fin("client");
    },
  ],
  [
    "anything after a reset",
    () => {
      const tcp = established();
      tcp.reset("client");
      tcp.fin("upstream");
    },
  ],
  ["no data", () => established().data("client", 0)],
] as const)
  test(`${event} is a bug of the caller, and throws`, () => {
    expect(act).toThrow();
  });

test("random conversations stay contiguous and acknowledge all that was sent", () => {
  const random = new Random(793);
  for (let run = 0; run < 200; run++) {
    const next = { client: random.below(2 ** 32), upstream: random.below(2 ** 32) };
    const tcp = established(next.client, next.upstream);
    next.client = (next.client + 1) % 2 ** 32;
    next.upstream = (next.upstream + 1) % 2 ** 32;
    for (let i = 0; i < 20; i++) {
      const side: TcpSide = random.below(2) === 0 ? "client" : "upstream";
      const peer: TcpSide = side === "client" ? "upstream" : "client";
      if (tcp.hasFinished(side)) continue;
      const ends = random.below(12) === 0;
      const segment = ends ? tcp.fin(side) : tcp.data(side, 1 + random.below(4000));
      expect(segment.sequence).toBe(next[side]);
      expect(segment.acknowledgement).toBe(next[peer]);
      expect(segment.payloadBytes <= 1460).toBe(true);
      next[side] = (next[side] + (ends ? 1 : segment.payloadBytes)) % 2 ** 32;
      if (tcp.state === "closed") break;
    }
  }
});
