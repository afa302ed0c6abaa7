import { expect, test } from "vitest";
import type { Steps } from "../../src/common/steps.ts";
import type { Config } from "../../src/config/config.ts";
import { parseSteps } from "../../src/config/load-config.ts";
import type { LinkedProgram } from "../../src/engine/engine.ts";
import { jit } from "../../src/engine/jit/jit.ts";
import { linkProgram } from "../../src/engine/link.ts";
import { chooseEngine } from "../../src/filter/engines.ts";
import { resolveTailCalls } from "../../src/filter/program-arrays.ts";
import { EngineBench, spec, unwrap } from "../engine/engine-bench.ts";
import { mapSpec } from "../maps/open-map.ts";

/** How often others may have a turn, and what came of it. */
function counted<T>(steps: Steps<T>): { readonly steps: number; readonly result: T } {
  for (let count = 0; ; count++) {
    const step = steps.next();
    if (step.done) return { steps: count, result: step.value };
  }
}

const config = (egress: string): string => `version: 1
upstreams: { app: { addresses: ["127.0.0.1:5353"] } }
filters: { guard: { object: ../filters/dns-guard.o, program: xdp_dns_guard } }
listeners:
  - { name: a, protocol: udp, listen: "127.0.0.1:5399", upstream: app, ingress: [guard], egress: [${egress}] }
`;

function load(egress: string): { readonly steps: number; readonly config: Config } {
  const { steps, result } = counted(parseSteps(config(egress), "config/t.yaml"));
  if (!result.ok) throw new Error(result.error.map(String).join("\n"));
  return { steps, config: result.value };
}

test("while a filter with several programs is loaded others have a turn after each", () => {
  const one = load("");
  const two = load("guard:xdp_dns_learn");
  expect(two.config.filters[0]!.programs.length).toBe(2);
  expect(two.steps - one.steps).toBe(1);
});

test("so they have after each program that tail calls lead to", () => {
  const bench = new EngineBench(jit);
  const text = (index: number): string =>
    `r2 = map_by_fd(0) ll\nr3 = ${index}\ncall 12\nr0 = 2\nexit`;
  const programs = [0, 1, 2].map((i) => ({ ...spec(text(i), `p${i}`), type: "xdp" as const }));
  const array = {
    ...mapSpec("prog_array", 4, 4, 4),
    slots: [1, 2].map((index) => ({ index, name: `p${index}` })),
  };
  const maps = [bench.map("prog_array", { valueSize: 4 })];
  const root = unwrap(linkProgram(programs[0]!, maps));
  const object = { file: "t.o", maps: [array], programs, btf: undefined };
  const { steps, result } = counted(resolveTailCalls(object, [root], maps));
  expect(result.ok && result.value.programs.map(({ name }) => name)).toEqual(["p1", "p2"]);
  expect(steps).toBe(2);
});

test("so they have after each program that is compiled for the engine that takes it", () => {
  const bench = new EngineBench(jit);
  const programs = ["r0 = 1\nexit", "r0 = 2\nexit", "r0 = 0\nexit"].map(
    (text): LinkedProgram => unwrap(linkProgram(spec(text), [], "xdp")),
  );
  const { steps, result } = counted(chooseEngine(programs, "jit", bench.context));
  expect(result).toEqual({ engine: "jit" });
  expect(steps).toBe(3);
});
