import { expect, test } from "vitest";
import { parseHex, toHex } from "../../src/common/bytes.ts";
import type { Fault } from "../../src/engine/engine.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import { type EngineBench, frame } from "./engine-bench.ts";

/** One program, one packet, and what must come of it. */
export interface EngineCase {
  readonly name: string;
  readonly program: string;
  /** `raw` unless said otherwise. */
  readonly type?: ProgramType;
  /** Bytes 0, 1, 2, … of this number, or these in hex; 64 unless said otherwise. */
  readonly data?: number | string;
  /** Maps that the program names by index, made anew for this case. */
  readonly maps?: (bench: EngineBench) => readonly MapHandle[];
  /** r0, 64 bits; 0 after a fault. */
  readonly r0?: bigint;
  readonly fault?: { readonly code: Fault["code"]; readonly slot: number; readonly says: RegExp };
  /** The packet afterwards, in hex. */
  readonly packet?: string;
}

/** A test for each case. */
export function runCases(label: string, bench: EngineBench, cases: readonly EngineCase[]): void {
  for (const one of cases) test(`${label}: ${one.name}`, () => runCase(bench, one));
}

function runCase(bench: EngineBench, one: EngineCase): void {
  const { data = 64 } = one;
  const packet = typeof data === "number" ? frame(data) : parseHex(data)!;
  const executable = bench.prepare(one.program, one.type ?? "raw", one.maps?.(bench));
  const run = bench.run(executable, packet);
  const { code, slot } = run.fault ?? {};
  expect({ code, slot }, run.fault?.message).toEqual({
    code: one.fault?.code,
    slot: one.fault?.slot,
  });
  if (one.fault !== undefined) expect(run.fault!.message).toMatch(one.fault.says);
  if (one.r0 !== undefined || one.fault !== undefined)
    expect(`0x${run.r0.toString(16)}`).toBe(`0x${(one.r0 ?? 0n).toString(16)}`);
  if (one.packet !== undefined) expect(toHex(run.data)).toBe(one.packet.replace(/\s/g, ""));
}
