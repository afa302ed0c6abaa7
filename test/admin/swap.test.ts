import { copyFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect } from "vitest";
import { u32le } from "../../src/common/bytes.ts";
import { build } from "../object/clang.ts";
import { cleanUp, onCleanUp, udpSocket, udpUpstream } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { type AdminRig, ask, startAdminRig } from "./rig.ts";

/** A running filter's object replaced, by the rules of a reload. */
const test = needing("clang");
const source = fileURLToPath(new URL("../config/reload-map.c", import.meta.url));
afterEach(cleanUp);

interface Set {
  readonly rig: AdminRig;
  readonly text: string;
  /** Objects beside the config: first is the one that it names. */
  readonly folder: string;
  /** Sends a datagram and waits until it has gone through the filter. */
  echoed(): Promise<void>;
  swap(body: object): Promise<{ status: number; reply: Record<string, never> }>;
  /** The map's first words. */
  counts(): Record<number, number>;
}

async function setUp(more = ""): Promise<Set> {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  for (const [name, ...flags] of [
    ["small.o"],
    ["large.o", "-DENTRIES=64"],
    ["other.o", "-DVALUE=__u32"],
  ] as const)
    copyFileSync(build(source, ...flags), `${folder.path}/${name}`);
  const upstream = await udpUpstream();
  const text = `version: 1
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:${upstream.address.port}"] } }
filters:
  count: { object: ${folder.path}/small.o, maps: { counts: { entries: [{ key: 7, value: 70 }] } } ${more} }
  dns: { expression: udp }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [count, dns] }]
`;
  const rig = await startAdminRig({ config: text });
  onCleanUp(() => rig.stop());
  const client = await udpSocket();
  return {
    rig,
    text,
    folder: folder.path,
    echoed: async () => {
      client.send("x", rig.control.inventory().parts.listeners[0]!.address);
      expect(await client.text()).toBe("x");
    },
    swap: async (body) => {
      const { status, text: reply } = await ask(
        rig.socket,
        "POST",
        "/v1/filters/count/swap",
        JSON.stringify(body),
      );
      return { status, reply: JSON.parse(reply) };
    },
    counts: () => {
      const map = rig.control.inventory().map("count/counts");
      if (!map.ok) throw map.error;
      return Object.fromEntries(
        [...map.value.source.entries()].map(({ key, values }) => [
          u32le(key, 0),
          u32le(values[0]!, 0),
        ]),
      );
    },
  };
}

const objectOf = ({ rig }: Set, filter = "count"): string =>
  rig.control.inventory().parts.filters.find(({ name }) => name === filter)!.object.file;

test("a swap keeps maps as a reload does, and is refused as one, with all as it was", async () => {
  const set = await setUp();
  const { echoed, swap, counts, folder } = set;
  await echoed();
  expect(counts()).toEqual({ 1: 1, 7: 70 });
  expect(await swap({ object: `${folder}/large.o` })).toMatchObject({
    status: 200,
    reply: { maps: { grown: ["count.counts"] }, swapped: ["count"], listeners: { kept: ["a"] } },
  });
  await echoed();
  expect(counts()).toEqual({ 1: 2, 7: 70 });
  for (const [body, what] of [
    [{ object: `${folder}/other.o` }, /cannot keep its contents/],
    [{ object: `${folder}/absent.o` }, /absent\.o/],
    [{ object: source }, /not an ELF object/],
    [{ object: `${folder}/large.o`, section: "xdp/none" }, /no section "xdp\/none"/],
    [{ object: `${folder}/large.o`, program: "none" }, /no program "none"/],
  ] as const) {
    const { status, reply } = await swap(body);
    expect(status).toBe(422);
    expect(reply).toMatchObject({ error: { what: expect.stringMatching(what) } });
    await echoed();
    expect(objectOf(set)).toBe(`${folder}/large.o`);
  }
  expect(counts()).toEqual({ 1: 7, 7: 70 });
});

test("a swap leaves aside what the file says by now, and objects that have been broken since", async () => {
  const set = await setUp();
  const { rig, swap, folder, echoed } = set;
  rig.write("nonsense: [");
  copyFileSync(source, `${folder}/small.o`);
  expect((await swap({ object: `${folder}/large.o` })).status).toBe(200);
  await echoed();
  expect(objectOf(set, "dns")).toBe("expression");
  expect((await ask(rig.socket, "POST", "/v1/reload")).status).toBe(422);
  await echoed();
  expect(objectOf(set)).toBe(`${folder}/large.o`);
});

test("reloads keep a swap until the file names another source for the filter; undo goes back to it", async () => {
  const set = await setUp();
  const { rig, swap, folder, text, counts } = set;
  const reload = async (config: string): Promise<unknown> => {
    rig.write(config);
    const done = await rig.client.send("POST", "/v1/reload");
    if (!done.ok) throw done.error;
    return (done.value as { swapped: unknown }).swapped;
  };
  const swapped = async (): Promise<unknown> => {
    const config = await rig.client.get("/v1/config");
    return config.ok
      ? (config.value as { filters: { name: string; swapped: boolean }[] }).filters.map(
          ({ swapped: is }) => is,
        )
      : undefined;
  };
  await swap({ object: `${folder}/large.o` });
  expect(await reload(text.replace("value: 70", "value: 71"))).toEqual(["count"]);
  expect(objectOf(set)).toBe(`${folder}/large.o`);
  expect(counts()).toEqual({ 7: 71 });
  expect(await swapped()).toEqual([true, false]);
  // Another source in the file, if only by its name: the file is followed again.
  copyFileSync(`${folder}/large.o`, `${folder}/renamed.o`);
  expect(await reload(text.replace("small.o", "renamed.o"))).toEqual([]);
  expect(objectOf(set)).toBe(`${folder}/renamed.o`);
  copyFileSync(`${folder}/large.o`, `${folder}/third.o`);
  await swap({ object: `${folder}/third.o` });
  expect((await swap({})).reply).toMatchObject({ swapped: [] });
  expect(objectOf(set)).toBe(`${folder}/renamed.o`);
  expect(await swapped()).toEqual([false, false]);
  // There is nothing more to undo, and nothing is read again for it.
  expect(await swap({})).toMatchObject({
    status: 400,
    reply: {
      error: { code: "FILTER_SWAP", what: "nothing is swapped: it runs what the config names" },
    },
  });
});

test("an expression can be swapped for an object's section, and back", async () => {
  const set = await setUp();
  const { rig, folder } = set;
  const swapDns = (body: object) =>
    ask(rig.socket, "POST", "/v1/filters/dns/swap", JSON.stringify(body));
  expect((await swapDns({ object: `${folder}/small.o`, section: "xdp" })).status).toBe(200);
  expect(objectOf(set, "dns")).toBe(`${folder}/small.o`);
  await set.echoed();
  expect((await swapDns({})).status).toBe(200);
  expect(objectOf(set, "dns")).toBe("expression");
});

for (const { name, body, status } of [
  { name: "a relative path", body: { object: "small.o" }, status: 400 },
  { name: "a program without an object", body: { program: "x" }, status: 400 },
  { name: "two programs", body: { object: "/x.o", program: "x", section: "y" }, status: 400 },
])
  test(`a swap with ${name} is refused`, async () => {
    const { swap } = await setUp();
    expect((await swap(body)).status).toBe(status);
  });
