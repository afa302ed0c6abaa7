import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { UserError } from "../../src/common/user-error.ts";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { verifiableProgram } from "../../src/engine/link.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { checkMap } from "../../src/object/map-rules.ts";
import type { ObjectSpec } from "../../src/object/object-spec.ts";
import { verify } from "../../src/verifier/verify.ts";
import { Random } from "../packet/random.ts";

const objectCount = Number(process.env.WEIR_FUZZ_PROGRAMS ?? 800);
const filters = fileURLToPath(new URL("../../filters/", import.meta.url));
const seeds = readdirSync(filters)
  .filter((name) => name.endsWith(".o"))
  .map((name) => new Uint8Array(readFileSync(`${filters}${name}`)));

/** How far a file came: the code of what ended it, or how many of its programs were accepted. */
function endOf(bytes: Uint8Array): string {
  const object = loadObject(bytes, "fuzz.o");
  if (!object.ok) return named(object.error);
  for (const map of object.value.maps) {
    const refusal = checkMap(map);
    if (refusal !== undefined) return named(refusal);
  }
  return object.value.programs.map((program) => verdictOf(object.value, program.name)).join(" ");
}

function verdictOf(object: ObjectSpec, name: string): string {
  const spec = object.programs.find((one) => one.name === name)!;
  const program = verifiableProgram(spec, object.maps, spec.type ?? "xdp", { object });
  if (!program.ok) return named(program.error);
  const verdict = verify(program.value, helpers, { maxVisited: 2_000 });
  if (verdict.ok) return "accepted";
  expect(verdict.error.message).toContain("fuzz.o, program ");
  return verdict.error.code;
}

function named(error: UserError): string {
  expect(error).toBeInstanceOf(UserError);
  expect(error.code).toMatch(/^[A-Z_0-9]+$/);
  return error.code;
}

/** One to eight bytes, words or stretches changed, or the end cut off. */
function changed(random: Random, bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  for (let n = 1 + random.below(8); n > 0; n--) {
    const at = random.below(copy.length);
    switch (random.below(5)) {
      case 0:
        copy[at]! ^= 1 << random.below(8);
        break;
      case 1:
        copy[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)]!;
        break;
      case 2:
        copy.fill(random.below(2) * 0xff, at, at + 4);
        break;
      case 3:
        copy.copyWithin(at & ~7, random.below(copy.length) & ~7, (at & ~7) + 8);
        break;
      default:
        copy.set(random.bytes(Math.min(8, copy.length - at)), at);
    }
  }
  return random.below(10) === 0 ? copy.subarray(0, random.below(copy.length)) : copy;
}

test(`objects with changed bytes end in a verdict or a named error (${objectCount} objects)`, () => {
  const random = new Random(21);
  const ends = new Map<string, number>();
  for (let i = 0; i < objectCount; i++) {
    const end = endOf(changed(random, seeds[i % seeds.length]!));
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  // Both what the loader refuses and what the verifier does: else the changes show nothing.
  const codes = [...ends.keys()].join(" ");
  expect(codes).toMatch(/accepted/);
  expect(codes).toMatch(/OBJECT_|BTF_/);
  expect(codes).toMatch(/TOO_COMPLEX|UNINITIALISED_REGISTER|UNREACHABLE_CODE/);
  expect(ends.size).toBeGreaterThan(15);
});

test("bytes that are no object at all end in a named error", () => {
  const random = new Random(22);
  for (let i = 0; i < 500; i++) {
    const bytes = random.bytes(random.below(400));
    if (i % 2 === 0) bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1].slice(0, bytes.length));
    expect(endOf(bytes)).toMatch(/^[A-Z_0-9]+$/);
  }
});
