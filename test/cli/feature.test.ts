import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { helpers } from "../../src/engine/helpers/helper-table.ts";
import { mapTypes, programTypes } from "../../src/object/object-spec.ts";
import { unavailableHelpers } from "../../src/verifier/unavailable-helpers.ts";
import { weir } from "../support/processes.ts";

interface Feature {
  readonly id?: number;
  readonly name: string;
  readonly supported: boolean;
  readonly reason?: string;
  readonly types?: readonly string[];
}

const newestHelper = 211;

test("weir feature --json tells of everything there is, and of what is missing why", async () => {
  const { code, stdout, stderr } = await weir(["feature", "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const { limits, ...rest } = JSON.parse(stdout);
  expect(limits).toEqual([
    {
      name: "iterations of bpf_loop and bpf_for_each_map_elem, a run in all",
      value: 2 ** 23,
      kernel: "8388608 a call of bpf_loop",
    },
  ]);
  const all: Record<string, readonly Feature[]> = rest;
  expect(Object.keys(all)).toEqual(["instructions", "program_types", "map_types", "helpers"]);
  for (const [what, features] of Object.entries(all)) {
    expect(features.length, what).toBeGreaterThan(20);
    for (const { name, supported, reason } of features)
      expect(reason !== undefined && reason !== "", `${what} ${name}`).toBe(!supported);
  }
  const named = (what: string, supported: boolean): string[] =>
    all[what]!.filter((one) => one.supported === supported).map(({ name }) => name);
  expect(named("program_types", true)).toEqual([...programTypes]);
  expect([...named("map_types", true), ...named("map_types", false)].toSorted()).toEqual(
    Object.keys(mapTypes).toSorted(),
  );
  expect(named("instructions", false)).toEqual(["call (call_btf)", "lddw (load_variable)"]);
  const redirect = all.helpers!.find(({ name }) => name === "redirect");
  expect(redirect).toEqual({
    id: 23,
    name: "redirect",
    types: ["xdp", "tc", "tcx", "action"],
    supported: true,
  });
});

test("weir feature says it in words for people", async () => {
  const { code, stdout } = await weir(["feature"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^Instructions: \d+ of \d+$/m);
  expect(stdout).toMatch(/bpf_sk_assign \(124\) +needs a kernel socket/);
  expect(stdout).toMatch(/called by xdp:\n {4}.*bpf_redirect_map/);
  for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(140);
});

test("each helper of Linux is available, or said to be unavailable, and never both", () => {
  for (let id = 1; id <= newestHelper; id++)
    expect(
      [helpers.get(id)?.name, unavailableHelpers.get(id)?.name].filter(Boolean),
      `helper ${id}: once it is available, take it out of unavailable-helpers.ts`,
    ).toHaveLength(1);
  expect(Math.max(...helpers.keys(), ...unavailableHelpers.keys())).toBe(newestHelper);
});

const header = "/usr/include/linux/bpf.h";
test.skipIf(!existsSync(header))("helpers have the names and numbers of linux/bpf.h", () => {
  const names = [...readFileSync(header, "utf8").matchAll(/^\tFN\((\w+)\),/gm)].map(([, n]) => n!);
  expect(names[0]).toBe("unspec");
  for (const [id, name] of names.entries())
    if (id > 0) expect((helpers.get(id) ?? unavailableHelpers.get(id))?.name, `${id}`).toBe(name);
});
