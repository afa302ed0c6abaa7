import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { putU32le, u16le, u32le } from "../../src/common/bytes.ts";
import { UserError } from "../../src/common/user-error.ts";
import { maxObjectBytes } from "../../src/object/elf.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { needing } from "../support/needing.ts";
import { compile } from "./clang.ts";

const blocklist = new Uint8Array(
  readFileSync(fileURLToPath(new URL("../../filters/blocklist.o", import.meta.url))),
);

/** The object with some bytes replaced. */
function patched(patch: (bytes: Uint8Array, sections: SectionHeaders) => void): Uint8Array {
  const bytes = blocklist.slice();
  patch(bytes, sectionHeaders(bytes));
  return bytes;
}

type SectionHeaders = ReadonlyMap<string, { readonly header: number; readonly data: number }>;

function sectionHeaders(bytes: Uint8Array): SectionHeaders {
  const start = u32le(bytes, 40);
  const names = u32le(bytes, start + u16le(bytes, 62) * 64 + 24);
  const found = new Map<string, { header: number; data: number }>();
  for (let i = 0; i < u16le(bytes, 60); i++) {
    const header = start + i * 64;
    const at = names + u32le(bytes, header);
    const name = new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
    found.set(name, { header, data: u32le(bytes, header + 24) });
  }
  return found;
}

function refusal(bytes: Uint8Array): string {
  const loaded = loadObject(bytes, "x.o");
  return loaded.ok ? "loaded" : `${loaded.error.code} ${loaded.error.message}`;
}

describe("loadObject refuses", () => {
  const nameFix = "build the object again";
  for (const { name, bytes, message } of [
    {
      name: "an empty file",
      bytes: () => new Uint8Array(0),
      message:
        "OBJECT_NOT_ELF x.o: not an ELF object: it begins with nothing (0 bytes); give the .o file, or build it with clang -target bpf",
    },
    {
      name: "text",
      bytes: () => new TextEncoder().encode("#include <linux/bpf.h>"),
      message:
        "OBJECT_NOT_ELF x.o: not an ELF object: it begins with 23 69 6e 63; give the .o file, or build it with clang -target bpf",
    },
    {
      name: "an ELF header that is cut off",
      bytes: () => blocklist.subarray(0, 63),
      message:
        "OBJECT_TRUNCATED x.o: truncated: the ELF header would end at byte 64, and the file has 63; copy or build the object again",
    },
    {
      name: "a 32-bit object",
      bytes: () => patched((bytes) => bytes.set([1], 4)),
      message:
        "OBJECT_NOT_64_BIT x.o: ELF class 1 (32-bit); eBPF objects are 64-bit (class 2); build it with clang -target bpf",
    },
    {
      name: "a big-endian object",
      bytes: () =>
        patched((bytes) => {
          bytes.set([2], 5);
          bytes.set([0, 247], 18);
        }),
      message:
        "OBJECT_BIG_ENDIAN x.o: big-endian eBPF object; Weir runs little-endian programs; build it with clang -target bpfel",
    },
    {
      name: "an x86-64 object",
      bytes: () => patched((bytes) => bytes.set([62], 18)),
      message: "OBJECT_WRONG_MACHINE x.o: x86-64 object, not eBPF; build it with clang -target bpf",
    },
    {
      name: "an AArch64 object",
      bytes: () => patched((bytes) => bytes.set([183], 18)),
      message:
        "OBJECT_WRONG_MACHINE x.o: AArch64 object, not eBPF; build it with clang -target bpf",
    },
    {
      name: "a machine without a name here",
      bytes: () => patched((bytes) => bytes.set([99], 18)),
      message:
        "OBJECT_WRONG_MACHINE x.o: machine-99 object, not eBPF; build it with clang -target bpf",
    },
    {
      name: "a linked file",
      bytes: () => patched((bytes) => bytes.set([2], 16)),
      message:
        "OBJECT_NOT_RELOCATABLE x.o: ELF type 2; an object file has type 1 (relocatable); give what clang -c wrote, not a linked file",
    },
    {
      name: "a file above the limit",
      bytes: () => {
        const large = new Uint8Array(maxObjectBytes + 1);
        large.set(blocklist);
        return large;
      },
      message:
        "OBJECT_TOO_LARGE x.o: 16777217 bytes; an object has at most 16777216; strip its debug information with llvm-strip -g",
    },
    {
      name: "no sections",
      bytes: () => patched((bytes) => bytes.set([0, 0], 60)),
      message:
        "OBJECT_BAD_SECTIONS x.o: 0 section headers of 64 bytes; expected 1 to 65280 of 64; build it with clang -target bpf",
    },
    {
      name: "more sections than there can be",
      bytes: () => patched((bytes) => bytes.set([0xff, 0xff], 60)),
      message:
        "OBJECT_BAD_SECTIONS x.o: 65535 section headers of 64 bytes; expected 1 to 65280 of 64; build it with clang -target bpf",
    },
    {
      name: "section headers beyond the end",
      bytes: () => patched((bytes) => bytes.fill(0xff, 40, 48)),
      message: `OBJECT_TRUNCATED x.o: truncated: the section headers would end at byte ${2 ** 64}, and the file has ${blocklist.length}; copy or build the object again`,
    },
    {
      name: "a section beyond the end",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get("xdp")!.header + 32, 1_000_000)),
      message: `OBJECT_TRUNCATED x.o: truncated: section 3 would end at byte 1000064, and the file has ${blocklist.length}; copy or build the object again`,
    },
    {
      name: "a section name outside the string table",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get("xdp")!.header, 0xffff)),
      message: `OBJECT_BROKEN x.o: section 3: its name is outside the string table; ${nameFix}`,
    },
    {
      name: "a symbol table of odd length",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".symtab")!.header + 32, 25)),
      message: `OBJECT_BROKEN x.o: the symbol table has 25 bytes, no multiple of 24; ${nameFix}`,
    },
    {
      name: "a symbol in a section that is not there",
      bytes: () => patched((bytes, at) => bytes.set([200, 0], at.get(".symtab")!.data + 24 + 6)),
      message:
        /^OBJECT_BROKEN x\.o: symbol "[^"]+" is in section 200 of 14; build the object again$/,
    },
    {
      name: "a relocation of a symbol that is not there",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".relxdp")!.data + 12, 999)),
      message: `OBJECT_BROKEN x.o: section ".relxdp", entry 0: symbol 999 of 17; ${nameFix}`,
    },
    {
      name: "a relocation outside its section",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".relxdp")!.data, 0xffff00)),
      message: `OBJECT_BROKEN x.o: section ".relxdp", entry 0: offset 16776960 is outside "xdp"; ${nameFix}`,
    },
    {
      name: "a relocation of an unknown type",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".relxdp")!.data + 8, 77)),
      message:
        /^OBJECT_RELOCATION x\.o, section "xdp", function "xdp_blocklist", instruction \d+: relocation type 77 for "blocked6?"; code has types 1 \(R_BPF_64_64\) and 10 \(R_BPF_64_32\); build it with clang -target bpf$/,
    },
    {
      name: "a relocation of an instruction that takes none",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".relxdp")!.data, 0)),
      message:
        /^OBJECT_RELOCATION x\.o, section "xdp", function "xdp_blocklist", instruction 0: a relocation for "blocked6?" at byte 0, which is neither a call nor a 64-bit load; build the object again$/,
    },
    {
      name: "relocations with addends",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".relxdp")!.header + 4, 4)),
      message: `OBJECT_BROKEN x.o: section ".relxdp" has addends (RELA); eBPF objects have none; ${nameFix}`,
    },
    {
      name: "code that is no whole number of instructions",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get("xdp")!.header + 32, 0x2d4)),
      message: `OBJECT_BAD_CODE x.o, section "xdp": 724 bytes of code, no multiple of 8; ${nameFix}`,
    },
    {
      name: "a function beyond its section",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get("xdp")!.header + 32, 0x2d0)),
      message: `OBJECT_BAD_CODE x.o, section "xdp": function "xdp_blocklist" is bytes 0 to 728 of 720, which are no whole instructions; ${nameFix}`,
    },
    {
      name: "BTF of another version",
      bytes: () => patched((bytes, at) => bytes.set([9], at.get(".BTF")!.data + 2)),
      message: `OBJECT_BAD_BTF x.o, section ".BTF": version 9, expected 1; ${nameFix}`,
    },
    {
      name: "big-endian BTF",
      bytes: () => patched((bytes, at) => bytes.set([0xeb, 0x9f], at.get(".BTF")!.data)),
      message: `OBJECT_BAD_BTF x.o, section ".BTF": it begins with 0x9feb, expected 0xeb9f; ${nameFix}`,
    },
    {
      name: "BTF whose parts are larger than it is",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".BTF")!.data + 12, 0xfffffff0)),
      message: `OBJECT_BAD_BTF x.o, section ".BTF": its parts would end at byte 4294967304 of 2534; ${nameFix}`,
    },
    {
      name: "line information larger than its section",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".BTF.ext")!.data + 20, 0xffff)),
      message:
        /^OBJECT_BAD_BTF x\.o, section "\.BTF\.ext": its line information would end at byte \d+ of 688; build the object again$/,
    },
    {
      name: "function information with records of no size",
      bytes: () => patched((bytes, at) => putU32le(bytes, at.get(".BTF.ext")!.data + 32, 0)),
      message: `OBJECT_BAD_BTF x.o, section ".BTF.ext": function information: records of 0 bytes, expected 8 or more; ${nameFix}`,
    },
    {
      name: "zeroed data larger than memory should be",
      bytes: () =>
        patched((bytes, at) => {
          const { header } = at.get(".rodata")!;
          putU32le(bytes, header + 4, 8);
          putU32le(bytes, header + 36, 1);
          renameSection(bytes, at, ".rodata", ".bss");
        }),
      message:
        'OBJECT_TOO_LARGE x.o, section ".bss": 4294967300 bytes of zeroed variables; at most 67108864 are allowed; keep large tables in maps',
    },
  ] as readonly { name: string; bytes: () => Uint8Array; message: string | RegExp }[])
    test(name, () => {
      if (typeof message === "string") expect(refusal(bytes())).toBe(message);
      else expect(refusal(bytes())).toMatch(message);
    });
});

/** Gives a section a name that is no longer than its own, in place. */
function renameSection(bytes: Uint8Array, at: SectionHeaders, from: string, to: string): void {
  const { header } = at.get(from)!;
  const names = u32le(bytes, u32le(bytes, 40) + u16le(bytes, 62) * 64 + 24);
  bytes.set(new TextEncoder().encode(`${to}\0`), names + u32le(bytes, header));
}

/** Mulberry32: small, seeded, good enough to choose bytes. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Throws if loading throws, or if an error is not one a user can act on. True if it was loaded. */
function loads(bytes: Uint8Array, what: string): boolean {
  try {
    const loaded = loadObject(bytes, "x.o");
    if (loaded.ok) return true;
    expect(loaded.error, what).toBeInstanceOf(UserError);
    expect(loaded.error.message.length, what).toBeLessThan(10_000);
    return false;
  } catch (error) {
    throw new Error(`${what}: ${error}`, { cause: error });
  }
}

describe("loadObject never throws", () => {
  test("for an object cut off at any byte, and accepts none of them", () => {
    for (let length = 0; length < blocklist.length; length++)
      expect(loads(blocklist.subarray(0, length), `${length} bytes`), `${length} bytes`).toBe(
        false,
      );
    expect(loads(blocklist, "whole")).toBe(true);
  });

  // Debug sections would take most of the hits: objects are stripped of them, or built without.
  const sources: readonly { readonly name: string; readonly object: () => Uint8Array }[] = [
    { name: "a committed filter", object: () => blocklist },
    { name: "subprograms and callbacks", object: () => compile("functions.c") },
    { name: "maps of maps", object: () => compile("maps.c") },
    { name: "iproute2's maps", object: () => compile("iproute2-maps.c", "-g0") },
    { name: "global variables", object: () => compile("globals.c") },
  ];
  for (const [i, { name, object }] of sources.entries()) {
    const runner = i === 0 ? test : needing("clang");
    runner(`for 2,000 objects with random bytes, made from ${name}`, () => {
      const next = random(0x5eed + i);
      const original = object();
      let loaded = 0;
      for (let run = 0; run < 2000; run++) {
        const bytes = original.slice();
        const edits = 1 + (next() % 8);
        for (let edit = 0; edit < edits; edit++) damage(bytes, next);
        if (loads(bytes, `seed ${i}, run ${run}`)) loaded++;
      }
      // Both outcomes occur, or the damage was not worth its name.
      expect(loaded).toBeGreaterThan(0);
      expect(loaded).toBeLessThan(2000);
    });
  }
});

/** A random byte, a bit, or a number that tends to be a bad offset or size. */
function damage(bytes: Uint8Array, next: () => number): void {
  const at = next() % bytes.length;
  switch (next() % 4) {
    case 0:
      bytes[at] = next();
      return;
    case 1:
      bytes[at]! ^= 1 << (next() & 7);
      return;
    case 2: {
      const extremes = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, bytes.length, next()];
      if (at + 4 <= bytes.length) putU32le(bytes, at, extremes[next() % extremes.length]!);
      return;
    }
    default: {
      const length = Math.min(1 + (next() % 32), bytes.length - at);
      bytes.copyWithin(at, next() % bytes.length, next() % bytes.length);
      bytes.fill(next(), at, at + (next() % length));
    }
  }
}
