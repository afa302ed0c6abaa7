import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { cleanUp, onCleanUp } from "../proxy/rig.ts";
import { temporaryFolder } from "../support/processes.ts";
import { type AdminRig, ask, filtersFolder, startAdminRig } from "./rig.ts";

/** Maps that are kept across restarts: pinned by the config or while it runs, over reloads. */
afterEach(cleanUp);

const entries = "entries: [{ key: 127.0.0.66/32, value: 1 }]";

function config(stateDir: string | undefined, filters: Readonly<Record<string, string>>): string {
  const all = Object.entries(filters).map(
    ([name, maps]) =>
      `  ${name}: { object: ${filtersFolder}blocklist.o, maps: { blocked: { ${maps} } } }\n`,
  );
  return `version: 1
metrics: { listen: off }
${stateDir === undefined ? "" : `stateDir: ${stateDir}`}
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
${all.join("")}
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [${Object.keys(filters).join(", ")}] }
`;
}

function stateFolder(): string {
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  return join(folder.path, "state");
}

/** A proxy that the test itself may stop: what was pinned is saved by then. */
async function start(text: string): Promise<AdminRig> {
  const rig = await startAdminRig({ config: text });
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= rig.stop();
    return stopped;
  };
  onCleanUp(stop);
  return { ...rig, stop };
}

async function post(rig: AdminRig, path: string, body?: object): Promise<[number, string]> {
  const { status, text } = await ask(
    rig.socket,
    "POST",
    `/v1/${path}`,
    body && JSON.stringify(body),
    body && { "content-type": "application/json" },
  );
  return [status, text];
}

async function put(rig: AdminRig, key: string, map = "blocked"): Promise<void> {
  expect((await post(rig, `maps/${map}/update`, { key, value: 7 }))[0]).toBe(200);
}

async function has(rig: AdminRig, key: string, map = "blocked"): Promise<boolean> {
  return (await post(rig, `maps/${map}/lookup`, { key }))[0] === 200;
}

async function reload(rig: AdminRig, text: string): Promise<void> {
  rig.write(text);
  const [status, answer] = await post(rig, "reload");
  expect(status, answer).toBe(200);
}

async function pinnedFile(rig: AdminRig, map = "blocked"): Promise<unknown> {
  const reply = await rig.client.get(`/v1/maps/${encodeURIComponent(map)}`);
  if (!reply.ok) throw reply.error;
  return (reply.value as { pinned?: string }).pinned;
}

const own = "203.0.113.0/24";
const later = "198.51.100.0/24";

test("a map pinned while it runs is saved at once, and comes back at each start until it is unpinned", async () => {
  const stateDir = stateFolder();
  const text = config(stateDir, { block: entries });
  const first = await start(text);
  await put(first, own);
  expect(await pinnedFile(first)).toBeUndefined();
  const [status, answer] = await post(first, "maps/blocked/pin");
  const file = join(stateDir, "block.blocked.map");
  expect([status, JSON.parse(answer).pinned]).toEqual([200, file]);
  expect(readFileSync(file, "latin1")).toMatch(/^weir-map 1\n/);
  await put(first, later);
  await first.stop();
  expect(first.errors).toEqual([]);

  const second = await start(text);
  expect([await has(second, own), await has(second, later)]).toEqual([true, true]);
  expect(await pinnedFile(second)).toBe(file);
  expect((await post(second, "maps/blocked/unpin"))[0]).toBe(200);
  expect(await pinnedFile(second)).toBeUndefined();
  expect(readdirSync(stateDir)).toEqual([]);
  await second.stop();
  expect(readdirSync(stateDir), "nor is it saved at the end").toEqual([]);

  const third = await start(text);
  expect([await has(third, own), await has(third, "127.0.0.66/32")]).toEqual([false, true]);
});

test("pinning it again saves it again, also where somebody has removed its file", async () => {
  const stateDir = stateFolder();
  const rig = await start(config(stateDir, { block: entries }));
  const file = join(stateDir, "block.blocked.map");
  for (const prepare of [() => {}, () => rmSync(file), () => writeFileSync(file, "damaged")]) {
    prepare();
    expect((await post(rig, "maps/blocked/pin"))[0]).toBe(200);
    expect(readFileSync(file, "latin1")).toMatch(/^weir-map 1\n/);
  }
  expect((await post(rig, "maps/blocked/unpin"))[0]).toBe(200);
  expect((await post(rig, "maps/blocked/pin"))[0]).toBe(200);
  expect(existsSync(file), "as after an unpin").toBe(true);
});

for (const { title, stateDir, maps, path, says } of [
  {
    title: "without stateDir a map has no place to be kept",
    stateDir: false,
    maps: entries,
    path: "maps/blocked/pin",
    says: /map blocked.*has no place to be kept.*add stateDir: and a folder/,
  },
  {
    title: "a program's variables are not kept",
    stateDir: true,
    maps: entries,
    path: "maps/.rodata/pin",
    says: /map \.rodata.*holds a program's variables/,
  },
  {
    title: "what is not pinned cannot be unpinned",
    stateDir: true,
    maps: entries,
    path: "maps/blocked/unpin",
    says: /map blocked.*is not pinned/,
  },
  {
    title: "what the config pins, only the config can end",
    stateDir: true,
    maps: "pin: true",
    path: "maps/blocked/unpin",
    says: /is pinned by the config, in filter block.*remove pin: true there/,
  },
])
  test(`${title}, and that is said`, async () => {
    const rig = await start(config(stateDir ? stateFolder() : undefined, { block: maps }));
    const [status, answer] = await post(rig, path);
    expect(status).toBe(409);
    expect(answer).toMatch(says);
  });

test("a map that cannot be saved is not pinned, and the reason is given", async () => {
  const folder = stateFolder();
  const rig = await start(config(join(folder, "state"), { block: entries }));
  writeFileSync(folder, "a file where the folder should be");
  const [status, answer] = await post(rig, "maps/blocked/pin");
  expect([status, JSON.parse(answer).error.code]).toEqual([500, "PIN_UNWRITABLE"]);
  expect(await pinnedFile(rig)).toBeUndefined();
});

test("a pin holds over a reload, and one of the config ends with it: what the map held by then is saved", async () => {
  const stateDir = stateFolder();
  const rig = await start(config(stateDir, { a: "pin: true", b: entries }));
  await post(rig, "maps/b%2Fblocked/pin");
  await put(rig, own, "a%2Fblocked");
  await reload(rig, config(stateDir, { a: entries, b: entries }));
  expect(await pinnedFile(rig, "a/blocked")).toBeUndefined();
  expect(await pinnedFile(rig, "b/blocked")).toBe(join(stateDir, "b.blocked.map"));
  expect(await has(rig, own, "a%2Fblocked"), "the map itself stays").toBe(true);
  await put(rig, later, "a%2Fblocked");
  // A pin that comes with a reload begins with what the map holds, not with what its file does.
  await reload(rig, config(stateDir, { a: "pin: true", b: entries }));
  expect(await has(rig, later, "a%2Fblocked")).toBe(true);
  await rig.stop();
  const next = await start(config(stateDir, { a: "pin: true", b: entries }));
  for (const key of [own, later]) expect(await has(next, key, "a%2Fblocked")).toBe(true);
});

for (const how of ["by the config", "while it runs"])
  test(`a map pinned ${how} goes with its filter, and comes back with it as it was`, async () => {
    const stateDir = stateFolder();
    const both = config(stateDir, { a: how === "by the config" ? "pin: true" : entries, b: "" });
    const rig = await start(both);
    if (how !== "by the config") await post(rig, "maps/a%2Fblocked/pin");
    for (const key of [own, later]) {
      await put(rig, key, "a%2Fblocked");
      await reload(rig, config(stateDir, { b: "" }));
      expect((await post(rig, "maps/a%2Fblocked/lookup", { key }))[0]).toBe(404);
      await reload(rig, both);
      expect(await has(rig, key, "a%2Fblocked")).toBe(true);
    }
    expect(await has(rig, own, "a%2Fblocked")).toBe(true);
    expect(rig.errors).toEqual([]);
  });

test("another stateDir gets the config's pins, and the one before keeps what they held", async () => {
  const [old, next] = [stateFolder(), stateFolder()];
  const rig = await start(config(old, { a: "pin: true", b: "" }));
  await post(rig, "maps/b%2Fblocked/pin");
  await put(rig, own, "a%2Fblocked");
  await put(rig, own, "b%2Fblocked");
  await reload(rig, config(next, { a: "pin: true", b: "" }));
  expect(await pinnedFile(rig, "a/blocked")).toBe(join(next, "a.blocked.map"));
  expect(await pinnedFile(rig, "b/blocked"), "made in the other folder").toBeUndefined();
  await rig.stop();
  expect(readdirSync(next)).toEqual(["a.blocked.map"]);
  const back = await start(config(old, { a: "pin: true", b: "" }));
  for (const map of ["a%2Fblocked", "b%2Fblocked"]) expect(await has(back, own, map)).toBe(true);
});
