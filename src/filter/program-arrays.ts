import { putU32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import type { Steps } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
import type { LinkedProgram } from "../engine/engine.ts";
import { linkProgram } from "../engine/link.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { MapEntry, ObjectSpec, ProgramType } from "../object/object-spec.ts";

/** A slot of a prog_array and the program of the same object that goes into it. */
export interface ProgramSlot {
  /** Index into the object's maps. */
  readonly map: number;
  readonly index: number;
  readonly program: string;
}

/** Programs that tail calls can lead to, and the slots that say how. */
export interface TailCalls {
  /** Slot values number them from 1. Those of `roots` that are called are the same objects. */
  readonly programs: readonly LinkedProgram[];
  /** By index into the object's maps. */
  readonly slots: readonly (readonly NumberedSlot[])[];
}

export interface NumberedSlot {
  readonly index: number;
  /** From 1. */
  readonly program: number;
}

/** What of an object its tail calls are resolved with. */
export type TailCallObject = Pick<ObjectSpec, "file" | "maps" | "programs" | "btf">;

/** Why a slot cannot be filled. */
export interface SlotRefusal {
  readonly slot: ProgramSlot;
  readonly error: UserError;
}

/**
 * Finds and links what `roots`, programs of `object` bound to `maps`, can tail-call: the object's
 * own slots, then `chosen`, which replace them. Slots of prog_arrays that none of these programs
 * uses stay empty, unless `chosen` fills them. All programs that use or stand in one prog_array are
 * of one type, as the kernel demands (bpf_prog_map_compatible). `type` stands in for the sections'. A
 * program a step.
 */
export function* resolveTailCalls(
  object: TailCallObject,
  roots: readonly LinkedProgram[],
  maps: readonly MapHandle[],
  chosen: readonly ProgramSlot[] = [],
  type?: ProgramType,
): Steps<Result<TailCalls, readonly SlotRefusal[]>> {
  const byMap = slotsByMap(object, chosen);
  const filled = new Set<number>();
  const pending: number[] = chosen.map(({ map }) => map);
  // Of each map, one program of each type that uses it or stands in it.
  const byType = object.maps.map(() => new Map<ProgramType, LinkedProgram>());
  const linked = new Map<string, LinkedProgram>();
  const reach = (program: LinkedProgram): void => {
    linked.set(program.name, program);
    for (const map of usedArrays(program)) {
      pending.push(map);
      byType[map]!.set(program.type, program);
    }
  };
  for (const root of roots) reach(root);

  const refusals: SlotRefusal[] = [];
  const numbers = new Map<LinkedProgram, number>();
  const placed: { readonly slot: ProgramSlot; readonly target: LinkedProgram }[] = [];
  const slots: NumberedSlot[][] = object.maps.map(() => []);
  for (let map = pending.pop(); map !== undefined; map = pending.pop()) {
    if (filled.has(map)) continue;
    filled.add(map);
    for (const slot of byMap.get(map)?.values() ?? []) {
      const target = slotProgram(slot, object, linked, maps, type);
      yield;
      if (!target.ok) {
        refusals.push({ slot, error: target.error });
        continue;
      }
      if (!linked.has(target.value.name)) reach(target.value);
      const program = numbers.get(target.value) ?? numbers.size + 1;
      numbers.set(target.value, program);
      slots[map]!.push({ index: slot.index, program });
      const { type: ofTarget } = target.value;
      if (!byType[map]!.has(ofTarget)) byType[map]!.set(ofTarget, target.value);
      placed.push({ slot, target: target.value });
    }
  }
  for (const { slot, target } of placed) {
    const other = [...byType[slot.map]!.values()].find((one) => one.type !== target.type);
    if (other !== undefined)
      refusals.push({ slot, error: mixedTypes(slot, object, other, target) });
  }
  return refusals.length > 0 ? err(refusals) : ok({ programs: [...numbers.keys()], slots });
}

/** The map entry that puts program number `program` (from 1) into a slot. */
export function slotEntry({ index, program }: NumberedSlot): MapEntry {
  const key = new Uint8Array(4);
  const value = new Uint8Array(4);
  putU32le(key, 0, index);
  putU32le(value, 0, program);
  return { key, value };
}

/** Slots by map and index; later ones replace earlier ones. */
function slotsByMap(
  { maps }: Pick<ObjectSpec, "maps">,
  chosen: readonly ProgramSlot[],
): ReadonlyMap<number, ReadonlyMap<number, ProgramSlot>> {
  const byMap = new Map<number, Map<number, ProgramSlot>>();
  const put = (slot: ProgramSlot): void => {
    const slots = byMap.get(slot.map) ?? new Map<number, ProgramSlot>();
    byMap.set(slot.map, slots.set(slot.index, slot));
  };
  for (const [map, { type, slots }] of maps.entries())
    if (type === "prog_array")
      for (const { index, name } of slots) put({ map, index, program: name });
  for (const slot of chosen) put(slot);
  return byMap;
}

function slotProgram(
  slot: ProgramSlot,
  object: TailCallObject,
  linked: ReadonlyMap<string, LinkedProgram>,
  maps: readonly MapHandle[],
  type: ProgramType | undefined,
): Result<LinkedProgram, UserError> {
  const map = object.maps[slot.map]!;
  const where = slotName(slot, object);
  if (slot.index >= map.maxEntries)
    return err(
      new UserError(
        "SLOT_BEYOND",
        where,
        `the map has ${map.maxEntries} entries`,
        `use an index from 0 to ${map.maxEntries - 1}`,
      ),
    );
  const known = linked.get(slot.program);
  if (known !== undefined) return ok(known);
  const spec = object.programs.find(({ name }) => name === slot.program);
  if (spec === undefined)
    return err(
      new UserError(
        "SLOT_NO_PROGRAM",
        where,
        `no program "${slot.program}" in ${object.file}`,
        `it has ${object.programs.map(({ name }) => name).join(", ") || "none"}`,
      ),
    );
  return linkProgram(spec, maps, type ?? spec.type, { object });
}

function mixedTypes(
  slot: ProgramSlot,
  object: Pick<ObjectSpec, "file" | "maps">,
  other: LinkedProgram,
  target: LinkedProgram,
): UserError {
  return new UserError(
    "SLOT_PROGRAM_TYPE",
    slotName(slot, object),
    `program ${target.name} is of type ${target.type}, and ${other.name} of the same prog_array of type ${other.type}`,
    "let a prog_array hold programs of one type",
  );
}

function slotName(
  { map, index }: ProgramSlot,
  { file, maps }: Pick<ObjectSpec, "file" | "maps">,
): string {
  return `${file}, map ${maps[map]!.name}[${index}]`;
}

/** The prog_arrays that a program's instructions name. */
function usedArrays({ instructions, maps }: LinkedProgram): Set<number> {
  const used = new Set<number>();
  for (const instruction of instructions)
    if (instruction.kind === "load_map" && maps[instruction.map]!.type === "prog_array")
      used.add(instruction.map);
  return used;
}
