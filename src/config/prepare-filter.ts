import { u32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { eachInSteps, type Steps } from "../common/steps.ts";
import { UserError } from "../common/user-error.ts";
import type { CodePlace, LinkedProgram } from "../engine/engine.ts";
import { chooseEngine } from "../filter/engines.ts";
import { slotEntry } from "../filter/program-arrays.ts";
import { createMap } from "../maps/create-map.ts";
import { MapAccess } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import { placeInnerMaps, putInner } from "../maps/place-inner-maps.ts";
import type { MapMetricsSpec } from "../metrics/map-metric-spec.ts";
import type { MetricMap } from "../metrics/map-source.ts";
import { holdsMaps } from "../object/map-rules.ts";
import type { MapSpec } from "../object/object-spec.ts";
import type { FilterPlan, ProgramPlan } from "../proxy/plan.ts";
import type { Arena } from "../runtime/arena.ts";
import type { MapRuntime } from "../runtime/map-runtime.ts";
import { UPDATE_ANY } from "../runtime/wasm/layout.ts";
import type { FilterConfig } from "./config.ts";
import { type EntryBytes, EntryTable } from "./entry-table.ts";
import { hasRoom } from "./map-edits.ts";
import { type Succession, successionOf } from "./map-succession.ts";
import { isPinned, type PinPlace, pinPlace } from "./pin-place.ts";
import { restorePin } from "./pinned-maps.ts";
import { refusedEntry } from "./refused-entry.ts";
import { isShared, type SharedMaps, sharedName, sharingProblem } from "./shared-maps.ts";

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
  /** Where it is kept across restarts if it is pinned, or why it cannot be. */
  readonly pin: Result<PinPlace, UserError>;
  /** Its name stands for one map in all filters. */
  readonly isShared: boolean;
  /** That name: of iproute2's PIN_OBJECT_NS more than its own. */
  readonly sharedName: string;
  /** It is a shadow's: not shared, whatever its object says. */
  readonly isShadow: boolean;
  /** What the config puts into it. */
  readonly declared: EntryTable;
  readonly succession: Succession;
  /** What it goes on from: the map of the plan before, which may be the same memory. */
  readonly before: Pick<PreparedMap, "source" | "declared"> | undefined;
}

/** Where a filter is prepared, and what filters share there. */
export interface FilterBench {
  readonly arena: Arena;
  readonly runtime: MapRuntime;
  /** Number of workers. */
  readonly cpus: number;
  readonly stateDir: string | undefined;
  /** What the filter's prog_arrays number their first program with. */
  readonly firstCalled: number;
  /** All filters of the plan in force. */
  readonly before: readonly PreparedFilter[];
  readonly shared: SharedMaps;
  /** Takes every map that was made, for whoever must give them back. */
  readonly created: MapHandle[];
}

/**
 * Creates and fills a filter's maps and binds its programs to them. Maps that go on from the plan in
 * force are not touched: `settleMaps` does that when the time has come.
 */
export function* prepareFilter(
  filter: FilterConfig,
  bench: FilterBench,
): Steps<Result<PreparedFilter, UserError[]>> {
  const { name, where, object } = filter;
  const { arena, runtime, stateDir } = bench;
  const errors: UserError[] = [];
  const refuse = ({ code, where: inside, what, fix }: UserError): void => {
    errors.push(new UserError(code, where, `filter ${name}: ${inside}: ${what}`, fix));
  };
  const found: Result<PlacedMap, UserError>[] = [];
  for (const [i, spec] of object.maps.entries())
    found.push(yield* placeMap(spec, filter, filter.contents[i]!, bench));
  for (const map of found) if (!map.ok) refuse(map.error);
  const placed = found.flatMap((map) => (map.ok ? [map.value] : []));
  if (errors.length > 0) return err(errors);
  const handles = placed.map(({ handle }) => handle);
  // As libbpf, which fills the maps that it makes, and not one that it finds pinned.
  const begun = object.maps.map((spec, i) => (placed[i]!.isBegun ? spec : { ...spec, slots: [] }));
  const misplaced = placeInnerMaps(begun, handles, arena, runtime);
  if (misplaced !== undefined) refuse(misplaced);

  const maps: PreparedMap[] = [];
  for (const [i, spec] of object.maps.entries()) {
    const { handle, succession, before } = placed[i]!;
    const source =
      succession === "kept" && before ? before.source : new MapAccess(handle, arena, runtime);
    const pin = pinPlace(spec, filter, filter.pinned.has(i), stateDir);
    // What goes on from the plan before has what it holds from there.
    if (
      pin.ok &&
      isPinned(pin.value) &&
      succession === "fresh" &&
      predecessor(spec, filter, bench) === undefined
    ) {
      const notRestored = restorePin(source, pin.value.file);
      if (notRestored !== undefined) refuse(notRestored);
    }
    const slots = filter.tailCalls.slots[i] ?? [];
    const programs = slots.map(({ index, program }) => ({
      ...slotEntry({ index, program: bench.firstCalled + program - 1 }),
      where,
    }));
    const declared = filter.contents[i]!;
    // A map that is moved gets its entries together with what it had.
    if (succession === "fresh") {
      const entries = programs.length > 0 ? programs : declared;
      if (holdsMaps(spec.type)) errors.push(...nest(source, entries, handles));
      else errors.push(...(yield* fill(source, entries)));
    }
    maps.push({
      name: spec.name,
      handle,
      source,
      pin,
      isShared: isShared(spec, filter),
      sharedName: sharedName(spec),
      isShadow: filter.shadow,
      btf: object.btf,
      keyType: spec.keyType,
      valueType: spec.valueType,
      dataSection: spec.dataSection,
      declared,
      succession,
      // Only what is needed of it, or each reload would hold on to all before.
      before:
        spec.keySize > 0 && before
          ? { source: before.source, declared: before.declared }
          : undefined,
    });
  }
  if (errors.length > 0) return err(errors);
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
      shadow: filter.shadow,
    }),
  );
  return ok({ name, file: object.file, where, maps, metrics: filter.metrics, plans, tailCalled });
}

/** What a map may go on from. */
type Predecessor = Pick<PreparedMap, "handle" | "source" | "declared" | "isShared" | "isShadow">;

/** A map in its memory, and what it goes on from: of a map that starts empty, nothing. */
interface PlacedMap {
  readonly handle: MapHandle;
  readonly succession: Succession;
  readonly before: Predecessor | undefined;
  /** It is made here, and starts from what the object and the config put into it. */
  readonly isBegun: boolean;
}

/**
 * The map that another filter pins by the same name, the one that the plan before has, or a new one.
 */
function* placeMap(
  spec: MapSpec,
  filter: FilterConfig,
  declared: EntryTable,
  bench: FilterBench,
): Steps<Result<PlacedMap, UserError>> {
  const known = isShared(spec, filter) ? bench.shared.get(sharedName(spec)) : undefined;
  if (known !== undefined) {
    const problem = sharingProblem(spec, known);
    if (problem !== undefined) return err(problem);
    const { handle, succession } = known;
    const goesOn = succession === "kept" || succession === "carried";
    const before = goesOn ? predecessor(spec, filter, bench) : undefined;
    return ok({ handle, succession, before, isBegun: false });
  }
  const before = predecessor(spec, filter, bench);
  const placed = yield* succeed(spec, filter, before, declared, bench);
  if (placed.ok && isShared(spec, filter))
    bench.shared.set(sharedName(spec), {
      handle: placed.value.handle,
      succession: placed.value.succession,
      filter: filter.name,
    });
  return placed;
}

/**
 * The map of the plan before that a map would go on from: the filter's own, or one that filters share,
 * into which this filter has put nothing yet. A filter that was a shadow leaves its own for that one,
 * and one that becomes a shadow begins anew: others go on with what they shared.
 */
function predecessor(
  spec: MapSpec,
  filter: FilterConfig,
  { before }: FilterBench,
): Predecessor | undefined {
  const named = (map: PreparedMap): boolean => map.name === spec.name;
  const own = before.find(({ name }) => name === filter.name)?.maps.find(named);
  if (!isShared(spec, filter)) return filter.shadow && own?.isShared === true ? undefined : own;
  if (own?.isShared === true) return own;
  const others = before
    .flatMap(({ maps }) => maps)
    .find((map) => map.isShared && map.sharedName === sharedName(spec));
  return others === undefined ? own : { ...others, declared: new EntryTable(spec) };
}

function* succeed(
  spec: MapSpec,
  filter: FilterConfig,
  before: Predecessor | undefined,
  declared: EntryTable,
  { arena, runtime, cpus, created }: FilterBench,
): Steps<Result<PlacedMap, UserError>> {
  const sharing = isShared(spec, filter);
  let succession =
    before === undefined || before.isShared === sharing || before.isShadow
      ? successionOf(spec, before?.handle)
      : err(before.isShared ? "it is no longer pinned by name" : "it became pinned by name");
  if (!succession.ok && filter.onSchemaChange === "reset") succession = ok("fresh");
  if (!succession.ok)
    return err(
      new UserError(
        "MAP_SCHEMA_CHANGED",
        `map ${spec.name}`,
        `cannot keep its contents: ${succession.error}`,
        "write onSchemaChange: reset to let it start empty, or give the filter another name",
      ),
    );
  if (succession.value === "kept" && before !== undefined) {
    const refusal = keylessChange(spec, declared, before.declared);
    if (refusal !== undefined) return err(refusal);
    if (spec.keySize === 0 || (yield* hasRoom(before.source, before.declared, declared)))
      return ok({ handle: before.handle, succession: "kept", before, isBegun: false });
    succession = ok("moved");
  }
  const handle = createMap(spec, arena, runtime, cpus);
  if (!handle.ok) return handle;
  created.push(handle.value);
  const isBegun = succession.value === "fresh";
  return ok({
    handle: handle.value,
    succession: succession.value,
    before: isBegun ? undefined : before,
    isBegun,
  });
}

/** Entries without a key cannot be found again, to be replaced: those of a map in use stay. */
function keylessChange(
  { name, keySize }: MapSpec,
  declared: EntryTable,
  before: EntryTable,
): UserError | undefined {
  if (keySize > 0 || declared.equals(before)) return undefined;
  return new UserError(
    "MAP_CONTENTS_CHANGED",
    `map ${name}`,
    "has other first entries, which have no keys to be replaced by",
    "leave them as they were, give the filter another name, or restart the proxy",
  );
}

/** Entries of a map of maps: each value is the number of one of the object's maps. */
function nest(
  outer: MapAccess,
  entries: Iterable<EntryBytes>,
  maps: readonly MapHandle[],
): UserError[] {
  return [...entries].flatMap(
    ({ key, value, where }) => putInner(outer, key, maps[u32le(value, 0)]!, where) ?? [],
  );
}

/** A filter with the engine that takes it. */
export interface SettledEngine {
  readonly withEngine: PreparedFilter;
  readonly refusal: UserError | undefined;
}

/**
 * Finds out whether the engine that a filter asks for takes all its programs, which is compiling
 * them: else all get the interpreter, and `refusal` says why.
 */
export function* settleEngine(filter: PreparedFilter, place: CodePlace): Steps<SettledEngine> {
  const { plans, tailCalled } = filter;
  const programs = new Set([...plans, ...tailCalled].map(({ program }) => program));
  const { engine, refusal } = yield* chooseEngine(
    programs,
    plans[0]?.engine ?? "interpreter",
    place,
  );
  if (refusal === undefined) return { withEngine: filter, refusal };
  const withEngine = {
    ...filter,
    plans: plans.map((plan) => ({ ...plan, engine })),
    tailCalled: tailCalled.map((plan) => ({ ...plan, engine })),
  };
  return { withEngine, refusal };
}

/** The map's write protection is against programs and user space; these are its first contents. */
function* fill(map: MapAccess, entries: Iterable<EntryBytes>): Steps<UserError[]> {
  const errors: UserError[] = [];
  yield* eachInSteps(entries, ({ key, value, where }) => {
    const result = map.initialize(key, value, UPDATE_ANY);
    if (result !== 0) errors.push(refusedEntry(map, where, result));
  });
  return errors;
}
