import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import type { EngineKind } from "../../src/engine/engine.ts";
import { Workbench } from "../../src/filter/workbench.ts";
import { loadObject } from "../../src/object/load-object.ts";
import { unwrap } from "../engine/engine-bench.ts";
import { cleanUp, onCleanUp } from "../proxy/rig.ts";
import { needing } from "../support/needing.ts";
import { temporaryFolder } from "../support/processes.ts";
import { buildProgram } from "./truth-rig.ts";

/** bpf_loop and bpf_for_each_map_elem as clang compiles them: both engines beside the kernel. */
const test = needing("clang", "bpftool", "kernel bpf()");
const packet = new Uint8Array(64);

afterAll(cleanUp);

/** What each of the object's programs returns in the kernel. */
function kernelReturns(file: string, programs: readonly string[]): ReadonlyMap<string, number> {
  const returns = new Map<string, number>();
  const folder = temporaryFolder();
  onCleanUp(() => folder.remove());
  execFileSync("mount", ["-t", "bpf", "none", folder.path]);
  try {
    const pins = join(folder.path, "programs");
    execFileSync("bpftool", ["prog", "loadall", file, pins], { stdio: "pipe" });
    const input = temporaryFolder();
    onCleanUp(() => input.remove());
    const data = join(input.path, "packet");
    writeFileSync(data, packet);
    for (const program of programs) {
      const run = ["prog", "run", "pinned", join(pins, program), "data_in", data, "repeat", "1"];
      const output = execFileSync("bpftool", [...run, "--json"], { encoding: "utf8" });
      returns.set(program, JSON.parse(output).retval >>> 0);
    }
  } finally {
    execFileSync("umount", [folder.path]);
  }
  return returns;
}

test("programs that are called back return what they return in the kernel", async () => {
  const file = buildProgram("callbacks");
  const object = unwrap(loadObject(readFileSync(file), file));
  const names = object.programs.map(({ name }) => name);
  expect(names.length).toBeGreaterThan(15);
  const kernel = kernelReturns(file, names);
  for (const engine of ["interpreter", "jit"] satisfies EngineKind[]) {
    const workbench = unwrap(await Workbench.create());
    // As in the kernel the programs share their maps, and run in this order.
    const maps = unwrap(workbench.createMaps(object.maps));
    for (const program of object.programs) {
      const executable = unwrap(workbench.prepare(program, maps, undefined, engine, { object }));
      const { returned, fault } = unwrap(workbench.run(executable, packet));
      expect({
        engine,
        program: program.name,
        fault,
        returned: Number(returned & 0xffff_ffffn),
      }).toEqual({
        engine,
        program: program.name,
        fault: undefined,
        returned: kernel.get(program.name),
      });
    }
  }
});
