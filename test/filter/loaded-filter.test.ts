import { expect, test } from "vitest";
import type { Executable, Fault } from "../../src/engine/engine.ts";
import { Counters, counterBytes } from "../../src/filter/counters.ts";
import { type FaultReport, FaultReporter } from "../../src/filter/fault-reporter.ts";
import { LoadedFilter } from "../../src/filter/loaded-filter.ts";
import { Arena } from "../../src/runtime/arena.ts";
import { SLOT_BYTES } from "../../src/runtime/wasm/layout.ts";
import { placesFrom } from "../support/counter-places.ts";

const shape = { listeners: 0, filters: 1, addresses: 0 };
const fault: Fault = { code: "bad_access", slot: 3, message: "beyond the packet" };

for (const { title, of, program } of [
  { title: "of the program itself names it", of: fault, program: "entry" },
  {
    title: "behind a tail call names the program that ran then",
    of: { ...fault, program: "target" },
    program: "target",
  },
])
  test(`the report of a fault ${title}`, () => {
    const arena = Arena.create(1 << 20);
    if (!arena.ok) throw arena.error;
    const place = (bytes: number): number => {
      const at = arena.value.allocate(bytes, "test");
      if (!at.ok) throw at.error;
      return at.value;
    };
    const slot = place(SLOT_BYTES);
    const counters = new Counters(
      arena.value.memory,
      placesFrom(place(counterBytes(shape)), shape),
    );
    const reports: FaultReport[] = [];
    const faults = new FaultReporter(
      (report) => reports.push(report),
      () => 0,
    );
    const executable: Executable = {
      program: { name: "entry", type: "xdp", maps: [] },
      engine: "interpreter",
      fault: of,
      run: () => 0,
    };
    const parts = { name: "filter", index: 0, type: "xdp" as const, executable };
    const filter = new LoadedFilter(parts, arena.value, counters, faults);
    expect(filter.judge(slot).kind).toBe("aborted");
    expect(filter.faulted).toBe(true);
    expect(reports).toEqual([{ ...fault, filter: "filter", program, suppressed: 0 }]);
  });
