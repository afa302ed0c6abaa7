import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { pinFile } from "../../src/config/pin-place.ts";
import { PinKeeper, restorePin, startKeeping } from "../../src/config/pinned-maps.ts";
import type { MapSpec } from "../../src/object/object-spec.ts";
import { bytesOf } from "../maps/numbers.ts";
import { mapSpec, type OpenMap, openMap } from "../maps/open-map.ts";

const folder = mkdtempSync(join(tmpdir(), "weir-pins-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const newFile = (): string => join(folder, String(++files), "m.map");

function contents({ access }: OpenMap): string[] {
  return [...access.entries()].map(
    ({ key, values }) => `${toHex(key)}=${values.map(toHex).join(" ")}`,
  );
}

const specs: readonly MapSpec[] = [
  mapSpec("array", 4, 6, 3),
  mapSpec("percpu_array", 4, 6, 3),
  mapSpec("hash", 7, 3, 20),
  mapSpec("percpu_hash", 4, 8, 20),
  mapSpec("lru_hash", 4, 8, 20),
  mapSpec("lru_percpu_hash", 4, 8, 20),
  mapSpec("lpm_trie", 8, 4, 20),
  mapSpec("queue", 0, 4, 20),
  mapSpec("stack", 0, 4, 20),
  mapSpec("devmap", 4, 4, 20),
  mapSpec("devmap_hash", 4, 4, 20),
];

for (const spec of specs)
  test(`a ${spec.type} holds after a restart what it held before`, async () => {
    const file = newFile();
    const before = openMap(spec, 3);
    const entries = Math.min(spec.maxEntries, 9);
    for (let i = 0; i < entries; i++) {
      const key = spec.type === "lpm_trie" ? bytesOf(8 + i, 8) : bytesOf(i, spec.keySize);
      const values = Array.from({ length: before.handle.cpus }, (_, cpu) =>
        bytesOf(100 * i + cpu + 1, spec.valueSize),
      );
      expect(before.access.update(key, values)).toBe(0);
    }
    expect(await new PinKeeper([{ map: before.access, file }]).save()).toEqual([]);
    const after = openMap(spec, 3);
    expect(restorePin(after.access, file)).toBeUndefined();
    const [ours, theirs] = [contents(after), contents(before)];
    expect(ours).toHaveLength(spec.type.endsWith("array") ? spec.maxEntries : entries);
    if (spec.type.includes("hash")) expect(ours.toSorted()).toEqual(theirs.toSorted());
    else expect(ours).toEqual(theirs);
  });

test("a map that was never saved starts as its object has it", () => {
  const map = openMap(mapSpec("hash", 4, 4, 4));
  expect(restorePin(map.access, newFile())).toBeUndefined();
  expect(contents(map)).toEqual([]);
});

async function saved(spec: MapSpec, cpus = 2): Promise<string> {
  const file = newFile();
  const map = openMap(spec, cpus);
  for (let i = 0; i < 3; i++)
    map.access.update(bytesOf(i, spec.keySize), bytesOf(i, spec.valueSize));
  await new PinKeeper([{ map: map.access, file }]).save();
  return file;
}

const hash = mapSpec("hash", 4, 4, 4);

for (const { what, spec, says } of [
  {
    what: "type",
    spec: mapSpec("lru_hash", 4, 4, 4),
    says: "with type hash, and the object's has lru_hash",
  },
  { what: "key size", spec: mapSpec("hash", 8, 4, 4), says: "key size 4, and the object's has 8" },
  { what: "value size", spec: mapSpec("hash", 4, 8, 4), says: "value size 4, and" },
  { what: "flags", spec: mapSpec("hash", 4, 4, 4, { flags: 1 }), says: "map_flags 0, and" },
  {
    what: "room",
    spec: mapSpec("hash", 4, 4, 2),
    says: "3 entries, and the object's has room for 2",
  },
])
  test(`a saved map of another ${what} is refused by name, and left as it is`, async () => {
    const file = await saved(hash);
    const before = readFileSync(file);
    const error = restorePin(openMap(spec).access, file);
    expect(error?.code).toBe("PIN_MISMATCH");
    expect(error?.message).toContain(`${file}: holds map m with`);
    expect(error?.message).toContain(says);
    expect(readFileSync(file)).toEqual(before);
  });

test("a map with more room, or with more workers, takes over what was saved", async () => {
  const larger = openMap(mapSpec("hash", 4, 4, 400));
  expect(restorePin(larger.access, await saved(hash))).toBeUndefined();
  expect(contents(larger)).toHaveLength(3);
  const perCpu = mapSpec("percpu_hash", 4, 4, 4);
  const wider = openMap(perCpu, 3);
  expect(restorePin(wider.access, await saved(perCpu, 2))).toBeUndefined();
  expect(wider.access.lookup(bytesOf(2, 4))).toEqual([bytesOf(2, 4), bytesOf(2, 4), bytesOf(0, 4)]);
  const error = restorePin(openMap(perCpu, 1).access, await saved(perCpu, 2));
  expect(error?.message).toContain("values of 2 workers, and there are 1");
});

test("a file that is cut short, changed anywhere, or of another kind is told as damaged", async () => {
  const file = await saved(hash);
  const sound = readFileSync(file);
  const broken: Buffer[] = [Buffer.alloc(0), Buffer.from("hello"), sound.subarray(0, 20)];
  for (let at = 0; at < sound.length; at++) {
    const changed = Buffer.from(sound);
    changed[at]! ^= 1;
    broken.push(changed, sound.subarray(0, at));
  }
  for (const bytes of broken) {
    writeFileSync(file, bytes);
    const map = openMap(hash);
    expect(restorePin(map.access, file)?.code).toBe("PIN_CORRUPT");
    expect(contents(map), "nothing of it is taken over").toEqual([]);
  }
});

test("saving leaves one file, and nothing is written where nothing has changed", async () => {
  const file = newFile();
  const map = openMap(hash);
  const keeper = new PinKeeper([{ map: map.access, file }]);
  expect(await keeper.save()).toEqual([]);
  rmSync(file);
  expect(await keeper.save()).toEqual([]);
  expect(readdirSync(join(file, ".."))).toEqual([]);
  map.access.update(bytesOf(1, 4), bytesOf(1, 4));
  expect(await keeper.save()).toEqual([]);
  expect(readdirSync(join(file, ".."))).toEqual(["m.map"]);
});

test("a map that cannot be saved is told by name, again and again, and the others are saved", async () => {
  const blocked = join(folder, "blocked");
  mkdirSync(join(blocked, "m.map"), { recursive: true });
  const map = openMap(hash).access;
  const other = newFile();
  const keeper = new PinKeeper([
    { map, file: join(blocked, "m.map") },
    { map, file: other },
  ]);
  for (let i = 0; i < 2; i++) {
    const [error, ...rest] = await keeper.save();
    expect(rest).toEqual([]);
    expect(error?.code).toBe("PIN_UNWRITABLE");
    expect(error?.message).toContain("map m cannot be saved (EISDIR)");
  }
  expect(readdirSync(blocked)).toEqual(["m.map"]);
  expect(readFileSync(other).length).toBeGreaterThan(0);
});

test("keeping saves at the end what came after the last time", async () => {
  const file = newFile();
  const map = openMap(hash);
  const errors: Error[] = [];
  const keeping = startKeeping(new PinKeeper([{ map: map.access, file }]), (e) => errors.push(e));
  map.access.update(bytesOf(3, 4), bytesOf(9, 4));
  await keeping.stop();
  const after = openMap(hash);
  expect(restorePin(after.access, file)).toBeUndefined();
  expect(contents(after)).toEqual(["03000000=09000000"]);
  expect(errors).toEqual([]);
});

test("maps pinned by name have one file for all filters, others one a filter", () => {
  expect(pinFile("/s", "a", mapSpec("hash", 4, 4, 4, { pinning: "by_name" }))).toBe("/s/m.map");
  expect(pinFile("/s", "a", hash)).toBe("/s/a.m.map");
  expect(pinFile("/s", "a", mapSpec("hash", 4, 4, 4, { name: "../x/y" }))).toBe(
    "/s/a...%2Fx%2Fy.map",
  );
});
