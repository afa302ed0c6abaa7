import { copyFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { u32le } from "../../src/common/bytes.ts";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { preparePlan } from "../../src/config/prepare-plan.ts";
import { type Follower, LiveConfig, type ReloadResult } from "../../src/config/reload.ts";
import { Counters } from "../../src/filter/counters.ts";
import { startEcho } from "../../src/proxy/echo.ts";
import { startProxy } from "../../src/proxy/supervisor.ts";
import { build } from "../object/clang.ts";
import { cleanUp, type Inbox, onCleanUp, udpSocket, value } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { freePort, temporaryFolder } from "../support/processes.ts";

afterEach(cleanUp);

const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const source = fileURLToPath(new URL("./reload-map.c", import.meta.url));

/** A proxy that runs from a config file, on this thread what `weir run` makes of it. */
class Stage {
  readonly folder = temporaryFolder();
  readonly results: ReloadResult[] = [];
  readonly followed: string[] = [];
  /** What a follower has still to finish after its commit. */
  finishing: Promise<void> | undefined;
  live!: LiveConfig;
  #client!: Inbox;

  static async start(text: string): Promise<Stage> {
    const stage = new Stage();
    onCleanUp(() => stage.folder.remove());
    const echo = await startEcho();
    onCleanUp(() => echo.stop());
    const file = stage.write(text);
    const config = value(loadConfig(file));
    const prepared = value(await preparePlan(config, { echo: echo.address }));
    const proxy = value(
      await startProxy(prepared.plan, {
        onFault: (fault) => {
          throw new Error(fault.message);
        },
        onWorkerDied: (_, cause) => {
          throw new Error(cause);
        },
      }),
    );
    onCleanUp(() => proxy.stop(0));
    const refusing: Follower = async ({ config: next }) =>
      next.logLevel === "fatal" ? { ok: false, error: [] } : { ok: true, value: stage.#step(next) };
    stage.live = new LiveConfig({
      config,
      prepared,
      proxy,
      followers: [async ({ config: next }) => ({ ok: true, value: stage.#step(next) }), refusing],
      echo: async () => echo.address,
      onReload: (result) => stage.results.push(result),
    });
    stage.#client = await udpSocket();
    return stage;
  }

  #step({ logLevel }: Config) {
    return {
      commit: () => {
        this.followed.push(`commit ${logLevel}`);
        return this.finishing;
      },
      abort: () => void this.followed.push(`abort ${logLevel}`),
    };
  }

  write(text: string): string {
    return this.folder.write("weir.yaml", text);
  }

  reload(text: string): Promise<ReloadResult> {
    this.write(text);
    return this.live.reload();
  }

  async echoed(port: number): Promise<void> {
    this.#client.send("x", { host: "127.0.0.1", port });
    expect(await this.#client.text()).toBe("x");
  }

  /** First word of each entry's first value, by the key's first word. */
  map(filter: string, name: string): Record<number, number> {
    const maps = this.live.current.prepared.filters.find((one) => one.name === filter)!.maps;
    const map = maps.find((one) => one.name === name)!;
    return Object.fromEntries(
      [...map.source.entries()].map(({ key, values }) => [u32le(key, 0), u32le(values[0]!, 0)]),
    );
  }
}

function errorsOf(result: ReloadResult): string[] {
  return result.ok ? [] : result.error.map((error) => error.message);
}

test("a config that is broken anywhere leaves the last good one in force", async () => {
  const port = await freePort();
  const good = `version: 1
upstreams: { app: { echo: true } }
filters: { count: { object: ${filters}count-by-protocol.o } }
listeners:
  - { name: dns, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [count] }
`;
  const stage = await Stage.start(good);
  await stage.echoed(port);
  const taken = await udpSocket();
  const before = stage.live.current;
  const used = before.prepared.arena.usedBytes;
  for (const [text, error] of [
    ["", /version/],
    [good.replace("app, ingress", "ap, ingress"), /upstream/],
    [good.replace("count-by-protocol.o", "absent.o"), /absent\.o: there is no such file/],
    [`${good}workers: 2\n`, /workers is 1 for as long as the proxy runs/],
    [`${good}memory: 64MiB\n`, /memory/],
    [
      `${good}  - { name: more, protocol: udp, listen: "127.0.0.1:${taken.port}", upstream: app }\n`,
      /listener more: cannot listen on udp/,
    ],
    [good.replace(`127.0.0.1:${port}`, `0.0.0.0:${port}`), /listener dns cannot be bound to 0/],
    [`${good}log: { level: fatal }\n`, /^$/],
  ] as const) {
    const result = await stage.reload(text);
    expect(result.ok).toBe(false);
    expect(errorsOf(result).join("\n")).toMatch(error);
    expect(stage.live.current).toBe(before);
    expect(before.prepared.arena.usedBytes).toBe(used);
    await stage.echoed(port);
  }
  expect(stage.results.filter(({ ok }) => !ok)).toHaveLength(8);
  // What followed it was told, each time something after it refused.
  expect(new Set(stage.followed)).toEqual(new Set(["abort info", "abort fatal"]));
  expect((await stage.reload(good)).ok).toBe(true);
  expect(stage.map("count", "packets_by_protocol")).toEqual({ 17: 9 });
});

test("a reload waits for what the one before has still to finish, such as files that it may read", async () => {
  const text = `version: 1
upstreams: { app: { echo: true } }
filters: { all: { expression: "udp" } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [all] }]
`;
  const [stage, other] = [await Stage.start(text), await Stage.start(text)];
  const unfinished = Promise.withResolvers<void>();
  stage.finishing = unfinished.promise;
  expect((await stage.reload(text)).ok, "a reload itself does not wait").toBe(true);
  const second = stage.reload(`${text}log: { level: warn }\n`);
  // Time enough for a reload that does not wait.
  for (let i = 0; i < 3; i++) await other.reload(text);
  // There are two followers.
  expect(stage.followed).toEqual(Array(2).fill("commit info"));
  unfinished.resolve();
  expect((await second).ok).toBe(true);
  expect(stage.followed.slice(2)).toEqual(Array(2).fill("commit warn"));
});

test("listeners, filters and upstreams may come, go and change places: counts go on by name", async () => {
  const [first, second] = [await freePort(), await freePort()];
  const stage = await Stage.start(`version: 1
upstreams: { app: { echo: true } }
filters: { all: { expression: "udp" }, none: { expression: "not tcp" } }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:${first}", upstream: app, ingress: [all, none] }
`);
  await stage.echoed(first);
  const result = await stage.reload(`version: 1
upstreams: { other: { addresses: ["127.0.0.1:9"] }, app: { echo: true } }
filters: { new: { expression: "ip" }, none: { expression: "not tcp" } }
listeners:
  - { name: b, protocol: udp, listen: "127.0.0.1:${second}", upstream: app, ingress: [new] }
  - { name: a, protocol: udp, listen: "127.0.0.1:${first}", upstream: app, ingress: [none] }
`);
  expect(result).toMatchObject({
    ok: true,
    value: { listeners: { kept: ["a"], opened: ["b"], closed: [] } },
  });
  await stage.echoed(first);
  await stage.echoed(second);
  const { plan } = stage.live.current.prepared;
  const counters = new Counters(plan.memory, plan.workers[0]!.counters);
  expect([0, 1].map((index) => counters.readPackets(index, "ingress", "pass"))).toEqual([1, 2]);
  expect([0, 1].map((index) => counters.readFilterVerdicts(index, "pass"))).toEqual([1, 2]);
  expect([0, 1].map((index) => counters.readCell(index, "sessions"))).toEqual([1, 1]);
  expect(counters.readUpstream(0)).toBe(0);
  expect(counters.readUpstream(1)).toBeGreaterThan(0);
});

test("reloads asked for at once are at most the one under way and one more", async () => {
  const port = await freePort();
  const text = `version: 1
upstreams: { app: { echo: true } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app }]
`;
  const stage = await Stage.start(text);
  const asked = [stage.live.reload()];
  await Promise.resolve();
  for (let i = 0; i < 50; i++) asked.push(stage.live.reload());
  expect((await Promise.all(asked)).every(({ ok }) => ok)).toBe(true);
  expect(stage.results).toHaveLength(2);
});

needing("clang")(
  "maps keep or refuse or reset their contents by their schema, .bss starts fresh, memory comes back",
  async () => {
    const port = await freePort();
    const [small, large, other] = [
      build(source),
      build(source, "-DENTRIES=64"),
      build(source, "-DVALUE=__u32"),
    ];
    const stage = await Stage.start(`version: 1
upstreams: { app: { echo: true } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app }]
`);
    const object = `${stage.folder.path}/filter.o`;
    const config = (rest = "", entries = "[{ key: 7, value: 70 }, { key: 8, value: 80 }]") =>
      `version: 1
upstreams: { app: { echo: true } }
filters: { count: { object: filter.o, maps: { counts: { entries: ${entries} } } ${rest} } }
listeners: [{ name: a, protocol: udp, listen: "127.0.0.1:${port}", upstream: app, ingress: [count] }]
`;
    const load = (from: string, text = config()): Promise<ReloadResult> => {
      copyFileSync(from, object);
      return stage.reload(text);
    };
    const counts = (): Record<number, number> => stage.map("count", "counts");
    value(await load(small));
    await stage.echoed(port);
    await stage.echoed(port);
    expect(counts()).toEqual({ 1: 2, 7: 70, 8: 80 });
    expect(stage.map("count", ".bss")).toEqual({ 0: 2 });

    // The same schema: what the program counted stays, and entries follow the config.
    const kept = await load(small, config("", "[{ key: 8, value: 81 }, { key: 9, value: 90 }]"));
    expect(kept).toMatchObject({ ok: true, value: { maps: { kept: ["count.counts"] } } });
    expect(counts()).toEqual({ 1: 2, 8: 81, 9: 90 });
    expect(stage.map("count", ".bss")).toEqual({ 0: 0 });
    await stage.echoed(port);

    const grown = await load(large);
    expect(grown).toMatchObject({ ok: true, value: { maps: { grown: ["count.counts"] } } });
    expect(counts()).toEqual({ 1: 3, 7: 70, 8: 80 });
    await stage.echoed(port);
    expect(counts()).toMatchObject({ 1: 4 });

    // A smaller map takes what fits, and no more.
    const four =
      "[{ key: 7, value: 1 }, { key: 8, value: 1 }, { key: 9, value: 1 }, { key: 10, value: 1 }]";
    value(await load(large, config("", four)));
    const full = await load(small, config("", four));
    expect(errorsOf(full)).toEqual([
      expect.stringMatching(
        /^filter count: map counts: cannot keep its contents: its max_entries 64 became 4, and it holds more/,
      ),
    ]);
    expect(counts()).toEqual({ 1: 4, 7: 1, 8: 1, 9: 1, 10: 1 });
    expect(await load(small)).toMatchObject({
      ok: true,
      value: { maps: { kept: ["count.counts"] } },
    });
    expect(counts()).toEqual({ 1: 4, 7: 70, 8: 80 });

    // Without room for old and new entries together the map is another one, with the same contents.
    const before = stage.live.current.prepared.filters[0]!.maps[0]!.handle.descriptor;
    const moved = await load(small, config("", four.replace("{ key: 7, value: 1 }, ", "")));
    expect(moved).toMatchObject({ ok: true, value: { maps: { kept: ["count.counts"] } } });
    expect(stage.live.current.prepared.filters[0]!.maps[0]!.handle.descriptor).not.toBe(before);
    expect(counts()).toEqual({ 1: 4, 8: 1, 9: 1, 10: 1 });
    value(await load(small));

    const refused = await load(other);
    expect(errorsOf(refused)).toEqual([
      expect.stringMatching(
        /weir\.yaml:3:\d+: filter count: map counts: cannot keep its contents: its value size 8 became 4; write onSchemaChange: reset/,
      ),
    ]);
    await stage.echoed(port);
    expect(counts()).toEqual({ 1: 5, 7: 70, 8: 80 });

    const reset = await load(other, config(", onSchemaChange: reset"));
    expect(reset).toMatchObject({ ok: true, value: { maps: { fresh: ["count.counts"] } } });
    expect(counts()).toEqual({ 7: 70, 8: 80 });

    // One that leaked so much as a map each time would need ten times more.
    const { arena } = stage.live.current.prepared;
    const usedBytes = arena.usedBytes;
    for (let i = 0; i < 60; i++)
      value(await load([small, large, other][i % 3]!, config(", onSchemaChange: reset")));
    expect(arena.usedBytes).toBeLessThan(usedBytes + 65_536);
  },
);
