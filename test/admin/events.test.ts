import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import type { EventRow } from "../../src/admin/replies.ts";
import { build } from "../object/clang.ts";
import { cleanUp, onCleanUp, udpSocket } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually } from "../support/processes.ts";
import { type AdminRig, ask, filtersFolder, startAdminRig } from "./rig.ts";

/** The control API's stream of events, on a filter that writes them. */
const test = needing("clang");
const source = fileURLToPath(new URL("./events.c", import.meta.url));
afterEach(cleanUp);

async function startRig(globals = ""): Promise<AdminRig> {
  const rig = await startAdminRig({
    config: `version: 1
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
  tell: { object: ${build(source)}, globals: { ${globals} } }
  count: { object: ${filtersFolder}count-by-protocol.o }
listeners: [ { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [tell, count] } ]
`,
  });
  onCleanUp(() => rig.stop());
  return rig;
}

/** Rows of the stream, which is on when this resolves. */
async function rowsOf(rig: AdminRig, query = ""): Promise<() => Promise<EventRow>> {
  const end = new AbortController();
  onCleanUp(() => end.abort());
  const stream = await rig.client.stream(`/v1/events${query}`, end.signal);
  if (!stream.ok) throw stream.error;
  const rows = stream.value as AsyncGenerator<EventRow>;
  expect((await rows.next()).value).toEqual({ lost: 0, reason: "slow_reader" });
  return async () => {
    const { value, done } = await rows.next();
    if (done === true) throw new Error("the stream has ended");
    return value;
  };
}

async function send(rig: AdminRig, packets: number): Promise<void> {
  const client = await udpSocket();
  const before = runs(rig);
  // A few at a time: a socket's buffer holds some hundreds.
  for (let i = 0; i < packets; i += 50) {
    const now = Math.min(packets, i + 50);
    for (let k = i; k < now; k++) client.send("packet", rig.addresses[0]!);
    await eventually(
      async () => (runs(rig) === before + now ? true : undefined),
      `${now} packets have been judged`,
    );
  }
}

function runs(rig: AdminRig): number {
  const { counters } = rig.control.inventory().parts;
  return counters.reduce((all, worker) => all + worker.readFilterVerdicts(0, "pass"), 0);
}

test("events come typed by the struct of the usual name, with what follows it, or as hex", async () => {
  const rig = await startRig();
  const next = await rowsOf(rig);
  await send(rig, 1);
  const rows = [await next(), await next(), await next()];
  const frameBytes = 14 + 20 + 8 + "packet".length;
  const event = { number: 0, length: frameBytes, mark: 7 };
  expect(rows).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ filter: "tell", map: "told", length: 16, value: event }),
      expect.objectContaining({
        map: "samples",
        cpu: 0,
        length: 30,
        value: event,
        rest: expect.stringMatching(/^hex:[0-9a-f]{24}0800$/),
      }),
      expect.objectContaining({ map: "narrow", length: 3, value: "hex:010203" }),
    ]),
  );
  const [first] = rows;
  const ageMs = Date.now() - ("lost" in first! ? 0 : first!.seconds * 1000);
  expect(ageMs).toBeLessThan(60_000);
  expect(ageMs).toBeGreaterThanOrEqual(0);
});

test("a reader may ask for one map's events, of a struct that it names", async () => {
  const rig = await startRig();
  const next = await rowsOf(rig, "?filter=tell&map=samples&type=struct%20event");
  await send(rig, 2);
  const numbers = [await next(), await next()].map((row) =>
    "lost" in row ? row : (row.value as { number: number }).number,
  );
  expect(numbers).toEqual([0, 1]);
});

for (const { query, status, what } of [
  { query: "?map=packets_total", status: 400, what: /holds no events/ },
  { query: "?map=none", status: 404, what: /no such map/ },
  { query: "?filter=none", status: 404, what: /no such filter/ },
  { query: "?map=told&type=evnt", status: 400, what: /describes no struct "evnt"/ },
])
  test(`${query} is refused with a reason`, async () => {
    const rig = await startRig();
    const map = rig.control.inventory().maps.find(({ filter }) => filter === "count")!;
    const answer = await ask(
      rig.socket,
      "GET",
      `/v1/events${query.replace("packets_total", map.handle.name)}`,
    );
    expect(answer.status).toBe(status);
    const { error } = JSON.parse(answer.text);
    expect(error.what).toMatch(what);
    if (error.code === "MAP_UNKNOWN")
      expect(error.fix).toMatch(/^events are in [^, ]+\/told(, |$)/);
  });

test("what found no room in a ring is counted, and told whose it was", async () => {
  const rig = await startRig();
  const next = await rowsOf(rig, "?map=narrow");
  rig.events.stop();
  // Of 8 bytes of header and 3 of data, padded to 8: 256 are 4,096 bytes, of which one stays free.
  await send(rig, 300);
  rig.events.start();
  let read = 0;
  let lost = 0;
  // Told as they are found: the last packets may come after the first losses have been.
  while (lost < 300 - 255) {
    const row = await next();
    if (!("lost" in row)) read++;
    else {
      expect(row).toMatchObject({ filter: "tell", map: "narrow", reason: "ring_full" });
      lost += row.lost;
    }
  }
  expect(lost).toBe(300 - 255);
  expect(read).toBeLessThanOrEqual(255);
});

test("a reader that does not read loses events, is told how many, and holds up nobody", async () => {
  const rig = await startRig("copies: 64");
  const next = await rowsOf(rig, "?map=told");
  const packets = 400;
  await send(rig, packets);
  const source = rig.events.sources.find(({ reader }) => reader.handle.name === "told")!;
  await eventually(
    async () => (rig.events.total(source) === packets * 64 ? true : undefined),
    "all events have been read from the ring",
  );
  let read = 0;
  let lost = 0;
  while (read + lost < packets * 64) {
    const row = await next();
    if ("lost" in row) lost += row.lost;
    else read++;
  }
  expect(lost).toBeGreaterThan(0);
  expect(read).toBeGreaterThan(4096);
});

test("events go on over a reload, from the next plan's rings", async () => {
  const rig = await startRig();
  const next = await rowsOf(rig, "?map=told");
  await send(rig, 1);
  expect(await next()).toMatchObject({ value: { number: 0 } });
  const reload = await rig.client.send("POST", "/v1/reload");
  expect(reload.ok).toBe(true);
  const client = await udpSocket();
  client.send("packet", rig.addresses[0]!);
  // The ring is the same; .bss began anew.
  expect(await next()).toMatchObject({ value: { number: 0, mark: 7 } });
});
