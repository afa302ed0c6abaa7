import { expect, test } from "vitest";
import {
  dnsMessage,
  type FilterBench,
  openFilter,
  tcpFrame,
  udpFrame,
  withExtensions,
} from "./filter-bench.ts";

const server = "198.51.100.1:53";
const client = "192.0.2.1:4000";
const results = ["query", "any_query", "expected", "unexpected", "unreadable"] as const;

const guard = (filter: FilterBench, message: Uint8Array, from = client, to = server): string =>
  filter.judge(udpFrame(from, to, message), "xdp_dns_guard");
const learn = (filter: FilterBench, message: Uint8Array, to = client, from = server): string =>
  filter.judge(udpFrame(from, to, message), "xdp_dns_learn");

function counted(filter: FilterBench): Record<string, number> {
  const entries = Object.entries(filter.entries("dns_guard_messages_total"));
  return Object.fromEntries(
    entries
      .filter(([, count]) => count !== 0)
      .map(([key, count]) => [results[Number(key)]!, count as number]),
  );
}

const longestName = `${`${"a".repeat(63)}.`.repeat(3)}${"b".repeat(61)}`;

function bytes(message: Buffer, change: (message: Buffer) => void): Buffer {
  change(message);
  return message;
}

for (const { name, message, result } of [
  { name: "passes a query", message: dnsMessage(1, "weir.test"), result: "query" },
  { name: "passes a query for the root", message: dnsMessage(1, "", { type: 2 }), result: "query" },
  {
    name: "passes a query for the longest name",
    message: dnsMessage(1, longestName),
    result: "query",
  },
  {
    name: "passes a query with a record behind its question",
    message: Buffer.concat([
      dnsMessage(1, "weir.test"),
      Buffer.from("0000291000000000000000", "hex"),
    ]),
    result: "query",
  },
  {
    name: "passes a query with no question, as one for a cookie",
    message: dnsMessage(1, "", { questions: 0 }),
    result: "query",
  },
  {
    name: "drops a query of type ANY",
    message: dnsMessage(1, "weir.test", { type: 255 }),
    result: "any_query",
  },
  {
    name: "passes types that have ANY's byte in one of theirs",
    message: dnsMessage(1, "weir.test", { type: 0xff00 }),
    result: "query",
  },
  {
    name: "drops a query for a name of more than 255 bytes",
    message: dnsMessage(1, `${longestName}b`),
    result: "unreadable",
  },
  {
    name: "drops a query whose name has a pointer",
    message: bytes(dnsMessage(1, "weir.test"), (message) => message.writeUInt16BE(0xc00c, 12)),
    result: "unreadable",
  },
  {
    name: "drops a query with a label of the reserved kind",
    message: bytes(dnsMessage(1, "weir.test"), (message) => message.writeUInt8(0x40, 12)),
    result: "unreadable",
  },
  {
    name: "drops a query with two questions",
    message: dnsMessage(1, "weir.test", { questions: 2 }),
    result: "unreadable",
  },
  {
    name: "drops a query that ends within its name",
    message: dnsMessage(1, "weir.test").subarray(0, 15),
    result: "unreadable",
  },
  {
    name: "drops a query that ends within its class",
    message: dnsMessage(1, "weir.test").subarray(0, -1),
    result: "unreadable",
  },
  {
    name: "drops a query that ends within its header",
    message: dnsMessage(1, "weir.test").subarray(0, 11),
    result: "unreadable",
  },
  { name: "drops an empty datagram", message: Buffer.alloc(0), result: "unreadable" },
  {
    name: "drops a response nobody asked for",
    message: dnsMessage(1, "weir.test", { response: true }),
    result: "unexpected",
  },
  {
    name: "drops a response of type ANY as a response",
    message: dnsMessage(1, "weir.test", { response: true, type: 255 }),
    result: "unexpected",
  },
])
  test(`dns-guard ${name}`, async () => {
    const filter = await openFilter("dns-guard");
    expect(guard(filter, message)).toBe(result === "query" ? "pass" : "drop");
    expect(counted(filter)).toEqual({ [result]: 1 });
  });

test("dns-guard passes the response to a query that the server sent, once", async () => {
  const filter = await openFilter("dns-guard");
  expect(learn(filter, dnsMessage(7, "weir.test"))).toBe("pass");
  expect(Object.values(filter.entries("asked_queries"))).toHaveLength(1);
  const response = dnsMessage(7, "weir.test", { response: true });
  expect([guard(filter, response), guard(filter, response)]).toEqual(["pass", "drop"]);
  expect(counted(filter)).toEqual({ expected: 1, unexpected: 1 });
  expect(filter.entries("asked_queries")).toEqual({});
});

for (const { name, message, from, to } of [
  { name: "another ID", message: dnsMessage(8, "weir.test", { response: true }) },
  { name: "another name", message: dnsMessage(7, "weir.best", { response: true }) },
  { name: "a longer name", message: dnsMessage(7, "a.weir.test", { response: true }) },
  { name: "its name in other letters", message: dnsMessage(7, "Weir.test", { response: true }) },
  { name: "another type", message: dnsMessage(7, "weir.test", { response: true, type: 28 }) },
  { name: "two questions", message: dnsMessage(7, "weir.test", { response: true, questions: 2 }) },
  { name: "no question", message: dnsMessage(7, "", { response: true, questions: 0 }) },
  {
    name: "half a question",
    message: dnsMessage(7, "weir.test", { response: true }).subarray(0, 20),
  },
  {
    name: "another address",
    message: dnsMessage(7, "weir.test", { response: true }),
    from: "192.0.2.2:4000",
  },
  {
    name: "another port",
    message: dnsMessage(7, "weir.test", { response: true }),
    from: "192.0.2.1:4001",
  },
  {
    name: "another port of ours",
    message: dnsMessage(7, "weir.test", { response: true }),
    to: "198.51.100.1:54",
  },
])
  test(`dns-guard drops a response with ${name}, and still waits for the right one`, async () => {
    const filter = await openFilter("dns-guard");
    learn(filter, dnsMessage(7, "weir.test"));
    expect(guard(filter, message, from, to)).toBe("drop");
    expect(guard(filter, dnsMessage(7, "weir.test", { response: true }))).toBe("pass");
    expect(counted(filter)).toEqual({ expected: 1, unexpected: 1 });
  });

test("dns-guard passes an error that leaves the question out", async () => {
  const filter = await openFilter("dns-guard");
  learn(filter, dnsMessage(7, "weir.test"));
  expect(guard(filter, dnsMessage(7, "", { response: true, questions: 0, rcode: 1 }))).toBe("pass");
});

test("dns-guard waits for a response as long as it is told to", async () => {
  const filter = await openFilter("dns-guard", { globals: { response_timeout_ms: 2000 } });
  const response = dnsMessage(7, "weir.test", { response: true });
  learn(filter, dnsMessage(7, "weir.test"));
  filter.pass(2);
  expect(guard(filter, response)).toBe("pass");
  learn(filter, dnsMessage(7, "weir.test"));
  filter.pass(2.001);
  expect(guard(filter, response)).toBe("drop");
});

test("dns-guard learns nothing from responses, from TCP, and from what it cannot read", async () => {
  const filter = await openFilter("dns-guard");
  learn(filter, dnsMessage(7, "weir.test", { response: true }));
  learn(filter, dnsMessage(7, "weir.test").subarray(0, 20));
  learn(filter, dnsMessage(7, "weir.test", { questions: 2 }));
  learn(filter, Buffer.alloc(3));
  filter.judge(tcpFrame(server, client, {}, 40), "xdp_dns_learn");
  expect(filter.entries("asked_queries")).toEqual({});
});

test("dns-guard works over IPv6, behind extension headers too", async () => {
  const filter = await openFilter("dns-guard");
  const [ours, theirs] = ["[2001:db8::53]:53", "[2001:db8::1]:4000"];
  const options = { number: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] };
  const sent = udpFrame(ours, theirs, dnsMessage(7, "weir.test"));
  const received = udpFrame(theirs, ours, dnsMessage(7, "weir.test", { response: true }));
  const any = udpFrame(theirs, ours, dnsMessage(8, "weir.test", { type: 255 }));
  filter.judge(withExtensions(sent, options), "xdp_dns_learn");
  expect(filter.judge(withExtensions(received, options, options), "xdp_dns_guard")).toBe("pass");
  expect(filter.judge(withExtensions(any, options), "xdp_dns_guard")).toBe("drop");
});

test("dns-guard passes what is not UDP, uncounted", async () => {
  const filter = await openFilter("dns-guard");
  expect(filter.judge(tcpFrame(client, server, {}, 40), "xdp_dns_guard")).toBe("pass");
  expect(filter.judge(Buffer.alloc(64), "xdp_dns_guard")).toBe("pass");
  expect(counted(filter)).toEqual({});
});

test("dns-guard looks at one port alone where dns_port names it", async () => {
  const filter = await openFilter("dns-guard", { globals: { dns_port: 53 } });
  const response = dnsMessage(7, "weir.test", { response: true });
  expect(guard(filter, response, client, "198.51.100.1:5353")).toBe("pass");
  expect(guard(filter, response, client, server)).toBe("drop");
  expect(guard(filter, response, "192.0.2.1:53", "198.51.100.1:40000")).toBe("drop");
});

test("dns-guard keeps ANY where drop_any is off, and only counts where default_action is 2", async () => {
  const lenient = await openFilter("dns-guard", { globals: { drop_any: false } });
  expect(guard(lenient, dnsMessage(1, "weir.test", { type: 255 }))).toBe("pass");
  expect(counted(lenient)).toEqual({ query: 1 });
  const rehearsal = await openFilter("dns-guard", { globals: { default_action: 2 } });
  expect(guard(rehearsal, dnsMessage(1, "weir.test", { type: 255 }))).toBe("pass");
  expect(guard(rehearsal, dnsMessage(1, "weir.test", { response: true }))).toBe("pass");
  expect(counted(rehearsal)).toEqual({ any_query: 1, unexpected: 1 });
});
