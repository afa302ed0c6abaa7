import { errno } from "../common/errno.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { EngineContext, LinkedProgram } from "../engine/engine.ts";
import { chooseEngine } from "../filter/engines.ts";
import { slotEntry } from "../filter/program-arrays.ts";
import { createMap } from "../maps/create-map.ts";
import { MapAccess } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { MapMetricsSpec } from "../metrics/map-metric-spec.ts";
import type { MetricMap } from "../metrics/map-source.ts";
import type { FilterPlan, ProgramPlan } from "../proxy/plan.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { UPDATE_ANY } from "../runtime/wasm/layout.ts";
import type { EntryBytes, FilterConfig } from "./config.ts";

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
}

/**
 * Creates and fills a filter's maps and binds its programs to them. `cpus`: number of workers;
 * `firstCalled`: what its prog_arrays number their first program with.
 */
export function prepareFilter(
  filter: FilterConfig,
  arena: Arena,
  runtime: MapRuntime,
  cpus: number,
  firstCalled: number,
): Result<PreparedFilter, UserError[]> {
  const { name, where, object } = filter;
  const errors: UserError[] = [];
  const maps: PreparedMap[] = [];
  for (const [i, spec] of object.maps.entries()) {
    const handle = createMap(spec, arena, runtime, cpus);
    if (!handle.ok) {
      const { code, where: inside, what, fix } = handle.error;
      errors.push(new UserError(code, where, `filter ${name}: ${inside}: ${what}`, fix));
      continue;
    }
    const source = new MapAccess(handle.value, arena, runtime);
    const slots = filter.tailCalls.slots[i] ?? [];
    const programs = slots.map(({ index, program }) => ({
      ...slotEntry({ index, program: firstCalled + program - 1 }),
      where,
    }));
    errors.push(...fill(source, [...(filter.contents[i] ?? []), ...programs]));
    maps.push({
      name: spec.name,
      handle: handle.value,
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
