import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { LinkedProgram } from "../engine/engine.ts";
import { slotEntry } from "../filter/program-arrays.ts";
import { createMap } from "../maps/create-map.ts";
import { MapAccess } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { MapMetricsSpec } from "../metrics/map-metric-spec.ts";
import type { MetricMap } from "../metrics/map-source.ts";
import type { MapSpec } from "../object/object-spec.ts";
import type { FilterPlan, ProgramPlan } from "../proxy/plan.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { UPDATE_ANY } from "../runtime/wasm/layout.ts";
import type { EntryBytes, FilterConfig } from "./config.ts";
import { type Succession, successionOf } from "./map-succession.ts";
import { refusedEntry } from "./refused-entry.ts";

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
  /** What the config puts into it. */
  readonly declared: readonly EntryBytes[];
  readonly succession: Succession;
  /** What it goes on from: the map of the plan before, which may be the same memory. */
  readonly before: Pick<PreparedMap, "source" | "declared"> | undefined;
}

/** Where a filter is prepared. */
export interface FilterBench {
  readonly arena: Arena;
  readonly runtime: MapRuntime;
  /** Number of workers. */
  readonly cpus: number;
  /** What the filter's prog_arrays number their first program with. */
  readonly firstCalled: number;
  /** The filter of the same name in the plan in force. */
  readonly before: PreparedFilter | undefined;
  /** Takes every map that was made, for whoever must give them back. */
  readonly created: MapHandle[];
}

/**
 * Creates and fills a filter's maps and binds its programs to them. Maps that go on from the plan in
 * force are not touched: `settleMaps` does that when the time has come.
 */
export function prepareFilter(
  filter: FilterConfig,
  bench: FilterBench,
): Result<PreparedFilter, UserError[]> {
  const { name, where, object } = filter;
  const errors: UserError[] = [];
  const maps: PreparedMap[] = [];
  for (const [i, spec] of object.maps.entries()) {
    const slots = filter.tailCalls.slots[i] ?? [];
    const programs = slots.map(({ index, program }) => ({
      ...slotEntry({ index, program: bench.firstCalled + program - 1 }),
      where,
    }));
    const map = prepareMap(filter, spec, filter.contents[i] ?? [], programs, bench);
    if (map.ok) maps.push(map.value);
    else errors.push(...map.error);
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

function prepareMap(
  filter: FilterConfig,
  spec: MapSpec,
  declared: readonly EntryBytes[],
  programs: readonly EntryBytes[],
  { arena, runtime, cpus, before: filterBefore, created }: FilterBench,
): Result<PreparedMap, UserError[]> {
  const { object, where } = filter;
  const before = filterBefore?.maps.find((map) => map.name === spec.name);
  let succession = successionOf(spec, before?.handle);
  if (!succession.ok && filter.onSchemaChange === "reset") succession = ok("fresh");
  if (!succession.ok)
    return err([
      new UserError(
        "MAP_SCHEMA_CHANGED",
        where,
        `filter ${filter.name}: map ${spec.name} cannot keep its contents: ${succession.error}`,
        "write onSchemaChange: reset to let it start empty, or give the filter another name",
      ),
    ]);
  const common = {
    name: spec.name,
    btf: object.btf,
    keyType: spec.keyType,
    valueType: spec.valueType,
    dataSection: spec.dataSection,
    declared,
    succession: succession.value,
  };
  // Only what is needed of it, or each reload would hold on to all before.
  const heritage = before && { source: before.source, declared: before.declared };
  if (succession.value === "kept" && before !== undefined)
    return ok({ ...common, handle: before.handle, source: before.source, before: heritage });
  const handle = createMap(spec, arena, runtime, cpus);
  if (!handle.ok) {
    const { code, where: inside, what, fix } = handle.error;
    return err([new UserError(code, where, `filter ${filter.name}: ${inside}: ${what}`, fix)]);
  }
  created.push(handle.value);
  const source = new MapAccess(handle.value, arena, runtime);
  // A map that grows gets its entries together with what it had.
  const isGrown = succession.value === "grown";
  const errors = fill(source, isGrown ? [] : [...declared, ...programs]);
  if (errors.length > 0) return err(errors);
  return ok({ ...common, handle: handle.value, source, before: isGrown ? heritage : undefined });
}

function fill(map: MapAccess, entries: readonly EntryBytes[]): UserError[] {
  const errors: UserError[] = [];
  for (const { key, value, where } of entries) {
    // The map's write protection is against programs and user space; these are its first contents.
    const result = map.initialize(key, value, UPDATE_ANY);
    if (result !== 0) errors.push(refusedEntry(map, where, result));
  }
  return errors;
}
