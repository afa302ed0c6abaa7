import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, expect } from "vitest";
import { build } from "../object/clang.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { inProcess } from "./in-process.ts";

const test = needing("clang");
const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Its program `program` cannot be put together, `beside` can. */
const parted = (): string => build("broken.c", "-DBESIDE");
const why = (object: string): string =>
  `${object}, program program, section "xdp", function "program", instruction 0: it leads to byte 800 of section "xdp", where no function begins; build the object again\n`;

test("prog list --object lists the programs beside a broken one, and says why that is none", async () => {
  const object = parted();
  expect(await inProcess(["prog", "list", "--object", object])).toEqual({
    code: 1,
    stdout: expect.stringMatching(
      /^2: xdp {2}name beside {2}tag [0-9a-f]{16}\n\tsection xdp .*\n$/,
    ),
    stderr: `weir prog list: ${why(object)}`,
  });
});

test("prog list --object --json has a broken program's error in its place", async () => {
  const object = parted();
  const { code, stdout } = await inProcess(["prog", "list", "--object", object, "--json"]);
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toEqual([
    {
      id: 1,
      type: "xdp",
      name: "program",
      section: "xdp",
      object,
      error: expect.objectContaining({ code: "OBJECT_RELOCATION", fix: "build the object again" }),
    },
    expect.objectContaining({ id: 2, name: "beside", bytes_xlated: 16 }),
  ]);
});

test("prog show and prog dump xlated of the sound program know nothing of the broken one", async () => {
  const object = parted();
  for (const command of ["prog show beside", "prog dump xlated beside"])
    expect(await inProcess([...command.split(" "), "--object", object])).toMatchObject({
      code: 0,
      stderr: "",
    });
  expect(await inProcess(["prog", "dump", "xlated", "program", "--object", object])).toEqual({
    code: 1,
    stdout: "",
    stderr: `weir prog dump xlated: ${why(object)}`,
  });
});

test("prog list --object names the program and the instruction that is none", async () => {
  const object = folder.write("opcode.o", "");
  const bytes = readFileSync(build("broken.c", "-DBESIDE"));
  // `r0 = 2; exit`, which both programs end with: the second's first opcode becomes none.
  const at = bytes.lastIndexOf(Buffer.from("b7000000020000009500000000000000", "hex"));
  bytes[at] = 0xff;
  writeFileSync(object, bytes);
  const { code, stderr } = await inProcess(["prog", "list", "--object", object]);
  expect(code).toBe(1);
  expect(stderr).toContain(`weir prog list: ${object}, program beside, instruction 0: `);
});

test("map list --object lists the maps beside those that cannot be, and says why they cannot", async () => {
  const object = build("parted.c");
  const listed = await inProcess(["map", "list", "--object", object]);
  expect(listed).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/array {2}name counters /),
  });
  expect(listed.stderr.match(/^weir map list: .*? cannot be: /gm)).toEqual(
    ["peers", "unsized", "nested"].map(
      (name) => `weir map list: ${object}: map "${name}" cannot be: `,
    ),
  );
  const shown = await inProcess(["map", "show", "peers", "--object", object, "--json"]);
  expect(JSON.parse(shown.stdout)).toEqual({
    name: "peers",
    error: expect.objectContaining({ code: "MAP_TYPE_UNSUPPORTED" }),
  });
  expect(await inProcess(["map", "show", "counters", "--object", object])).toMatchObject({
    code: 0,
    stderr: "",
  });
  expect(await inProcess(["map", "show", "none", "--object", object])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/has no map "none"; it has .*counters.*, peers/),
  });
});
