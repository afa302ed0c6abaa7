import { expect, test } from "vitest";
import { putU32le } from "../../src/common/bytes.ts";
import { errno } from "../../src/common/errno.ts";
import { createMap, releaseMap } from "../../src/maps/create-map.ts";
import { placeInnerMaps } from "../../src/maps/place-inner-maps.ts";
import type { MapSpec } from "../../src/object/object-spec.ts";
import { bytesOf } from "./numbers.ts";
import { mapSpec, openArena, openMap } from "./open-map.ts";

const inner = mapSpec("hash", 4, 8, 10, { name: "inner" });

function descriptorBytes(descriptor: number): Uint8Array {
  const bytes = new Uint8Array(4);
  putU32le(bytes, 0, descriptor);
  return bytes;
}

for (const type of ["array_of_maps", "hash_of_maps"] as const) {
  const outer = mapSpec(type, 4, 4, 3, { inner });

  test(`an ${type} takes maps like its template, and no number that is none`, () => {
    const place = openArena();
    const { access } = openMap(outer, 2, place);
    const fits = openMap(mapSpec("hash", 4, 8, 999), 2, place).handle;
    expect(access.putMap(bytesOf(1, 4), fits)).toBe(0);
    expect(access.lookup(bytesOf(1, 4))).toEqual([descriptorBytes(fits.descriptor)]);
    expect(access.count).toBe(1);
    for (const number of [0, 4, fits.descriptor + 64, 0xffff_ffff])
      expect(access.update(bytesOf(2, 4), descriptorBytes(number)), String(number)).toBe(
        -errno.EBADF,
      );
    for (const other of [
      mapSpec("hash", 8, 8, 10),
      mapSpec("hash", 4, 4, 10),
      mapSpec("lru_hash", 4, 8, 10),
      mapSpec("hash", 4, 8, 10, { flags: 1 }),
      mapSpec("hash", 4, 8, 10, { spinLock: 0 }),
    ])
      expect(access.putMap(bytesOf(2, 4), openMap(other, 2, place).handle)).toBe(-errno.EINVAL);
    expect(access.count).toBe(1);
    expect(access.remove(bytesOf(1, 4))).toBe(0);
    expect(access.count).toBe(0);
  });

  test(`an ${type} does not take a map that was released`, () => {
    const place = openArena();
    const { access } = openMap(outer, 2, place);
    const { handle } = openMap(inner, 2, place);
    releaseMap(handle, place.arena);
    expect(access.putMap(bytesOf(0, 4), handle)).toBe(-errno.EBADF);
  });
}

test("arrays are alike only with as many entries, unless BPF_F_INNER_MAP says otherwise", () => {
  for (const [flags, result] of [
    [0, -errno.EINVAL],
    [1 << 12, 0],
  ] as const) {
    const place = openArena();
    const template = mapSpec("array", 4, 8, 3, { flags });
    const { access } = openMap(mapSpec("array_of_maps", 4, 4, 2, { inner: template }), 1, place);
    const longer = openMap(mapSpec("array", 4, 8, 4, { flags }), 1, place).handle;
    expect(access.putMap(bytesOf(0, 4), longer)).toBe(result);
  }
});

for (const { what, slots, others, says } of [
  {
    what: "names no map",
    slots: [{ index: 0, name: "nowhere" }],
    others: [],
    says: 'no map "nowhere"',
  },
  {
    what: "names a map of another kind",
    slots: [{ index: 0, name: "odd" }],
    others: [mapSpec("hash", 4, 16, 10, { name: "odd" })],
    says: "map odd (hash, key 4, value 16, max_entries 10, flags 0) is not what map outer holds",
  },
  {
    what: "lies beyond the map",
    slots: [{ index: 3, name: "inner" }],
    others: [inner],
    says: "error 7",
  },
] satisfies { what: string; slots: MapSpec["slots"]; others: MapSpec[]; says: string }[])
  test(`a slot of the object that ${what} is refused by name`, () => {
    const { arena, runtime } = openArena();
    const specs = [mapSpec("array_of_maps", 4, 4, 3, { name: "outer", inner, slots }), ...others];
    const handles = specs.map((spec) => {
      const handle = createMap(spec, arena, runtime, 1);
      if (!handle.ok) throw handle.error;
      return handle.value;
    });
    const error = placeInnerMaps(specs, handles, arena, runtime);
    expect(error?.where).toMatch(/^map outer\[\d\]$/);
    expect(error?.message).toContain(says);
  });
