import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { linkProgram } from "../../src/engine/link.ts";
import { unplacedMap } from "../../src/maps/map-handle.ts";
import { setGlobal } from "../../src/object/globals.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec } from "../../src/object/object-spec.ts";
import { needing } from "../support/needing.ts";
import { build } from "./clang.ts";

const test = needing("clang");
const file = "parted.o";
const sockmap = "its type, sockmap, holds sockets of the kernel: not available in user space";

function parted(): ObjectSpec {
  const object = loadObject(readFileSync(build("parted.c")), file);
  if (!object.ok) throw object.error;
  return object.value;
}

/** "accepted", or the refusal's code, place (compilers differ in its number) and cause. */
function linked(object: ObjectSpec, name: string): string {
  const program = object.programs.find((one) => one.name === name)!;
  const made = linkProgram(program, object.maps.map(unplacedMap), program.type, { object });
  if (made.ok) return "accepted";
  const { code, where, what } = made.error;
  return `${code} ${where.replace(/\d+ \(.*/, "N")}: ${what}`;
}

test("an object's maps are those that can be; of the others it tells why", () => {
  const { maps, refusedMaps } = parted();
  expect(maps.map(({ name }) => name)).toEqual(["counters", ".rodata"]);
  expect(refusedMaps).toEqual([
    { name: "peers", code: "MAP_TYPE_UNSUPPORTED", what: sockmap, fix: expect.any(String) },
    { name: "unsized", code: "MAP_MAX_ENTRIES", what: "max_entries is 0", fix: expect.any(String) },
    {
      name: "nested",
      code: "MAP_INNER",
      what: "it cannot hold maps of type array_of_maps",
      fix: expect.any(String),
    },
  ]);
});

for (const { program, verdict } of [
  { program: "plain", verdict: "accepted" },
  { program: "guarded", verdict: "accepted" },
  {
    program: "in_sockmap",
    verdict: `MAP_TYPE_UNSUPPORTED ${file}, program in_sockmap, section "xdp", instruction N: uses map "peers", which cannot be: ${sockmap}`,
  },
  {
    program: "in_unsized",
    verdict: `MAP_MAX_ENTRIES ${file}, program in_unsized, section "xdp", instruction N: uses map "unsized", which cannot be: max_entries is 0`,
  },
  {
    program: "in_nested",
    verdict: `MAP_INNER ${file}, program in_nested, section "xdp", instruction N: uses map "nested", which cannot be: it cannot hold maps of type array_of_maps`,
  },
  {
    program: "verdict",
    verdict: `PROGRAM_TYPE_UNKNOWN ${file}, program verdict: programs of section "sk_skb/stream_verdict" attach to the kernel, and see no packets of a proxy`,
  },
])
  test(`what a program asks of the kernel is told of it, and of no other: ${program}`, () => {
    expect(linked(parted(), program)).toBe(verdict);
  });

test("an extern that only a kernel has is refused where a path comes to it", () => {
  const set = setGlobal(parted(), "asks_kernel", 1);
  if (!set.ok) throw set.error;
  expect(linked(set.value, "guarded")).toMatch(
    /^OBJECT_EXTERN parted\.o, program guarded, section "xdp", instruction N: calls "kernel_function" \(\.ksyms\), which only a kernel can provide$/,
  );
});
