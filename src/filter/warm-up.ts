import { setImmediate } from "node:timers/promises";
import type { EngineContext, Executable } from "../engine/engine.ts";
import { type Twin, twin } from "../engine/jit/jit.ts";
import { placeFrame } from "../engine/packet-slot.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { mirrorMap } from "../maps/mirror-map.ts";
import { Flow } from "../packet/flow.ts";
import { tcpHeaderBytes, writeTcpFrame, writeUdpFrame } from "../packet/synthesis.ts";
import { Arena } from "../runtime/arena.ts";
import { instantiateRuntime } from "../runtime/instantiate.ts";

/** Time each program gets, and all of a worker together: V8 needs 0.5 to 20 ms. */
const programMs = 20;
const allMs = 1000;
/** Time between two looks at the event loop: what a packet waits at most where packets flow already. */
const sliceMs = 1;

/**
 * Runs compiled programs until V8 has replaced its first, slow code, which it does while they run,
 * so that the first packets do not wait for it.
 *
 * It is done on twins: instances of the same code over a memory of their own, which holds maps of the
 * same shape, the same configuration and no entries. So nothing that a program counts, prints or
 * redirects is seen by anyone. `slot` is a packet slot of the worker; `runtime` the map runtime's
 * module.
 */
export async function warmUp(
  executables: Iterable<Executable>,
  context: EngineContext,
  slot: number,
  runtime: WebAssembly.Module,
): Promise<void> {
  const compiled = [...new Set(executables)].filter(({ engine }) => engine === "jit");
  if (compiled.length === 0) return;
  const { twins, arena } = await twinsOf(compiled, context, runtime);
  const each = Math.min(programMs, allMs / compiled.length);
  for (const one of twins.values()) await warmOne(one, arena, slot, each);
}

/**
 * Calls twins of those of `compiled` programs that are in `called`, once a kind of packet: V8 compiles
 * a function when it is first called, in any thread, and all threads that have the module find that
 * done. Takes a turn for each; `slot` and `runtime` as above.
 */
export async function callOnce(
  called: ReadonlySet<Executable>,
  compiled: readonly Executable[],
  context: EngineContext,
  slot: number,
  runtime: WebAssembly.Module,
): Promise<void> {
  const { twins, arena } = await twinsOf(compiled, context, runtime);
  for (const one of called) {
    const { executable, run } = twins.get(one)!;
    for (const packet of packets) {
      placeFrame(arena, slot, packet, executable.program.type);
      run(slot);
    }
    await setImmediate();
  }
}

/** The twins, in a memory of their own. A map takes a turn: a large one is a millisecond's work. */
async function twinsOf(
  compiled: readonly Executable[],
  context: EngineContext,
  runtime: WebAssembly.Module,
): Promise<{ twins: ReadonlyMap<Executable, Twin>; arena: Arena }> {
  const scratch = scratchContext(context, runtime);
  const mirrored = new Set<MapHandle>();
  for (const { program } of compiled)
    for (const map of program.maps) {
      if (mirrored.has(map)) continue;
      mirrored.add(map);
      mirrorMap(map, context.arena, scratch.arena, scratch.runtime);
      await setImmediate();
    }
  const twins = new Map(compiled.map((one) => [one, twin(one, scratch)]));
  for (const called of context.programs ?? [])
    scratch.programs.push(twins.get(called)?.executable ?? called);
  return { twins, arena: scratch.arena };
}

interface ScratchContext extends EngineContext {
  readonly programs: Executable[];
}

/** A context of the same addresses over a memory of its own; pages that no one touches cost nothing. */
function scratchContext(context: EngineContext, module: WebAssembly.Module): ScratchContext {
  const pages = context.arena.memory.buffer.byteLength / 65_536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const arena = Arena.attach(memory);
  return {
    ...context,
    arena,
    runtime: instantiateRuntime(module, arena),
    trace: () => {},
    programs: [],
  };
}

async function warmOne(
  { executable, run }: Twin,
  arena: Arena,
  slot: number,
  forMs: number,
): Promise<void> {
  let spentMs = 0;
  while (spentMs < forMs) {
    const from = performance.now();
    const until = from + Math.min(sliceMs, forMs - spentMs);
    let now = from;
    for (let i = 0; now < until; i++, now = performance.now()) {
      // What the program did to the packet is undone now and then.
      if (i % 16 === 0)
        placeFrame(arena, slot, packets[(i / 16) % packets.length]!, executable.program.type);
      run(slot);
    }
    spentMs += now - from;
    await setImmediate();
  }
}

const client = { address: "192.0.2.1", port: 40_000 };
const server = { address: "198.51.100.1", port: 53 };

/** What most programs look at: a UDP datagram and the start of a TCP connection. */
const packets: readonly Uint8Array[] = [udpPacket(), tcpPacket()];

function udpPacket(): Uint8Array {
  const flow = new Flow("udp", client, server);
  const packet = new Uint8Array(flow.headerBytes + 512);
  writeUdpFrame(packet, 0, flow, 512);
  return packet;
}

function tcpPacket(): Uint8Array {
  const flow = new Flow("tcp", client, server);
  const syn = {
    sequence: 1,
    acknowledgement: 0,
    flags: 2,
    maximumSegmentSize: 1460,
    window: 64_240,
  };
  const packet = new Uint8Array(tcpHeaderBytes(flow, syn));
  writeTcpFrame(packet, 0, flow, syn, 0);
  return packet;
}
