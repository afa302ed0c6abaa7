import { expect, test } from "vitest";
import { type Engine, stackBytes } from "../../src/engine/engine.ts";
import { frameOffset } from "../../src/engine/packet-slot.ts";
import { disassembleProgram } from "../../src/isa/disassembler.ts";
import type { Instruction } from "../../src/isa/instruction.ts";
import type { MapHandle } from "../../src/maps/map-handle.ts";
import type { ProgramType } from "../../src/object/object-spec.ts";
import {
  F_RDONLY_PROG,
  MAP_VALUE_COUNT,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
} from "../../src/runtime/wasm/layout.ts";
import { Random } from "../packet/random.ts";
import { EngineBench } from "./engine-bench.ts";
import { hostileProgram } from "./hostile-program.ts";

/** Where a program may write, as offsets in the arena. */
interface Writable {
  readonly from: number;
  readonly to: number;
}

const programCount = 3000;

/**
 * Random programs that break every rule but the linker's: none may throw, run for ever, or change a
 * byte outside the packet, the stack, its context and the maps it may write.
 */
export function engineFuzz(label: string, engine: Engine): void {
  test(`${label}: no hostile program throws, or writes outside its objects (${programCount} programs)`, () => {
    const random = new Random(7);
    const bench = new EngineBench(engine, 1 << 20);
    const maps = fuzzMaps(bench);
    const writable = writableParts(bench, maps);
    const movable = {
      from: bench.slot + SLOT_HEADER_BYTES + 40,
      to: bench.slot + SLOT_HEADER_BYTES + 4096 - 320,
    };
    let faults = 0;
    for (let i = 0; i < programCount; i++) {
      const type = (["xdp", "raw", "socket"] as const)[i % 3]!;
      const program = hostileProgram(random, type);
      const packet = random.bytes(14 + random.below(100));
      const frame = movesEnds(program)
        ? movable
        : { from: bench.slot + frameOffset, to: bench.slot + frameOffset + packet.length };
      // What the program before left around the frame is cleared where the next packet is placed.
      bench.arena.bytes.fill(0, bench.slot + SLOT_HEADER_BYTES, bench.slot + SLOT_BYTES);
      const before = bench.arena.bytes.slice();
      const run = runProgram(bench, program, type, maps, packet);
      bench.traced.length = 0;
      if (run.fault !== undefined) faults++;
      const changed = changedOutside(before, bench.arena.bytes, [...writable, frame]);
      if (changed !== undefined)
        expect.fail(`byte ${changed} of the arena changed by\n${disassembleProgram(program)}`);
    }
    // Otherwise the programs would be too tame to show anything, or fail before they do anything.
    expect(faults).toBeGreaterThan(programCount / 4);
    expect(faults).toBeLessThan(programCount * 0.95);
  });
}

export function fuzzMaps(bench: EngineBench): MapHandle[] {
  const devices = bench.map("devmap", { valueSize: 4 });
  bench.access(devices).update(Uint8Array.of(1, 0, 0, 0), Uint8Array.of(7, 0, 0, 0));
  return [
    bench.map("array", { name: "one", maxEntries: 1, valueSize: 64 }),
    bench.map("hash"),
    bench.map("array", { name: "rodata", flags: F_RDONLY_PROG, maxEntries: 1, valueSize: 32 }),
    devices,
  ];
}

/** Helpers may change all of a hash map; of an array, programs may change the values. */
function writableParts(bench: EngineBench, maps: readonly MapHandle[]): Writable[] {
  const { arena, slot, context } = bench;
  const [one, hash, rodata] = maps as [MapHandle, MapHandle, MapHandle];
  const values = arena.view.getUint32(one.descriptor + MAP_VALUES, true);
  const stride = arena.view.getUint32(one.descriptor + MAP_VALUE_STRIDE, true);
  const count = arena.view.getUint32(one.descriptor + MAP_VALUE_COUNT, true);
  return [
    // The engine keeps it.
    { from: slot, to: slot + SLOT_HEADER_BYTES },
    { from: context.stack, to: context.stack + stackBytes },
    { from: values, to: values + stride * count },
    { from: hash.descriptor, to: rodata.descriptor },
  ];
}

/** Whether the packet's ends may move: then all room of a kernel's frame is the program's. */
function movesEnds(program: readonly Instruction[]): boolean {
  return program.some((one) => one.kind === "call_helper" && [44, 54, 65].includes(one.id));
}

function runProgram(
  bench: EngineBench,
  program: readonly Instruction[],
  type: ProgramType,
  maps: readonly MapHandle[],
  packet: Uint8Array,
) {
  try {
    return bench.run(bench.prepare(program, type, maps), packet);
  } catch (cause) {
    throw new Error(`threw on\n${disassembleProgram(program)}`, { cause });
  }
}

function changedOutside(
  before: Uint8Array,
  after: Uint8Array,
  writable: readonly Writable[],
): number | undefined {
  let from = 0;
  const parts = [...writable, { from: after.length, to: after.length }];
  for (const part of parts.sort((a, b) => a.from - b.from)) {
    const [was, is] = [before, after].map((bytes) =>
      Buffer.from(bytes.buffer, bytes.byteOffset + from, part.from - from),
    );
    if (!was!.equals(is!)) return from + was!.findIndex((byte, i) => byte !== is![i]);
    from = part.to;
  }
  return undefined;
}
