import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, vi } from "vitest";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { type AdminRig, startAdminRig } from "./rig.ts";

/** Writes to maps while a reload has copied what they hold, and workers still run the plan before. */
afterEach(() => void vi.useRealTimers());
const test = needing("clang");
const nested = (): string => build(fileURLToPath(new URL("../cli/nested-maps.c", import.meta.url)));

const config = (strict: string): string => `version: 1
metrics: { listen: off }
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
  nested: { object: ${nested()}, maps: { strict: { entries: ${strict} } } }
listeners:
  - { name: udp, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [nested] }
`;

interface Write {
  readonly path: string;
  readonly body: unknown;
}

/** Reloads a proxy, asks for `write` before the next plan is in force, and gives the answer. */
async function written(write: Write, before: string, next: string, whileHeld?: () => void) {
  let answer: ReturnType<AdminRig["client"]["send"]> | undefined;
  const rig = await startAdminRig({
    config: before,
    beforeCommit: async () => {
      const asked = vi.spyOn(rig.control, "mapsMoving");
      answer = rig.client.send("POST", write.path, write.body);
      // It is answered at once, or waits.
      await Promise.race([answer, vi.waitFor(() => expect(asked).toHaveBeenCalled())]);
      if (whileHeld === undefined) return;
      whileHeld();
      await answer;
    },
  });
  try {
    const { client } = rig;
    const ask = async (path: string, body?: unknown) => {
      const done = await client.send("POST", path, body);
      return done.ok ? done.value : done.error.code;
    };
    expect(await ask("/v1/maps/nested%2Ftenants/update", { key: 60, value: "strict" })).toEqual({
      done: true,
    });
    rig.write(next);
    expect(await ask("/v1/reload")).toMatchObject({ listeners: { kept: ["udp"] } });
    const done = await answer!;
    return {
      answer: done.ok ? done.value : done.error,
      read: (map: string, key?: unknown) =>
        ask(`/v1/maps/${encodeURIComponent(map)}/lookup`, { key }),
      stop: () => rig.stop(),
    };
  } catch (error) {
    await rig.stop();
    throw error;
  }
}

describe("what is written to a map while a reload moves it", () => {
  for (const { name, write, map, key, after } of [
    {
      name: "an entry of a map of maps",
      write: { path: "/v1/maps/nested%2Ftenants/update", body: { key: 61, value: "loose" } },
      map: "nested/tenants",
      key: 61,
      after: { key: 61, value: "loose", inner_map: "loose" },
    },
    {
      name: "a deletion in a map of maps",
      write: { path: "/v1/maps/nested%2Ftenants/delete", body: { key: 60 } },
      map: "nested/tenants",
      key: 60,
      after: "MAP_NO_ENTRY",
    },
    {
      name: "an entry that only the config before has",
      write: { path: "/v1/maps/nested%2Fstrict/update", body: { key: 7, value: 5 } },
      map: "nested/strict",
      key: 7,
      after: { key: 7, value: 5 },
    },
  ])
    test(`is in the one that goes on: ${name}`, async () => {
      const { read, stop } = await written(write, config("[{ key: 7, value: 1 }]"), config("[]"));
      expect(await read(map, key)).toEqual(after);
      await stop();
    });
});

test("a write is refused where a reload moves maps for longer than a client waits", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { answer, read, stop } = await written(
    { path: "/v1/maps/nested%2Ftenants/update", body: { key: 61, value: "loose" } },
    config("[]"),
    config("[]"),
    () => vi.advanceTimersByTime(5_000),
  );
  expect(answer).toMatchObject({ code: "MAP_MOVING", fix: "try again when it is over" });
  expect(await read("nested/tenants", 61)).toBe("MAP_NO_ENTRY");
  await stop();
});
