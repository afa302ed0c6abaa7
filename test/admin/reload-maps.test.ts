import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import { u32le } from "../../src/common/bytes.ts";
import { build } from "../object/clang.ts";
import { cleanUp, onCleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { eventually } from "../support/processes.ts";
import { type AdminRig, ask, startAdminRig } from "./rig.ts";

/** What reloads do to maps that several filters share, that have no keys, and that hold events. */
const test = needing("clang");
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
afterEach(cleanUp);

interface Set {
  readonly rig: AdminRig;
  send(): Promise<void>;
  /** The status of a reload with these filters and this chain, and what is wrong. */
  reload(filters: string, chain: string): Promise<string>;
  values(map: string): number[];
}

async function setUp(filters: string, chain: string): Promise<Set> {
  const upstream = await udpUpstream();
  const text = (all: string, links: string): string => `version: 1
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:${upstream.port}"] } }
filters:
${all}
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [${links}] }]
`;
  const rig = await startAdminRig({ config: text(filters, chain) });
  onCleanUp(() => rig.stop());
  const client = await udpSocket();
  return {
    rig,
    send: async () => {
      client.send("x", rig.control.inventory().parts.listeners[0]!.address);
      expect(await client.text()).toBe("x");
    },
    reload: async (all, links) => {
      rig.write(text(all, links));
      const answer = await ask(rig.socket, "POST", "/v1/reload");
      return answer.status === 200 ? "reloaded" : JSON.parse(answer.text).error.what;
    },
    values: (name) => {
      const map = rig.control.inventory().map(name);
      if (!map.ok) throw map.error;
      return [...map.value.source.entries()].map(({ values }) => u32le(values[0]!, 0));
    },
  };
}

test("a map that filters share stays over reloads, which cannot change what it is or what they put into it", async () => {
  const one = build(file("shadow.c"));
  const two = build(file("shadow.c"), "-DSHARED_ENTRIES=2");
  const filters = (object: string, entry: number): string =>
    ["a", "b"]
      .map(
        (name) =>
          `  ${name}: { object: ${object}, program: xdp_live${name === "a" ? `, maps: { shared: { entries: [{ key: 0, value: ${entry} }] } }` : ""} }`,
      )
      .join("\n");
  const { send, reload, values } = await setUp(filters(one, 5), "a, b");
  await send();
  expect(values("a/shared")).toEqual([7]);
  expect(await reload(filters(one, 5), "b, a")).toBe("reloaded");
  await send();
  for (const [all, what] of [
    [filters(one, 6), "what they put into it"],
    [filters(two, 5), "what it is"],
  ] as const)
    expect(await reload(all, "a, b")).toMatch(
      new RegExp(
        `weir\\.yaml:5:\\d+: map shared is shared by filters a, b, and ${what} has changed; restart the proxy`,
      ),
    );
  // Of one that is left, too: what the other had counted on would be gone.
  expect(await reload(filters(one, 6).split("\n")[0]!, "a")).toMatch(/shared by filters a, b/);
  await send();
  expect(values("b/shared")).toEqual([11]);
  expect(await reload(filters(one, 5).split("\n")[1]!, "b")).toMatch(/what they put into it/);
});

test("a queue goes on over a reload, which cannot give it other first entries", async () => {
  const object = build(file("../system/programs/events.c"));
  const filters = (tokens: string): string =>
    `  tell: { object: ${object}, maps: { tokens: { entries: [${tokens}] } } }`;
  const { reload, values } = await setUp(filters("{ value: 3 }, { value: 4 }"), "tell");
  expect(values("tokens")).toEqual([3, 4]);
  expect(await reload(filters("{ value: 3 }, { value: 4 }"), "tell")).toBe("reloaded");
  expect(values("tokens")).toEqual([3, 4]);
  expect(await reload(filters("{ value: 3 }"), "tell")).toMatch(
    /map tokens: has other first entries, which have no keys to be replaced by; leave them as they were/,
  );
  expect(values("tokens")).toEqual([3, 4]);
});

test("events of a filter that a reload takes away are read to the last, and others go on being counted", async () => {
  const object = build(file("events.c"));
  const filters = `  stays: { object: ${object} }\n  goes: { object: ${object} }`;
  const { rig, send, reload } = await setUp(filters, "stays, goes");
  const read: string[] = [];
  onCleanUp(rig.events.subscribe(({ filter, map }) => read.push(`${filter} ${map}`)));
  const of = (filter: string): number => read.filter((one) => one === `${filter} told`).length;
  const total = (): number | undefined => {
    const source = rig.events.sources.find(
      ({ filter, reader }) => filter === "stays" && reader.handle.name === "told",
    );
    return source && rig.events.total(source);
  };
  await send();
  await eventually(async () => (total() === 1 ? true : undefined), "the first event is read");
  rig.events.stop();
  for (let i = 0; i < 3; i++) await send();
  expect(await reload(filters.split("\n")[0]!, "stays")).toBe("reloaded");
  expect([of("stays"), of("goes")]).toEqual([4, 4]);
  expect(rig.events.sources.every(({ filter }) => filter === "stays")).toBe(true);
  rig.events.start();
  await send();
  await eventually(async () => (total() === 5 ? true : undefined), "the count goes on");
});

test("a filter that a reload makes too large for V8 runs on the interpreter, and goes back with the next", async () => {
  const small = `  f: { bytecode: "r0 = 2\\nexit" }`;
  const { rig, send, reload } = await setUp(small, "f");
  const engine = async (): Promise<unknown> => {
    const reply = await rig.client.get("/v1/filters/f");
    return reply.ok ? (reply.value as { engine: string }).engine : undefined;
  };
  expect(await engine()).toBe("jit");
  expect(await reload(`  f: { object: ${build(file("large.c"))} }`, "f")).toBe("reloaded");
  expect(await engine()).toBe("interpreter");
  await send();
  expect(await reload(small, "f")).toBe("reloaded");
  expect(await engine()).toBe("jit");
  await send();
});
