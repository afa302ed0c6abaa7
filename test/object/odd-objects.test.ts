import { describe, expect, test } from "vitest";
import { loadObject } from "../../src/object/load-object.ts";
import { type BuiltSection, type BuiltSymbol, buildElf } from "./elf-builder.ts";

/** Objects that no compiler writes, made instruction by instruction. */

const exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
const moveZero = [0xb7, 0, 0, 0, 0, 0, 0, 0];

function call(source: number, immediate: number): number[] {
  return [0x85, source << 4, 0, 0, ...word(immediate)];
}

function load(source: number, immediate: number): number[] {
  return [0x18, (source << 4) | 1, 0, 0, ...word(immediate), 0, 0, 0, 0, 0, 0, 0, 0];
}

function word(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
}

function code(...instructions: number[][]): BuiltSection {
  return {
    name: "xdp",
    type: "progbits",
    executable: true,
    bytes: Uint8Array.from(instructions.flat()),
  };
}

function data(name: string, bytes: number): BuiltSection {
  return { name, type: "progbits", bytes: new Uint8Array(bytes) };
}

function named(name: string, start: number, slots: number, section = 1): BuiltSymbol {
  return { name, type: "function", section, value: start * 8, size: slots * 8 };
}

function outcome(bytes: Uint8Array): string {
  const loaded = loadObject(bytes, "x.o");
  if (!loaded.ok) return `${loaded.error.code} ${loaded.error.message}`;
  return loaded.value.programs
    .map(
      ({ name, functions }) => `${name}: ${functions.map((f) => `${f.name}@${f.slot}`).join(" ")}`,
    )
    .join("; ");
}

describe("loadObject", () => {
  for (const { name, bytes, result } of [
    {
      name: "takes a section without symbols as one program of that name",
      bytes: buildElf([code(moveZero, exit)]),
      result: "xdp: xdp@0",
    },
    {
      name: "takes two names of one address as one program",
      bytes: buildElf([code(moveZero, exit)], [named("one", 0, 2), named("alias", 0, 2)]),
      result: "one: one@0",
    },
    {
      name: "takes local functions of a program section as subprograms",
      bytes: buildElf(
        [code(call(1, 1), exit, moveZero, exit)],
        [named("main", 0, 2), { ...named("helper", 2, 2), local: true }],
      ),
      result: "main: main@0 helper@2",
    },
    {
      name: "places a function that calls itself once",
      bytes: buildElf([code(call(1, -1), exit)], [named("main", 0, 2)]),
      result: "main: main@0",
    },
    {
      name: "calls through a section's symbol with the distance in the instruction",
      bytes: buildElf(
        [code(call(1, 1), exit), { ...code(moveZero, exit, moveZero, exit), name: ".text" }],
        [
          named("main", 0, 2),
          named("first", 0, 2, 2),
          named("second", 2, 2, 2),
          { name: "", type: "section", section: 2 },
        ],
        [[0, 10, 3]],
      ),
      result: "main: main@0 second@2",
    },
    {
      name: "refuses functions that overlap",
      bytes: buildElf([code(moveZero, moveZero, exit)], [named("one", 0, 2), named("two", 1, 2)]),
      result:
        'OBJECT_BAD_CODE x.o, section "xdp": functions "one" and "two" overlap; build the object again',
    },
    {
      name: "refuses a call into the middle of a function",
      bytes: buildElf([code(call(1, 0), moveZero, exit)], [named("main", 0, 3)]),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: it leads to byte 8 of section "xdp", where no function begins; build the object again',
    },
    {
      name: "refuses a map that is named by number",
      bytes: buildElf([code(load(1, 3), exit)], [named("main", 0, 3)]),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: it names map 3 by number, without a relocation; refer to maps by their variables',
    },
    {
      name: "refuses two relocations of one instruction",
      bytes: buildElf(
        [code(load(0, 0), exit), data(".data", 8)],
        [named("main", 0, 3), { name: "v", type: "object", section: 2, size: 8 }],
        [
          [0, 1, 1],
          [0, 1, 1],
        ],
      ),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: a second relocation, for "v", of one instruction; build the object again',
    },
    {
      name: "refuses a relocation on a helper call",
      bytes: buildElf([code(call(0, 1), exit)], [named("main", 0, 2)], [[0, 10, 0]]),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: a relocation for "main" on a call of helper 1; build the object again',
    },
    {
      name: "refuses an address beyond its data section",
      bytes: buildElf(
        [code(load(0, 8), exit), data(".data", 8)],
        [named("main", 0, 3), { name: "v", type: "object", section: 2, size: 8 }],
        [[0, 1, 1]],
      ),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: "v" (section ".data", byte 8) is neither a map, a global variable nor a function; declare maps in SEC(".maps") and variables outside other sections',
    },
    {
      name: "refuses an address before its data section",
      bytes: buildElf(
        [code(load(0, -1), exit), data(".data", 8)],
        [named("main", 0, 3), { name: "v", type: "object", section: 2, size: 8 }],
        [[0, 1, 1]],
      ),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: "v" (section ".data", byte -1) is neither a map, a global variable nor a function; declare maps in SEC(".maps") and variables outside other sections',
    },
    {
      name: "refuses an address in a section of another kind",
      bytes: buildElf(
        [code(load(0, 0), exit), data("license", 8)],
        [named("main", 0, 3), { name: "v", type: "object", section: 2, size: 8 }],
        [[0, 1, 1]],
      ),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: "v" (section "license", byte 0) is neither a map, a global variable nor a function; declare maps in SEC(".maps") and variables outside other sections',
    },
    {
      name: "refuses an absolute symbol",
      bytes: buildElf(
        [code(load(0, 0), exit)],
        [named("main", 0, 3), { name: "v", type: "object", section: 0xfff1 }],
        [[0, 1, 1]],
      ),
      result:
        'OBJECT_RELOCATION x.o, section "xdp", function "main", instruction 0: "v" is neither a map, a global variable nor a function; declare maps in SEC(".maps") and variables outside other sections',
    },
    {
      name: "refuses a program of more functions than the kernel takes",
      bytes: chain(257),
      result:
        'OBJECT_TOO_LARGE x.o, program "f0": more than 256 functions with the functions that it calls; split it with tail calls',
    },
    {
      name: "refuses more functions than any object has",
      bytes: buildElf(
        [code(...Array.from({ length: 16_385 }, () => exit))],
        Array.from({ length: 16_385 }, (_, i) => named(`f${i}`, i, 1)),
      ),
      result: "OBJECT_TOO_LARGE x.o: more than 16384 functions; split the object",
    },
    {
      name: "refuses code that grows beyond measure by sharing",
      bytes: shared(40, 60_000),
      result:
        'OBJECT_TOO_LARGE x.o, program "p34": its 40 programs take more than 16777216 bytes of code; split the object',
    },
    {
      name: "refuses more maps than any object has",
      bytes: buildElf(
        [code(exit), data("maps", 4097 * 20)],
        Array.from({ length: 4097 }, (_, i) => ({
          name: `m${i}`,
          type: "object" as const,
          section: 2,
          value: i * 20,
        })),
      ),
      result:
        'OBJECT_TOO_LARGE x.o, section "maps": 4097 maps; at most 4096 are allowed; split the object',
    },
  ] as readonly { name: string; bytes: Uint8Array; result: string }[])
    test(name, () => expect(outcome(bytes)).toBe(result));

  test("takes a program of as many functions as the kernel does", () => {
    const loaded = loadObject(chain(256), "x.o");
    expect(loaded.ok && loaded.value.programs[0]!.functions.length).toBe(256);
  });
});

/** Functions that each call the next. */
function chain(length: number): Uint8Array {
  const body = Array.from({ length }, (_, i) => [call(1, i + 1 < length ? 1 : -1), exit]).flat();
  return buildElf(
    [code(...body)],
    Array.from({ length }, (_, i) => ({ ...named(`f${i}`, i * 2, 2), local: i > 0 })),
  );
}

/** Programs that all call one large function. */
function shared(programs: number, slots: number): Uint8Array {
  const body = Array.from({ length: programs }, () => [call(1, -1), exit]).flat();
  const large = new Uint8Array(slots * 8).fill(0);
  for (let at = 0; at < large.length; at += 8) large[at] = 0xb7;
  return buildElf(
    [code(...body), { name: ".text", type: "progbits", executable: true, bytes: large }],
    [
      ...Array.from({ length: programs }, (_, i) => named(`p${i}`, i * 2, 2)),
      named("large", 0, slots, 2),
    ],
    Array.from({ length: programs }, (_, i) => [i * 16, 10, programs] as const),
  );
}
