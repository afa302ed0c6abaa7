import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { putU32le, u32le } from "../../src/common/bytes.ts";
import { parseConfig } from "../../src/config/load-config.ts";
import { type PreparedProxy, preparePlan } from "../../src/config/prepare-plan.ts";
import { settleMaps } from "../../src/config/settle-maps.ts";
import type { MapAccess } from "../../src/maps/map-access.ts";
import { build } from "../object/clang.ts";
import { value } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";

const test = needing("clang");
const source = fileURLToPath(new URL("reload-map.c", import.meta.url));

/** A filter with a map for so many entries, into which the config puts these keys, each with a 9. */
async function planOf(
  { room, keys }: { readonly room: number; readonly keys: readonly number[] },
  before?: PreparedProxy,
): Promise<PreparedProxy> {
  const entries = keys.map((key) => `{ key: ${key}, value: 9 }`).join(", ");
  const text = `version: 1
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters: { f: { object: ${build(source, `-DENTRIES=${room}`)}, maps: { counts: { entries: [${entries}] } } } }
listeners: [ { name: l, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [f] } ]
`;
  const config = value(parseConfig(text, "/weir.yaml"));
  return value(await preparePlan(config, before && { before }));
}

function countsOf({ filters }: PreparedProxy): MapAccess {
  return filters[0]!.maps.find(({ name }) => name === "counts")!.source;
}

function bytes(number: number, length: number): Uint8Array {
  const made = new Uint8Array(length);
  putU32le(made, 0, number);
  return made;
}

function held(map: MapAccess): Record<number, number> {
  return Object.fromEntries(
    [...map.entries()].map(({ key, values }) => [u32le(key, 0), u32le(values[0]!, 0)]),
  );
}

for (const { name, first, next, succession, left } of [
  {
    name: "a larger map",
    first: { room: 4, keys: [1, 2] },
    next: { room: 8, keys: [3] },
    succession: "grown",
    left: { 1: 7, 3: 9 },
  },
  {
    name: "a smaller map",
    first: { room: 4, keys: [1, 2] },
    next: { room: 3, keys: [3] },
    succession: "moved",
    left: { 1: 7, 3: 9 },
  },
  {
    name: "another map for want of room",
    first: { room: 2, keys: [1, 2] },
    next: { room: 2, keys: [3] },
    succession: "moved",
    left: { 1: 7, 3: 9 },
  },
  {
    name: "the same map, where it is still the config's,",
    first: { room: 4, keys: [1, 2] },
    next: { room: 4, keys: [3] },
    succession: "kept",
    left: { 3: 9 },
  },
])
  test(`an entry that the config no longer has, written again by a program in ${name} ${1 in left ? "stays" : "goes"}`, async () => {
    const before = await planOf(first);
    const after = await planOf(next, before);
    expect(after.filters[0]!.maps.find((map) => map.name === "counts")!.succession).toBe(
      succession,
    );
    const settled = value(await settleMaps(after, before));
    expect(countsOf(after).update(bytes(1, 4), bytes(7, 8))).toBe(0);
    expect(await settled.clear()).toEqual([]);
    expect(held(countsOf(after))).toEqual(left);
  });
