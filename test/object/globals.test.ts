import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { globalNames, setGlobal } from "../../src/object/globals.ts";
import { loadObject } from "../../src/object/load-object.ts";
import type { ObjectSpec } from "../../src/object/object-spec.ts";
import { needing } from "../support/needing.ts";
import { compile } from "./clang.ts";

const withClang = needing("clang");

function load(bytes: Uint8Array, name: string): ObjectSpec {
  const loaded = loadObject(bytes, name);
  if (!loaded.ok) throw loaded.error;
  return loaded.value;
}

const globals = (...flags: string[]) => load(compile("globals.c", ...flags), "globals.o");

const blocklist = () =>
  load(
    readFileSync(fileURLToPath(new URL("../../filters/blocklist.o", import.meta.url))),
    "blocklist.o",
  );

/** The bytes of a global after it was set, or the error. */
function globalAfter(object: ObjectSpec, name: string, value: unknown): string {
  const set = setGlobal(object, name, value);
  return set.ok ? bytesOf(set.value, name) : `${set.error.code} ${set.error.message}`;
}

function bytesOf(object: ObjectSpec, name: string): string {
  const { map, offset, size } = object.variables.find((variable) => variable.name === name)!;
  const { value } = object.maps[map]!.contents[0]!;
  return toHex(value.subarray(offset, offset + size));
}

withClang(
  "globals are what the source declares, static ones within functions too, and no printk's format",
  () => {
    const object = globals();
    const known = object.variables.map(({ name }) => name);
    expect(known).toContain("reads_all.____fmt");
    expect(globalNames(object)).toEqual(known.filter((name) => name !== "reads_all.____fmt"));
    expect(globalNames(object)).toContain("reads_all.calls");
    const set = setGlobal(object, "limts", 1);
    expect(set.ok ? "" : set.error.message).not.toContain("fmt");
  },
);

describe("setGlobal", () => {
  for (const [name, value, hex] of [
    ["answer", 7, "07000000"],
    ["home", "2001:db8::1", "20010db8000000000000000000000001"],
    ["gateway", "192.0.2.1", "c0000201"],
    ["name", "eth1", "6574683100000000"],
    ["enabled", false, "00"],
    ["on_match", "ACTION_DROP", "01000000"],
    [
      "limits",
      { packets: 1, burst: 2, low: 3, high: 4, strict: true, number: 5 },
      "010000000200230105000000",
    ],
    ["limits", '{"bytes": [1, 2, 3, 4]}', "000000000000000001020304"],
    ["total", "0xffffffffffffffff", "ffffffffffffffff"],
    ["offsets", [-1, 2], "ffff020000000000"],
    ["hidden", 1, "01000000"],
    ["separate", 6, "06000000"],
    ["seen", 3, "0300000000000000"],
    ["reads_all.calls", 9, "09000000"],
    ["recent", "hex:000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f"],
  ] as readonly (readonly [string, unknown, string])[])
    withClang(`sets ${name} to ${JSON.stringify(value)}`, () => {
      expect(globalAfter(globals(), name, value)).toBe(hex);
    });

  withClang("changes nothing but that variable, and not the object it was given", () => {
    const object = globals();
    const before = structuredClone(object.maps);
    const set = setGlobal(object, "gateway", "192.0.2.1");
    if (!set.ok) throw set.error;
    expect(object.maps).toEqual(before);
    for (const { name } of object.variables.filter(({ map }) => map === 0))
      if (name !== "gateway") expect(bytesOf(set.value, name), name).toBe(bytesOf(object, name));
    expect(set.value.maps.slice(1)).toEqual(before.slice(1));
  });

  withClang("sets several, one after the other", () => {
    let object = globals();
    for (const [name, value] of [
      ["seen", 1],
      ["recent", [2]],
      ["answer", 3],
    ] as const) {
      const set = setGlobal(object, name, value);
      if (!set.ok) throw set.error;
      object = set.value;
    }
    expect([bytesOf(object, "seen"), bytesOf(object, "recent"), bytesOf(object, "answer")]).toEqual(
      ["0100000000000000", `02${"00".repeat(15)}`, "03000000"],
    );
  });

  withClang("takes numbers and hex for variables of an object without BTF", () => {
    const object = globals("-g0");
    expect(globalAfter(object, "answer", 7)).toBe("07000000");
    expect(globalAfter(object, "name", "hex:6162636465666768")).toBe("6162636465666768");
    expect(globalAfter(object, "name", "eth1")).toBe(
      'VALUE_TYPE globals.o, global "name": "eth1" is no value of 8 bytes, and the object has no BTF type for it; write a whole number from -9223372036854775808 to 18446744073709551615, or hex: and 16 hex digits',
    );
  });

  test("names object and variable when a value is wrong", () => {
    expect(globalAfter(blocklist(), "default_action", "drop")).toBe(
      'VALUE_TYPE blocklist.o, global "default_action": "drop" is no __u32; write a whole number from 0 to 4294967295, or an address such as 192.0.2.1',
    );
  });

  test("lists the globals there are when there is none of that name", () => {
    expect(globalAfter(blocklist(), "default_acton", 1)).toBe(
      'GLOBAL_UNKNOWN blocklist.o: no global variable "default_acton"; it has default_action',
    );
  });

  withClang("names the closest of many globals", () => {
    expect(globalAfter(globals(), "gatway", 1)).toBe(
      'GLOBAL_UNKNOWN globals.o: no global variable "gatway"; did you mean "gateway"?',
    );
    expect(globalAfter(globals(), "zzzzzzzz", 1)).toMatch(
      /^GLOBAL_UNKNOWN globals\.o: no global variable "zzzzzzzz"; it has answer, home, .* and 6 more$/,
    );
  });

  withClang("says how to declare one where there is none", () => {
    expect(globalAfter(load(compile("text-only.c"), "text-only.o"), "x", 1)).toBe(
      'GLOBAL_UNKNOWN text-only.o: no global variable "x"; it has none; declare one as volatile const __u32 name = 1;',
    );
  });
});
