import { expect, test } from "vitest";
import { refusedEntry } from "../../src/config/refused-entry.ts";
import { mapSpec, openMap } from "../maps/open-map.ts";
import { word } from "../support/flood.ts";

/** A number, and behind it a program's file descriptor. */
const naming = (number: number, program: number) => Buffer.concat([word(number), word(program)]);

for (const { type, value } of [
  { type: "devmap", value: naming(1, 3) },
  { type: "devmap_hash", value: naming(1, 3) },
  { type: "devmap_hash", value: naming(0, 0) },
  { type: "cpumap", value: naming(64, 3) },
] as const)
  test(`an entry of a ${type} that names a program, or nothing, is told so: ${value.toString("hex")}`, () => {
    const { access } = openMap(mapSpec(type, 4, 8, 2));
    const error = refusedEntry(access, "f.yaml:1:1", access.initialize(word(1), value));
    expect(String(error)).toBe(
      `UserError: f.yaml:1:1: map m refuses the entry: of a ${type} it must not be 0, and can name no program here; leave bpf_prog out: put the program into a chain instead`,
    );
  });

test("an entry of another map that is refused is told why in a word", () => {
  const { access } = openMap(mapSpec("hash", 4, 8, 1));
  access.initialize(word(1), naming(0, 0));
  const error = refusedEntry(access, "f.yaml:1:1", access.initialize(word(2), naming(0, 0)));
  expect(String(error)).toBe("UserError: f.yaml:1:1: map m refuses the entry: the map is full");
});
