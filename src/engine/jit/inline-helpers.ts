import { errno } from "../../common/errno.ts";
import type { MapHandle } from "../../maps/map-handle.ts";
import { holdsMaps } from "../../object/map-rules.ts";
import type { MapType } from "../../object/object-spec.ts";
import {
  F_RDONLY_PROG,
  MAP_CPU_STRIDE,
  MAP_VALUE_STRIDE,
  MAP_VALUES,
} from "../../runtime/wasm/layout.ts";
import type { LinkedProgram } from "../engine.ts";
import { helpers } from "../helpers/helper-table.ts";
import { callStepsOn, countedSteps } from "../helpers/helper-work.ts";
import { READ } from "../program-memory.ts";
import { provenSteps } from "../runnable-program.ts";
import type { FunctionEmitter } from "./function-emitter.ts";
import { detailOf, kindOf, MAP } from "./known-values.ts";
import { pushOutside, staysInFrame } from "./memory-access.ts";
import { mapLookup } from "./register-use.ts";
import { scratch } from "./scratch.ts";
import { proofOf } from "./unit.ts";
import { I32, i32, i64 } from "./wasm-operation.ts";

/** Helpers that have a form without JavaScript: enum bpf_func_id. */
const mapUpdate = 2;
const mapDelete = 3;
const ktimeGetNs = 5;
const getSmpProcessorId = 8;

/** Whether a program that calls this helper may call the map runtime. */
export function callsRuntime(helper: number): boolean {
  return helper === mapLookup || helper === mapUpdate || helper === mapDelete;
}

/** Whether a call of this helper on any of these maps may take from the budget. */
export function mayBeCharged(
  program: LinkedProgram,
  id: number,
  maps: readonly MapHandle[],
): boolean {
  if (id === ktimeGetNs || id === getSmpProcessorId) return false;
  if (!callsRuntime(id)) return true;
  return maps.some((map) => stepsOn(program, id, map) > 0);
}

/** What counts of a call of a helper that works on a map alone. */
function stepsOn(program: LinkedProgram, id: number, map: MapHandle): number {
  return countedSteps(provenSteps(program), callStepsOn(helpers.get(id)!, map));
}

/** Whether this helper's inline form reads the clock from the scratch. */
export function readsClock(helper: number): boolean {
  return helper === ktimeGetNs;
}

const [r0, r1, r2, r3, r4] = [0, 1, 2, 3, 4];

/**
 * Compiles a call of a helper: inline or by a call from WebAssembly to WebAssembly where what it
 * works on is known, else by `general`, which calls its implementation in the table.
 */
export function emitInlineHelper(
  to: FunctionEmitter,
  id: number,
  slot: number,
  general: () => void,
): void {
  const { code, unit } = to;
  if (id === ktimeGetNs) {
    code.i32(0);
    code.access(i64.load, unit.scratch + scratch.clock);
    to.set(r0);
  } else if (id === getSmpProcessorId) {
    code.i64(unit.context.cpu);
    to.set(r0);
  } else if (callsRuntime(id)) emitMapHelper(to, id, slot, general);
  else general();
}

function emitMapHelper(to: FunctionEmitter, id: number, slot: number, general: () => void): void {
  const map = mapOfCall(to, r1, slot);
  // What a map of maps holds is a map that the host must know of.
  if (map === undefined || !allowed(id, map) || holdsMaps(map.type)) {
    general();
    return;
  }
  const charge = (): void => {
    const steps = stepsOn(to.unit.program, id, map);
    if (steps > 0) to.charge(steps, slot);
  };
  if (id === mapLookup) {
    withKey(to, map, general, () => {
      charge();
      emitLookup(to, map);
    });
    return;
  }
  const valueIsGood =
    id === mapDelete || !to.checks || staysInFrame(to.known[r3]!, 0, map.valueSize);
  if (!valueIsGood) general();
  else
    withKey(to, map, general, () => {
      charge();
      if (id === mapUpdate) emitUpdate(to, map);
      else emitDelete(to, map);
    });
}

/** The one map that the call at `slot` takes in this register, as far as it is known. */
export function mapOfCall(
  to: FunctionEmitter,
  register: number,
  slot: number,
): MapHandle | undefined {
  const known = to.known[register]!;
  const { program } = to.unit;
  const index = kindOf(known) === MAP ? detailOf(known) : (proofOf(program)?.mapOfCall[slot] ?? -1);
  return program.maps[index];
}

function allowed(id: number, map: MapHandle): boolean {
  const helper = helpers.get(id)!;
  if (!(helper.maps as readonly MapType[]).includes(map.type)) return false;
  const readOnly = map.readOnly || (map.flags & F_RDONLY_PROG) !== 0;
  return !(helper.changesMap === true && readOnly);
}

/** Emits the inline form for keys that may be read, the general one for others. */
function withKey(
  to: FunctionEmitter,
  map: MapHandle,
  general: () => void,
  inline: () => void,
): void {
  const { keySize } = map;
  if (!to.checks || staysInFrame(to.known[r2]!, 0, keySize)) inline();
  else if (keySize === 1 || keySize === 2 || keySize === 4 || keySize === 8) {
    pushOutside(to, r2, 0, keySize, READ);
    to.code.if();
    general();
    to.code.else();
    inline();
    to.code.end();
  } else general();
}

function emitLookup(to: FunctionEmitter, map: MapHandle): void {
  if (map.type === "array" || map.type === "percpu_array") {
    emitArrayLookup(to, map);
    return;
  }
  const { code, unit } = to;
  code.i32(map.descriptor);
  to.getLow(r2);
  code.i32(unit.context.cpu);
  code.call(unit.imports.runtime.get(lookupName(map))!);
  to.setLow(r0);
}

/** Which of the runtime's lookups is made for this map. */
function lookupName({ type, keySize }: MapHandle): string {
  const size = keySize === 4 || keySize === 8 || keySize === 16 ? String(keySize) : "N";
  switch (type) {
    case "hash":
    case "percpu_hash":
    case "devmap_hash":
      return `lookupHash${size}`;
    case "lru_hash":
    case "lru_percpu_hash":
      return `lookupLru${size}`;
    case "lpm_trie":
      return "lookupTrie";
    default:
      return "lookup";
  }
}

/** All but the index is constant: kernel/bpf/arraymap.c, array_map_gen_lookup. */
function emitArrayLookup(to: FunctionEmitter, map: MapHandle): void {
  const { code } = to;
  const { arena, cpu } = to.unit.context;
  const word = (at: number): number => arena.view.getUint32(map.descriptor + at, true);
  const index = to.temporary(I32);
  const stride = word(MAP_VALUE_STRIDE);
  const base = word(MAP_VALUES) + (cpu < map.cpus ? cpu : 0) * word(MAP_CPU_STRIDE);
  to.getLow(r2);
  code.access(i32.load, 0);
  code.tee(index);
  code.i32(map.maxEntries | 0);
  code.emit(i32.lt_u);
  code.if(I32);
  code.get(index);
  code.i32(stride | 0);
  code.emit(i32.mul);
  code.i32(base);
  code.emit(i32.add);
  code.else();
  code.i32(0);
  code.end();
  to.setLow(r0);
}

/** Flags are 64 bits wide; the runtime takes the low word. */
function emitUpdate(to: FunctionEmitter, map: MapHandle): void {
  const { code, unit } = to;
  to.getHigh(r4);
  code.if(I32);
  code.i32(-errno.EINVAL);
  code.else();
  code.i32(map.descriptor);
  to.getLow(r2);
  to.getLow(r3);
  to.getLow(r4);
  code.i32(unit.context.cpu);
  code.call(unit.imports.runtime.get("update")!);
  code.end();
  code.emit(i64.extend_s);
  to.set(r0);
}

function emitDelete(to: FunctionEmitter, map: MapHandle): void {
  const { code, unit } = to;
  code.i32(map.descriptor);
  to.getLow(r2);
  code.i32(unit.context.cpu);
  code.call(unit.imports.runtime.get("remove")!);
  code.emit(i64.extend_s);
  to.set(r0);
}
