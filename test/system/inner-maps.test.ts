import { describe, expect } from "vitest";
import { toHex } from "../../src/common/bytes.ts";
import { loadObject } from "../../src/index.ts";
import { needing } from "../support/needing.ts";
import { kernelAnswers } from "./kernel.ts";
import { buildProgram } from "./truth-rig.ts";

const test = needing("clang", "root", "kernel bpf()");

/** A frame of the program's: whose map it looks into, and for what. */
function frameOf(tenant: number, what: number): Uint8Array {
  const frame = new Uint8Array(64);
  frame.set([tenant, what], 14);
  return frame;
}

const frames = [1, 2, 3].flatMap((tenant) =>
  [0, 1, 2, 5, 0, 1, 2, 5, 0].map((what) => frameOf(tenant, what)),
);
const made = [
  { name: "small", outer: "tenants", maxEntries: 1 },
  { name: "large", outer: "tenants", maxEntries: 3 },
  { name: "table", outer: "tables", maxEntries: 3 },
] as const;
const put = [
  ["tenants", 1, "small"],
  ["tenants", 2, "large"],
  ["tables", 2, "table"],
] as const;

describe("maps made as a map of maps declares those it holds", () => {
  for (const engine of ["interpreter", "jit"] as const)
    test(`give programs what they give in the kernel, on the ${engine}`, async () => {
      const file = buildProgram("inner-templates");
      const set = [
        ...made.map(({ name, outer, maxEntries }) => `make ${outer} ${name} ${maxEntries}`),
        ...put.map(([outer, key, name]) => `put ${outer} 0${key}000000 ${name}`),
      ];
      const answers = kernelAnswers(file, [
        ...set,
        ...frames.map((frame) => `run count ${toHex(frame)}`),
      ]);
      expect(answers.slice(0, set.length)).toEqual(set.map(() => ({ error: 0 })));
      using object = await loadObject(file, {
        engine,
        innerMaps: Object.fromEntries(made.map(({ name, ...rest }) => [name, rest])),
      });
      for (const [outer, key, name] of put) object.map<number, string>(outer).set(key, name);
      const here = frames.map((frame) => object.program("count").run(frame).returned);
      expect(here).toEqual(answers.slice(set.length).map(({ ret }) => ret));
      expect(object.map<number, bigint>("large").get(5)).toBeUndefined();
      expect(object.map("small").maxEntries).toBe(1);
    });

  test("are refused where the kernel refuses them: an array of another length", async () => {
    const file = buildProgram("inner-templates");
    const [, refused] = kernelAnswers(file, ["make tables longer 4", "put tables 01000000 longer"]);
    expect(refused).toEqual({ error: 22 });
    using object = await loadObject(file, {
      innerMaps: { longer: { outer: "tables", maxEntries: 4 } },
    });
    expect(() => object.map<number, string>("tables").set(1, "longer")).toThrow(
      expect.objectContaining({ code: "MAP_INNER" }),
    );
  });

  for (const { given, says } of [
    { given: "larg", says: /\.o has no map "larg"; did you mean large\?/ },
    { given: "tables", says: /map tables is not like those that it holds; give one of the type/ },
    { given: 5, says: /the value of a map of maps is a map; give (small|large)/ },
  ])
    needing("clang")(`a map of maps is told what of ${given}`, async () => {
      using object = await loadObject(buildProgram("inner-templates"), {
        innerMaps: Object.fromEntries(made.map(({ name, ...rest }) => [name, rest])),
      });
      const tenants = object.map<number, unknown>("tenants");
      expect(() => tenants.set(1, given)).toThrow(says);
      expect(tenants.size).toBe(0);
    });

  for (const [name, outer, says] of [
    ["tables", "tenants", "has a map of that name"],
    ["one", "tenant", 'has no map of maps "tenant"'],
  ] as const)
    needing("clang")(`are refused by name: ${says}`, async () => {
      await expect(
        loadObject(buildProgram("inner-templates"), { innerMaps: { [name]: { outer } } }),
      ).rejects.toMatchObject({
        code: "INNER_MAP_TEMPLATE",
        message: expect.stringContaining(says),
      });
    });
});
