import { u32le } from "../common/bytes.ts";
import { errno } from "../common/errno.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineContext, LinkedProgram } from "../engine/engine.ts";
import { chooseEngine } from "../filter/engines.ts";
import { slotEntry } from "../filter/program-arrays.ts";
import { createMap } from "../maps/create-map.ts";
import { MapAccess } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { holdsMaps } from "../maps/map-rules.ts";
import { placeInnerMaps, putInner } from "../maps/place-inner-maps.ts";
import type { MapMetricsSpec } from "../metrics/map-metric-spec.ts";
import type { MetricMap } from "../metrics/map-source.ts";
import type { MapSpec } from "../object/object-spec.ts";
import type { FilterPlan, ProgramPlan } from "../proxy/plan.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { UPDATE_ANY } from "../runtime/wasm/layout.ts";
import type { EntryBytes, FilterConfig } from "./config.ts";
import { pinFile, restorePin } from "./pinned-maps.ts";
import { isShared, type SharedMaps, sharingProblem } from "./shared-maps.ts";

/** A filter whose maps exist and hold what the config says: what the main thread reads of it. */
export interface PreparedFilter {
  readonly name: string;
  /** The object's file. */
  readonly file: string;
  /** `file:line:column` in the config. */
  readonly where: string;
  /** All maps of the object, data sections among them, in its order. */
  readonly maps: readonly PreparedMap[];
  readonly metrics: MapMetricsSpec;
  /** Its own program first, then those that chains name as `filter:program`. */
  readonly plans: readonly FilterPlan[];
  /** What its prog_arrays name. */
  readonly tailCalled: readonly ProgramPlan[];
}

export interface PreparedMap extends MetricMap {
  readonly handle: MapHandle;
  readonly source: MapAccess;
  readonly keyType: number | undefined;
  /** Set for `.rodata`, `.data`, `.bss`. */
  readonly dataSection: string | undefined;
  /** Where it is kept across restarts, if it is. */
  readonly pinFile: string | undefined;
}

/** Where maps are made, and what filters share there. */
export interface FilterPlace {
  readonly arena: Arena;
  readonly runtime: MapRuntime;
  /** Number of workers. */
  readonly cpus: number;
  readonly stateDir: string | undefined;
  readonly shared: SharedMaps;
}

/**
 * Creates and fills a filter's maps and binds its programs to them. `firstCalled`: what its
 * prog_arrays number their first program with.
 */
export function prepareFilter(
  filter: FilterConfig,
  place: FilterPlace,
  firstCalled: number,
): Result<PreparedFilter, UserError[]> {
  const { name, where, object } = filter;
  const { arena, runtime, stateDir } = place;
  const errors: UserError[] = [];
  const refuse = ({ code, where: inside, what, fix }: UserError): void => {
    errors.push(new UserError(code, where, `filter ${name}: ${inside}: ${what}`, fix));
  };
  const made = object.maps.map((spec) => sharedOrNew(spec, name, place));
  for (const map of made) if (!map.ok) refuse(map.error);
  const placed = made.flatMap((map) => (map.ok ? [map.value] : []));
  if (errors.length > 0) return err(errors);
  const misplaced = placeInnerMaps(object.maps, placed, arena, runtime);
  if (misplaced !== undefined) refuse(misplaced);

  const maps: PreparedMap[] = [];
  for (const [i, spec] of object.maps.entries()) {
    const handle = placed[i]!;
    const source = new MapAccess(handle, arena, runtime);
    const file =
      filter.pinned.has(i) && stateDir !== undefined ? pinFile(stateDir, name, spec) : undefined;
    const notRestored = file === undefined ? undefined : restorePin(source, file);
    if (notRestored !== undefined) refuse(notRestored);
    const slots = filter.tailCalls.slots[i] ?? [];
    const programs = slots.map(({ index, program }) => ({
      ...slotEntry({ index, program: firstCalled + program - 1 }),
      where,
    }));
    const entries = [...(filter.contents[i] ?? []), ...programs];
    errors.push(...(holdsMaps(spec.type) ? nest(source, entries, placed) : fill(source, entries)));
    maps.push({
      name: spec.name,
      handle,
      pinFile: file,
      source,
      btf: object.btf,
      keyType: spec.keyType,
      valueType: spec.valueType,
      dataSection: spec.dataSection,
    });
  }
  if (errors.length > 0) return err(errors);
  const handles = maps.map((map) => map.handle);
  const { engine } = filter;
  const bound = new Map<LinkedProgram, LinkedProgram>();
  for (const program of [...filter.programs, ...filter.tailCalls.programs])
    bound.set(program, { ...program, maps: handles });
  const tailCalled = filter.tailCalls.programs.map(
    (program): ProgramPlan => ({
      name: `${name}:${program.name}`,
      program: bound.get(program)!,
      engine,
    }),
  );
  const plans = filter.programs.map(
    (program, i): FilterPlan => ({
      name: i === 0 ? name : `${name}:${program.name}`,
      program: bound.get(program)!,
      engine,
      continueOn: filter.continueOn,
      match: filter.match,
    }),
  );
  return ok({ name, file: object.file, where, maps, metrics: filter.metrics, plans, tailCalled });
}

/** The map that another filter pins by the same name, or one of its own. */
function sharedOrNew(
  spec: MapSpec,
  filter: string,
  { arena, runtime, cpus, shared }: FilterPlace,
): Result<MapHandle, UserError> {
  const known = isShared(spec) ? shared.get(spec.name) : undefined;
  if (known === undefined) {
    const handle = createMap(spec, arena, runtime, cpus);
    if (handle.ok && isShared(spec)) shared.set(spec.name, { handle: handle.value, filter });
    return handle;
  }
  const problem = sharingProblem(spec, known);
  return problem === undefined ? ok(known.handle) : err(problem);
}

/** Entries of a map of maps: each value is the number of one of the object's maps. */
function nest(
  outer: MapAccess,
  entries: readonly EntryBytes[],
  maps: readonly MapHandle[],
): UserError[] {
  return entries.flatMap(
    ({ key, value, where }) => putInner(outer, key, maps[u32le(value, 0)]!, where) ?? [],
  );
}

/**
 * Finds out whether the engine that a filter asks for takes all its programs, which is compiling
 * them: else all get the interpreter, and `refusal` says why.
 */
export function settleEngine(
  filter: PreparedFilter,
  context: EngineContext,
): { withEngine: PreparedFilter; refusal: UserError | undefined } {
  const { plans, tailCalled } = filter;
  const programs = new Set([...plans, ...tailCalled].map(({ program }) => program));
  const { engine, refusal } = chooseEngine(programs, plans[0]?.engine ?? "interpreter", context);
  if (refusal === undefined) return { withEngine: filter, refusal };
  const withEngine = {
    ...filter,
    plans: plans.map((plan) => ({ ...plan, engine })),
    tailCalled: tailCalled.map((plan) => ({ ...plan, engine })),
  };
  return { withEngine, refusal };
}

/** What a map may say to an entry that the config's checks let through. errno(3). */
const refusals: Readonly<Record<number, string>> = {
  [errno.EINVAL]: "the map's type does not allow it",
  [errno.E2BIG]: "the map is full",
  [errno.ENOSPC]: "the map is full",
  [errno.ENOMEM]: "the map is full",
};

function fill(map: MapAccess, entries: readonly EntryBytes[]): UserError[] {
  const errors: UserError[] = [];
  for (const { key, value, where } of entries) {
    // The map's write protection is against programs and user space; these are its first contents.
    const result = map.initialize(key, value, UPDATE_ANY);
    if (result !== 0)
      errors.push(
        new UserError(
          "CONFIG_ENTRY_REFUSED",
          where,
          `map ${map.handle.name} refuses the entry: ${refusals[-result] ?? `error ${-result} (errno(3))`}`,
        ),
      );
  }
  return errors;
}
