import { expect, test } from "vitest";
import { Inventory, type InventoryParts } from "../../src/admin/inventory.ts";

const refusedMaps = [
  { name: "peers", code: "MAP_TYPE_UNSUPPORTED", what: "its type is sockmap", fix: "use another" },
];
const inventory = new Inventory({
  plan: { filters: [] },
  filters: [{ name: "guard", object: { refusedMaps }, maps: [], plans: [], tailCalled: [] }],
} as unknown as InventoryParts);

for (const reference of ["peers", "guard/peers"])
  test(`a map that an object declares and that cannot be is told of by its reason: ${reference}`, () => {
    expect(inventory.map(reference)).toMatchObject({
      ok: false,
      error: {
        code: "MAP_TYPE_UNSUPPORTED",
        message: 'filter guard: map "peers" cannot be: its type is sockmap; use another',
      },
    });
  });

test("a map that nobody declares is unknown", () => {
  expect(inventory.map("other/peers")).toMatchObject({ ok: false, error: { code: "MAP_UNKNOWN" } });
});
