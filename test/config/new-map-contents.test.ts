import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { putU32le } from "../../src/common/bytes.ts";
import { parseConfig } from "../../src/config/load-config.ts";
import { memoryNeed } from "../../src/config/memory-need.ts";
import { pinFile } from "../../src/config/pin-place.ts";
import { type PreparedProxy, preparePlan } from "../../src/config/prepare-plan.ts";
import { isShared, sharingProblem } from "../../src/config/shared-maps.ts";
import { mapSpec, openMap } from "../maps/open-map.ts";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { buildProgram } from "../system/truth-rig.ts";

/** What a config says of maps without keys, maps of maps, and pinned ones. */
const test = needing("clang");
const folder = temporaryFolder();
afterAll(() => folder.remove());

writeFileSync(
  join(folder.path, "pinned.c"),
  `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct bpf_elf_map {
  __u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
};
struct bpf_elf_map SEC("maps") counts = {
  .type = BPF_MAP_TYPE_ARRAY, .size_key = 4, .size_value = 8, .max_elem = 1, .pinning = PINNING
};
SEC("classifier") int f(struct __sk_buff *skb) {
  __u32 key = 0;
  __u64 *count = bpf_map_lookup_elem(&counts, &key);
  return count ? GUARD : 0;
}
char _license[] SEC("license") = "GPL";
`,
);

function configOf(maps: string, more = ""): string {
  return `version: 1
${more}
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
  a:
    object: ${buildProgram("events")}
    maps: ${maps}
listeners: [ { name: l, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [a] } ]
`;
}

function problemsOf(maps: string, more = ""): string[] {
  const config = parseConfig(configOf(maps, more), join(folder.path, "weir.yaml"));
  return config.ok ? [] : config.error.map(({ message }) => message.replace(/^.*?: /, ""));
}

for (const { maps, says } of [
  {
    maps: "{ tokens: { entries: [ { key: 1, value: 1 } ] } }",
    says: /tokens.entries\[0\].key: map tokens is a queue, which has no keys; remove the key/,
  },
  {
    maps: "{ ports: { entries: [ { value: 1 } ] } }",
    says: /ports.entries\[0\]: the key is missing; add key:/,
  },
  {
    maps: "{ ring: { entries: [ { value: 1 } ] } }",
    says: /ring.entries\[0\].value: a map of type ringbuf has no entries to be written/,
  },
  {
    maps: `{ tokens: { entries: [ ${"{ value: 1 }, ".repeat(9)} ] } }`,
    says: /map tokens takes 8 entries, and this is one more/,
  },
  {
    maps: "{ tenants: { entries: [ { key: 1, value: prots } ] } }",
    says: /no map "prots" in .*; did you mean "?ports/,
  },
  {
    maps: "{ tenants: { entries: [ { key: 1, value: 7 } ] } }",
    says: /the value of a map of maps is the name of a map/,
  },
  {
    maps: "{ tenants: { entries: [ { key: 1, value: seen } ] } }",
    says: /map "seen" is not such a map as tenants is declared to hold; write ports/,
  },
  {
    maps: "{ fresh: { innerOf: seen } }",
    says: /fresh.innerOf: .* has no map of maps "seen"; .*tenants/,
  },
  {
    maps: "{ fresh: { innerOf: nothing, entries: [ { key: 1, value: 2 } ] } }",
    says: /fresh.innerOf: .* has no map of maps "nothing"; .*tenants/,
  },
  {
    maps: "{ ports: { innerOf: tenants } }",
    says: /ports.innerOf: .* has a map of that name; choose another name/,
  },
  {
    maps: "{ ports: { maxEntries: 9 } }",
    says: /ports.maxEntries: the object says how many entries its maps have; remove it/,
  },
  {
    maps: `{ fresh: { innerOf: tenants, maxEntries: 2, entries: [ ${[1, 2, 3].map((n) => `{ key: ${n}, value: ${n} }`).join(", ")} ] } }`,
    says: /map fresh takes 2 entries, and this is one more/,
  },
  { maps: "{ seen: { pin: true } }", says: /map "seen" has no place to be kept; add stateDir:/ },
])
  test(`a config is refused: ${says.source}`, () => {
    const problems = problemsOf(maps);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(says);
  });

test("maps that mean nothing after a restart are not pinned", () => {
  for (const map of ["ring", "events", "tenants"])
    expect(problemsOf(`{ ${map}: { pin: true } }`, "stateDir: pins")[0]).toMatch(
      /cannot be kept across restarts; remove pin/,
    );
});

test("the memory a config needs is what it takes, and a shared map is counted once", async () => {
  const text = configOf("{}").replace(
    "listeners:",
    `  b: { object: ${buildProgram("events")} }\nlisteners:`,
  );
  const config = parseConfig(text, join(folder.path, "weir.yaml"));
  if (!config.ok) throw config.error[0];
  const prepared = await preparePlan(config.value);
  if (!prepared.ok) throw prepared.error[0];
  const { arena, filters } = prepared.value;
  const shape = { listeners: 1, addresses: 1 };
  expect(memoryNeed(config.value.filters, shape, 1).bytes).toBe(arena.usedBytes);
  const [first, second] = filters.map(({ maps }) => new Map(maps.map((map) => [map.name, map])));
  expect(second!.get("shared")!.handle).toBe(first!.get("shared")!.handle);
  expect(second!.get("seen")!.handle).not.toBe(first!.get("seen")!.handle);
});

test("a config makes maps that a map of maps is declared to hold, and a reload keeps what is in them", async () => {
  const inner = (entries: string) =>
    configOf(
      `{ fresh: { innerOf: tenants, maxEntries: 9, entries: [ ${entries} ] }, tenants: { entries: [ { key: 5, value: fresh } ] } }`,
    );
  const plans: PreparedProxy[] = [];
  for (const text of [
    inner("{ key: 1, value: 2 }"),
    inner("{ key: 1, value: 2 }, { key: 3, value: 4 }"),
  ]) {
    const config = parseConfig(text, join(folder.path, "weir.yaml"));
    if (!config.ok) throw config.error[0];
    const prepared = await preparePlan(config.value, plans[0] && { before: plans[0] });
    if (!prepared.ok) throw prepared.error[0];
    plans.push(prepared.value);
  }
  const [first, second] = plans.map(
    ({ filters }) => new Map(filters[0]!.maps.map((map) => [map.name, map])),
  );
  const fresh = first!.get("fresh")!;
  expect(fresh.handle).toMatchObject({ type: "hash", keySize: 4, valueSize: 4, maxEntries: 9 });
  expect(fresh.source.lookup(u32(1))).toEqual([u32(2)]);
  expect(first!.get("tenants")!.source.lookup(u32(5))).toEqual([u32(fresh.handle.descriptor)]);
  expect(second!.get("fresh")!.handle).toBe(fresh.handle);
});

function u32(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  putU32le(bytes, 0, number);
  return bytes;
}

for (const { pinning, sharing, says } of [
  { pinning: 0, sharing: [0, 1, 2], says: "not pinned is each filter's own" },
  { pinning: 1, sharing: [0, 0, 2], says: "of PIN_OBJECT_NS is one for filters of one object" },
  { pinning: 2, sharing: [0, 0, 0], says: "of PIN_GLOBAL_NS is one for all filters" },
  {
    pinning: 7,
    sharing: [0, 1, 2],
    says: "of a place that iproute2 does not know is each filter's own",
  },
])
  test(`an iproute2 map ${says}`, async () => {
    const objects = ["-DGUARD=1", "-DGUARD=1", "-DGUARD=2"].map((flag) =>
      build(`${folder.path}/pinned.c`, flag, `-DPINNING=${pinning}`, "-g0"),
    );
    const text = `version: 1
upstreams: { app: { addresses: ["127.0.0.1:9"] } }
filters:
${objects.map((object, i) => `  f${i}: { object: ${object} }`).join("\n")}
listeners: [ { name: l, protocol: udp, listen: "127.0.0.1:0", upstream: app, ingress: [f0] } ]
`;
    const config = parseConfig(text, join(folder.path, "weir.yaml"));
    if (!config.ok) throw config.error[0];
    const prepared = await preparePlan(config.value);
    if (!prepared.ok) throw prepared.error[0];
    const { arena, filters } = prepared.value;
    const handles = filters.map(({ maps }) => maps.find(({ name }) => name === "counts")!.handle);
    expect(handles.map((handle) => handles.indexOf(handle))).toEqual(sharing);
    const shape = { listeners: 1, addresses: 1 };
    expect(memoryNeed(config.value.filters, shape, 1).bytes).toBe(arena.usedBytes);
    const pins = config.value.filters.map(({ name, object }) => pinFile("", name, object.maps[0]!));
    expect(pins.map((pin) => pins.indexOf(pin))).toEqual(sharing);
  });

test("a map pinned by a name that another filter uses for one of another kind is refused", () => {
  const { handle } = openMap(mapSpec("hash", 4, 8, 10, { name: "m" }));
  const known = { handle, filter: "first" };
  const pinned = { name: "m", pinning: "by_name" } as const;
  expect(sharingProblem(mapSpec("hash", 4, 8, 10, pinned), known)).toBeUndefined();
  for (const [spec, says] of [
    [mapSpec("array", 4, 8, 10, pinned), "of type hash where this one's is array"],
    [mapSpec("hash", 8, 8, 10, pinned), "of key size 4 where this one's is 8"],
    [mapSpec("hash", 4, 4, 10, pinned), "of value size 8 where this one's is 4"],
    [mapSpec("hash", 4, 8, 11, pinned), "of max_entries 10 where this one's is 11"],
    [mapSpec("hash", 4, 8, 10, { ...pinned, flags: 1 }), "of map_flags 0 where this one's is 1"],
  ] as const) {
    const problem = sharingProblem(spec, known);
    expect(problem?.code).toBe("MAP_PIN_MISMATCH");
    expect(problem?.message).toContain(`filter first has pinned a map by, ${says}`);
  }
  expect(isShared(mapSpec("prog_array", 4, 4, 1, pinned), { shadow: false })).toBe(false);
  expect(isShared(mapSpec("hash", 4, 8, 10, pinned), { shadow: false })).toBe(true);
  expect(isShared(mapSpec("hash", 4, 8, 10, pinned), { shadow: true })).toBe(false);
});
