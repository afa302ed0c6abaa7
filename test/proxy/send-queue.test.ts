import { constants } from "node:os";
import { expect, test } from "vitest";
import { errno } from "../../src/common/errno.ts";
import { type QueueSocket, SendQueue } from "../../src/proxy/send-queue.ts";
import type { SocketCalls } from "../../src/proxy/socket-calls.ts";
import type { PacketTally } from "../../src/proxy/tally.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { value } from "./rig.ts";

/** A message as the kernel would get it. */
interface Message {
  readonly to: string;
  readonly pieces: string[];
  cut: number | undefined;
}

/** A kernel that answers `send` as told: messages taken, or -errno; all once it is out of answers. */
function setUp(answers: number[] = []) {
  const arena = value(Arena.create(1 << 20));
  const at = value(arena.allocate(4096, "payloads"));
  const spare = value(arena.allocate(4096, "spares"));
  let messages: Message[] = [];
  const sent: { fd: number; messages: Message[] }[] = [];
  const calls = {
    holds: (from: number) => from >= at && from < spare + 4096,
    clear: () => {
      messages = [];
    },
    addMessage: (name: Uint8Array | undefined) =>
      messages.push({ to: Buffer.from(name ?? []).toString(), pieces: [], cut: undefined }),
    addPiece: (from: number, bytes: number) =>
      messages.at(-1)!.pieces.push(arena.viewOf(from, bytes).toString()),
    cutLast: (bytes: number) => {
      messages.at(-1)!.cut = bytes;
    },
    send: (fd: number, from: number) => {
      const answer = answers.shift() ?? messages.length - from;
      if (answer > 0) sent.push({ fd, messages: messages.slice(from, from + answer) });
      return answer;
    },
  } as unknown as SocketCalls;
  const queue = new SendQueue(arena, calls, [spare, spare + 2048], 2048);
  const fates: string[] = [];
  const tally = {
    forwarded: (kind: string, bytes: number) => fates.push(`${kind} ${bytes}`),
    dropped: (reason: string, bytes: number) => fates.push(`${reason} ${bytes}`),
  } as unknown as PacketTally;
  const socket = (fd: number, isOver = false): QueueSocket => ({
    fd,
    canSegment: true,
    firstQueued: -1,
    lastQueued: -1,
    atStake: 0,
    onRefused: ({ code }, bytes) => {
      fates.push(`${code} ${bytes}`);
      return isOver;
    },
    drop: (bytes) => fates.push(`left ${bytes}`),
  });
  let next = at;
  const add = (to: QueueSocket, text: string, name?: Uint8Array): void => {
    const payload = arena.viewOf(next, text.length);
    payload.write(text);
    next += text.length;
    queue.add(to, payload, name, text.length, "pass", tally);
  };
  return { arena, queue, add, socket, sent, fates, tally };
}

test("what waits for a socket goes in one call, in order, whatever came between", () => {
  const { queue, add, socket, sent, fates } = setUp();
  const [a, b] = [socket(1), socket(2)];
  add(a, "one");
  add(b, "other");
  add(a, "three");
  expect(sent).toEqual([]);
  queue.flush();
  expect(sent.map(({ fd, messages }) => [fd, messages.flatMap(({ pieces }) => pieces)])).toEqual([
    [1, ["one", "three"]],
    [2, ["other"]],
  ]);
  expect(fates).toEqual(["pass 3", "pass 5", "pass 5"]);
  queue.flush();
  expect(sent.length).toBe(2);
});

test("runs of one length to one peer are a message that the kernel cuts", () => {
  const { queue, add, socket, sent } = setUp();
  const a = socket(1);
  const [x, y] = [Buffer.from("x"), Buffer.from("y")];
  for (const [text, name] of [
    ["aa", x],
    ["bb", x],
    ["ccc", x],
    ["dd", y],
    ["ee", y],
    ["", y],
    ["", y],
  ] as const)
    add(a, text, name);
  queue.flush();
  expect(sent[0]!.messages).toEqual([
    { to: "x", pieces: ["aa", "bb"], cut: 2 },
    { to: "x", pieces: ["ccc"], cut: undefined },
    { to: "y", pieces: ["dd", "ee"], cut: 2 },
    { to: "y", pieces: [""], cut: undefined },
    { to: "y", pieces: [""], cut: undefined },
  ]);
});

test("a socket whose route takes no segments sends each apart from then on, and loses none", () => {
  const { queue, add, socket, sent, fates } = setUp([-errno.EINVAL]);
  const a = socket(1);
  for (const text of ["aa", "bb"]) add(a, text);
  queue.flush();
  add(a, "cc");
  add(a, "dd");
  queue.flush();
  expect(sent.map(({ messages }) => messages.map(({ pieces, cut }) => [...pieces, cut]))).toEqual([
    [
      ["aa", undefined],
      ["bb", undefined],
    ],
    [
      ["cc", undefined],
      ["dd", undefined],
    ],
  ]);
  expect(fates).toEqual(["pass 2", "pass 2", "pass 2", "pass 2"]);
});

test("what the kernel takes in part is offered again from there", () => {
  const { queue, add, socket, sent, fates } = setUp([1, -errno.EINTR, 1]);
  const a = socket(1);
  for (const text of ["a", "bb", "ccc"]) add(a, text);
  queue.flush();
  expect(sent.map(({ messages }) => messages[0]!.pieces)).toEqual([["a"], ["bb"], ["ccc"]]);
  expect(fates).toEqual(["pass 1", "pass 2", "pass 3"]);
});

test("where the kernel takes no more, what is left is dropped as send_queue_full", () => {
  const { queue, add, socket, fates } = setUp([1, -errno.EAGAIN]);
  const a = socket(1);
  for (const text of ["a", "bb", "ccc", "ddd"]) add(a, text);
  queue.flush();
  expect(fates).toEqual(["pass 1", "send_queue_full 2", "send_queue_full 3", "send_queue_full 3"]);
});

test("a peer that cannot be reached costs its own datagrams", () => {
  const { queue, add, socket, fates } = setUp([1, -errno.EPERM]);
  const a = socket(1);
  for (const text of ["a", "bb", "ccc"]) add(a, text);
  queue.flush();
  expect(fates).toEqual(["pass 1", "EPERM 2", "pass 3"]);
});

test("a socket that is of no more use drops what is left for it, and others go on", () => {
  const { queue, add, socket, fates } = setUp([-errno.EPERM]);
  const [a, b] = [socket(1, true), socket(2)];
  for (const text of ["aa", "aa", "ccc"]) add(a, text);
  add(b, "dddd");
  queue.flush();
  expect(fates).toEqual(["EPERM 2", "left 2", "left 3", "pass 4"]);
});

test("what lies in no slot is copied, and sent early where the copies have no room", () => {
  const { queue, socket, sent, tally } = setUp();
  const a = socket(1);
  // Two in each spare.
  const payload = Buffer.alloc(1000);
  for (const text of ["1", "2", "3", "4", "5"]) {
    payload.fill(text);
    queue.add(a, payload, undefined, 1000, "tx", tally);
  }
  const went = () =>
    sent.map(({ messages }) => messages.flatMap(({ pieces }) => pieces.map((piece) => piece[0])));
  expect(went()).toEqual([["1", "2", "3", "4"]]);
  queue.flush();
  expect(went()).toEqual([["1", "2", "3", "4"], ["5"]]);
});

test("takes nothing that is longer than a spare", () => {
  const { queue, socket, tally } = setUp();
  const add = () => queue.add(socket(1), Buffer.alloc(2049), undefined, 2049, "pass", tally);
  expect(add).toThrow(RangeError);
});

test("the last of a run may be shorter", () => {
  const { queue, add, socket, sent } = setUp();
  const a = socket(1);
  for (const text of ["aaa", "bbb", "cc", "dd", "e", "ff"]) add(a, text);
  queue.flush();
  expect(sent[0]!.messages.map(({ pieces, cut }) => [...pieces, cut])).toEqual([
    ["aaa", "bbb", "cc", 3],
    ["dd", "e", 2],
    ["ff", undefined],
  ]);
});

test("a full queue is sent", () => {
  const { queue, add, socket, sent } = setUp();
  const a = socket(1);
  for (let i = 0; i < 63; i++) add(a, "x".repeat(1 + i));
  expect(sent.length).toBe(0);
  add(a, "x".repeat(64));
  expect(sent.length).toBe(1);
  add(a, "x");
  queue.flush();
  expect(sent.map(({ messages }) => messages.length)).toEqual([64, 1]);
});

test("what waits for a socket that is dropped is not sent, also where another's refusal drops it", () => {
  const { queue, add, socket, sent, fates } = setUp([-constants.errno.ECONNREFUSED]);
  const [gone, other] = [socket(1), socket(2)];
  const refused: QueueSocket = {
    ...socket(3, true),
    onRefused: (error, bytes, to) => {
      queue.drop(other);
      queue.drop(refused);
      return socket(3, true).onRefused(error, bytes, to);
    },
  };
  add(gone, "gone");
  queue.drop(gone);
  expect(fates).toEqual(["left 4"]);
  add(refused, "aa");
  add(other, "bbb");
  add(refused, "aaaaa");
  queue.flush();
  expect(sent).toEqual([]);
  expect(fates).toEqual(["left 4", "left 3", "ECONNREFUSED 2", "left 5"]);
});

for (const { what, answers, atStake } of [
  { what: "the last message that was taken", answers: [3], atStake: 1 },
  {
    what: "a message that errors were kept back behind, and the last",
    answers: [1, 2],
    atStake: 4,
  },
  { what: "each message where each call takes one", answers: [1, 1, 1], atStake: 6 },
  { what: "the last message before the kernel is full", answers: [1, -errno.EAGAIN], atStake: 3 },
  { what: "nothing where nothing was taken", answers: [-errno.EAGAIN], atStake: 0 },
])
  test(`at stake is ${what}`, () => {
    const { queue, add, socket } = setUp(answers);
    const a = socket(1);
    for (const text of ["a", "a", "a", "bb", "bb", "ccc"]) add(a, text);
    queue.flush();
    expect(a.atStake).toBe(atStake);
  });
