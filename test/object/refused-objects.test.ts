import { describe, expect } from "vitest";
import { loadObject } from "../../src/object/load-object.ts";
import { needing } from "../support/needing.ts";
import { compile } from "./clang.ts";

const test = needing("clang");

function refusal(source: string, ...flags: string[]): string {
  const loaded = loadObject(compile(source, ...flags), source.replace(/\.c$/, ".o"));
  return loaded.ok ? "loaded" : `${loaded.error.code} ${loaded.error.message}`;
}

/** What an object's only program asks of a kernel. */
function unanswered(source: string, ...flags: string[]): string[] {
  const loaded = loadObject(compile(source, ...flags), source.replace(/\.c$/, ".o"));
  if (!loaded.ok) throw loaded.error;
  const questions = loaded.value.programs[0]!.unanswered ?? [];
  return questions.map(({ code, slot, what }) => `${code} ${slot}: ${what}`);
}

describe("loadObject, of what clang builds,", () => {
  for (const { flags, message } of [
    {
      flags: ["--target=x86_64-linux-gnu"],
      message:
        "OBJECT_WRONG_MACHINE text-only.o: x86-64 object, not eBPF; build it with clang -target bpf",
    },
    {
      flags: ["--target=bpfeb"],
      message:
        "OBJECT_BIG_ENDIAN text-only.o: big-endian eBPF object; Weir runs little-endian programs; build it with clang -target bpfel",
    },
  ])
    test(`names the machine of ${flags.join(" ")}`, () => {
      expect(refusal("text-only.c", ...flags)).toBe(message);
    });

  test("says that BTF-defined maps need BTF", () => {
    expect(refusal("maps.c", "-g0")).toBe(
      'OBJECT_NO_BTF maps.o, section ".maps": its maps are described by BTF, which the object does not have; compile with -g, and strip with llvm-strip -g if at all',
    );
  });

  for (const { flag, message } of [
    {
      flag: "-DTYPE=99",
      message:
        'OBJECT_MAP_TYPE bad-maps.o, map "bad": map type 99 is unknown; types are 1 (hash) to 33 (arena); use a BPF_MAP_TYPE_* of linux/bpf.h',
    },
    {
      flag: "-DDISAGREE",
      message:
        'OBJECT_BAD_MAP bad-maps.o, map "bad": its key has 4 bytes by its type and 8 by its size; give one of __type(key, …) and __uint(key_size, …)',
    },
    {
      flag: "-DUNKNOWN",
      message:
        'OBJECT_BAD_MAP bad-maps.o, map "bad": member "colour" is unknown; use type, key, value, key_size, value_size, max_entries, map_flags, pinning or values',
    },
    {
      flag: "-DUNTYPED",
      message:
        'OBJECT_BAD_MAP bad-maps.o, map "bad": it has no type; add __uint(type, BPF_MAP_TYPE_…)',
    },
    {
      flag: "-DPLAIN",
      message:
        'OBJECT_BAD_MAP bad-maps.o, map "bad": member "type" hides no number; write __uint(type, …)',
    },
    {
      flag: "-DPINNING=7",
      message:
        'OBJECT_BAD_MAP bad-maps.o, map "bad": pinning 7; use LIBBPF_PIN_BY_NAME (1) or LIBBPF_PIN_NONE (0)',
    },
    {
      flag: "-DSHORT",
      message:
        'OBJECT_BAD_MAP bad-maps.o, section "maps": 8 bytes for 1 maps; each takes the same number, at least 16; declare all maps of the section with the same struct, or use SEC(".maps")',
    },
  ])
    test(`names what is wrong with a map (${flag})`, () => {
      expect(refusal("bad-maps.c", flag)).toBe(message);
    });

  const broken = (where: string): string =>
    `${where}, instruction 0: it leads to byte 800 of section "xdp", where no function begins`;

  test("refuses an object of whose programs none can be put together, and tells of each", () => {
    const loaded = loadObject(compile("broken.c", "-DTWO"), "broken.o");
    if (loaded.ok) return expect.fail("loaded");
    const { message, detail } = loaded.error;
    expect(message).toContain(broken('broken.o, section "xdp", function "program"'));
    expect(detail).toEqual([
      expect.stringContaining(broken('broken.o, section "xdp", function "second"')),
    ]);
    return undefined;
  });

  test("loads an object of whose programs some can be put together, and tells of the others", () => {
    const loaded = loadObject(compile("broken.c", "-DBESIDE"), "broken.o");
    if (!loaded.ok) return expect.fail(loaded.error.message);
    const [program, beside] = loaded.value.programs;
    expect(program).toMatchObject({ name: "program", type: "xdp", bytecode: new Uint8Array(0) });
    expect(program!.fault?.message).toContain(
      broken('broken.o, program program, section "xdp", function "program"'),
    );
    expect(beside).toMatchObject({ name: "beside", type: "xdp" });
    expect(beside!.fault).toBeUndefined();
    return undefined;
  });

  test("says that there is no program", () => {
    expect(refusal("no-program.c")).toBe(
      'OBJECT_NO_PROGRAM no-program.o: it holds no program; put a function into a section that names its type, as SEC("xdp") does',
    );
  });

  for (const { flag, message } of [
    {
      flag: "-DKSYM",
      message: 'OBJECT_EXTERN 0: uses "jiffies_symbol" (.ksyms), which only a kernel can provide',
    },
    {
      flag: "-DKFUNC",
      message: 'OBJECT_EXTERN 1: calls "kernel_function" (.ksyms), which only a kernel can provide',
    },
    {
      flag: "-DNOWHERE",
      message: 'OBJECT_EXTERN 1: calls "nowhere", which the object does not define',
    },
  ])
    test(`leaves what only a kernel has to who uses it, by name (${flag})`, () => {
      expect(unanswered("externs.c", flag)).toEqual([message]);
    });
});
