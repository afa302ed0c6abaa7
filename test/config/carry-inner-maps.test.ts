import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect } from "vitest";
import { putU32le, u32le } from "../../src/common/bytes.ts";
import { parseConfig } from "../../src/config/load-config.ts";
import type { PreparedMap } from "../../src/config/prepare-filter.ts";
import { type PreparedProxy, preparePlan } from "../../src/config/prepare-plan.ts";
import { type SettledMaps, settleMaps } from "../../src/config/settle-maps.ts";
import { build } from "../object/clang.ts";
import { value } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";

/** What maps of maps go on with, from filter to filter and from config to config. */
const test = needing("clang");
const folder = temporaryFolder();
afterAll(() => folder.remove());

writeFileSync(
  join(folder.path, "nested.c"),
  `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct inner {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, VALUE);
};
struct inner first SEC(".maps");
struct inner second SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 4);
  __type(key, __u32);
#ifdef PINNED
  __uint(pinning, LIBBPF_PIN_BY_NAME);
#endif
  __array(values, struct inner);
} slots SEC(".maps") = { .values = { [0] = &first, [1] = &second } };
struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, ROOM);
  __type(key, __u32);
  __array(values, struct inner);
} tenants SEC(".maps");
SEC("xdp") int pass(struct xdp_md *x) {
  __u32 key = 0;
  void *in = bpf_map_lookup_elem(&slots, &key);
  if (!in) in = bpf_map_lookup_elem(&tenants, &key);
  return in && bpf_map_lookup_elem(in, &key) ? XDP_DROP : XDP_PASS;
}
char _license[] SEC("license") = "GPL";
`,
);

function objectOf({ inner = "__u64", room = 4, pinned = false }): string {
  return build(
    `${folder.path}/nested.c`,
    `-DVALUE=${inner}`,
    `-DROOM=${room}`,
    ...(pinned ? ["-DPINNED"] : []),
  );
}

interface Written {
  readonly maps?: string;
  readonly inner?: string;
  readonly room?: number;
  readonly more?: string;
}

function configOf(filters: readonly (Written & { readonly pinned?: boolean })[]): string {
  const names = ["a", "b"];
  const written = filters.map(
    ({ maps = "", more = "", ...shape }, i) =>
      `  ${names[i]}: { object: ${objectOf(shape)}, maps: { ${maps} } ${more} }`,
  );
  return `version: 1
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
${written.join("\n")}
listeners: [ { name: l, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [a] } ]
`;
}

async function planOf(text: string, before?: PreparedProxy): Promise<PreparedProxy> {
  const config = value(parseConfig(text, join(folder.path, "weir.yaml")));
  return value(await preparePlan(config, before && { before }));
}

/** A plan, and the one that a reload makes of it once `change` has happened. */
class Reload {
  readonly first: PreparedProxy;
  next!: PreparedProxy;
  settled!: SettledMaps;

  private constructor(first: PreparedProxy) {
    this.first = first;
  }

  static async of(text: string): Promise<Reload> {
    return new Reload(await planOf(text));
  }

  async to(text: string): Promise<readonly string[]> {
    this.next = await planOf(text, this.first);
    this.settled = value(await settleMaps(this.next, this.first));
    expect(await this.settled.clear()).toEqual([]);
    return this.settled.warnings;
  }
}

function mapOf(plan: PreparedProxy, name: string, filter = 0): PreparedMap {
  return plan.filters[filter]!.maps.find((map) => map.name === name)!;
}

function u32(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  putU32le(bytes, 0, number);
  return bytes;
}

/** What a map of maps holds: key and the name of the plan's map there. */
function held(plan: PreparedProxy, outer: string): Record<number, string | undefined> {
  const maps = plan.filters.flatMap(({ name, maps: all }) =>
    all.map(({ handle, name: map }) => ({ descriptor: handle.descriptor, text: `${name}.${map}` })),
  );
  return Object.fromEntries(
    [...mapOf(plan, outer).source.entries()].map(({ key, values }) => [
      u32le(key, 0),
      maps.find(({ descriptor }) => descriptor === u32le(values[0]!, 0))?.text,
    ]),
  );
}

function put(plan: PreparedProxy, outer: string, key: number, inner: string): void {
  const result = mapOf(plan, outer).source.putMap(u32(key), mapOf(plan, inner).handle);
  expect(result).toBe(0);
}

describe("a map of maps that filters share", () => {
  test("holds the maps of the filter that makes it; those after it put in what the config says", async () => {
    const plan = await planOf(
      configOf([
        { pinned: true },
        { pinned: true, maps: "slots: { entries: [ { key: 3, value: second } ] }" },
      ]),
    );
    expect(mapOf(plan, "slots", 1).handle).toBe(mapOf(plan, "slots").handle);
    expect(held(plan, "slots")).toEqual({ 0: "a.first", 1: "a.second", 3: "b.second" });
  });

  test("goes on with what it holds of each of them", async () => {
    const text = configOf([
      { pinned: true },
      { pinned: true, maps: "slots: { entries: [ { key: 3, value: second } ] }" },
    ]);
    const reload = await Reload.of(text);
    expect(mapOf(reload.first, "slots").source.remove(u32(1))).toBe(0);
    const other = mapOf(reload.first, "first", 1).handle;
    expect(mapOf(reload.first, "slots").source.putMap(u32(2), other)).toBe(0);
    expect(await reload.to(text)).toEqual([]);
    expect(held(reload.next, "slots")).toEqual({ 0: "a.first", 2: "b.first", 3: "b.second" });
  });
});

describe("after a reload a map of maps", () => {
  const acme = "acme: { innerOf: tenants }";
  const tenants = "tenants: { entries: [ { key: 7, value: acme } ] }";

  test("holds what was put in at run time, and not what was taken out", async () => {
    const text = configOf([{ maps: `${acme}, ${tenants}` }]);
    const reload = await Reload.of(text);
    expect(held(reload.first, "slots")).toEqual({ 0: "a.first", 1: "a.second" });
    put(reload.first, "tenants", 8, "second");
    put(reload.first, "slots", 0, "acme");
    expect(mapOf(reload.first, "slots").source.remove(u32(1))).toBe(0);
    expect(await reload.to(text)).toEqual([]);
    expect(held(reload.next, "slots")).toEqual({ 0: "a.acme" });
    expect(held(reload.next, "tenants")).toEqual({ 7: "a.acme", 8: "a.second" });
  });

  test("names a map that has grown by its new memory", async () => {
    const reload = await Reload.of(configOf([{ maps: acme }]));
    put(reload.first, "tenants", 8, "acme");
    const more = "acme: { innerOf: tenants, maxEntries: 99 }";
    expect(await reload.to(configOf([{ maps: more }]))).toEqual([]);
    expect(held(reload.next, "tenants")).toEqual({ 8: "a.acme" });
    const [before, now] = [mapOf(reload.first, "acme"), mapOf(reload.next, "acme")];
    expect(now.handle.descriptor).not.toBe(before.handle.descriptor);
  });

  test("has what the config puts there now, and no longer what only the one before did", async () => {
    const reload = await Reload.of(configOf([{ maps: `${acme}, ${tenants}` }]));
    put(reload.first, "tenants", 9, "first");
    const now = `zeta: { innerOf: tenants }, ${acme}, tenants: { entries: [ { key: 9, value: zeta } ] }`;
    expect(await reload.to(configOf([{ maps: now }]))).toEqual([]);
    expect(held(reload.next, "tenants")).toEqual({ 9: "a.zeta" });
  });

  test("leaves an entry alone that a command changed and the config has as before", async () => {
    const text = (more: string) => configOf([{ maps: `${more} ${acme}, ${tenants}` }]);
    const reload = await Reload.of(text(""));
    put(reload.first, "tenants", 7, "first");
    // The config's map has another place now.
    expect(await reload.to(text("abel: { innerOf: tenants },"))).toEqual([]);
    expect(held(reload.next, "tenants")).toEqual({ 7: "a.first" });
  });

  test("drops entries whose map is gone, and says so", async () => {
    const reload = await Reload.of(configOf([{ maps: `${acme}, ${tenants}` }]));
    put(reload.first, "tenants", 8, "acme");
    put(reload.first, "tenants", 9, "second");
    expect(await reload.to(configOf([{}]))).toEqual([
      "filter a: map tenants no longer has 8: map acme is gone",
    ]);
    expect(held(reload.next, "tenants")).toEqual({ 9: "a.second" });
  });

  test("drops entries whose map it is not declared to hold any more, and says so", async () => {
    const reload = await Reload.of(configOf([{}]));
    put(reload.first, "tenants", 8, "second");
    const next = configOf([{ inner: "__u32", more: ", onSchemaChange: reset" }]);
    expect(await reload.to(next)).toEqual([]);
    expect(held(reload.next, "tenants")).toEqual({ 8: "a.second" });
    expect(mapOf(reload.next, "second").handle.valueSize).toBe(4);
  });

  test("refuses to be smaller than what it holds", async () => {
    const reload = await Reload.of(configOf([{}]));
    for (const key of [1, 2]) put(reload.first, "tenants", key, "first");
    const next = await planOf(configOf([{ room: 1 }]), reload.first);
    const settled = await settleMaps(next, reload.first);
    expect(settled.ok ? [] : settled.error.map(({ message }) => message)).toEqual([
      expect.stringContaining("filter a: map tenants: cannot keep its contents: its max_entries 4"),
    ]);
  });
});
