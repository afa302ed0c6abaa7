import { orList, suggestion } from "../common/closest.ts";
import type { Steps } from "../common/steps.ts";
import type { LinkedProgram } from "../engine/engine.ts";
import { linkProgram } from "../engine/link.ts";
import { type ProgramSlot, resolveTailCalls, type TailCalls } from "../filter/program-arrays.ts";
import { unplacedMap } from "../maps/map-handle.ts";
import { canBeKept } from "../maps/pin-file.ts";
import { withInnerMap } from "../maps/with-inner-map.ts";
import { globalNames, setGlobal } from "../object/globals.ts";
import type { ObjectSpec, ProgramSpec } from "../object/object-spec.ts";
import { readMetrics } from "./check-metrics.ts";
import { splitChainItem } from "./check-references.ts";
import type { FilterConfig } from "./config.ts";
import type { KeyPath } from "./config-problem.ts";
import { readSource } from "./filter-source.ts";
import { readMapContents, type WrittenSlot } from "./map-contents.ts";
import { type ProblemList, refuseTyped } from "./problem-list.ts";
import { fileAt } from "./read-file.ts";
import type { ReadableConfig, ReadableFilter } from "./readable-parts.ts";
import { quote } from "./scalars.ts";

/**
 * Reads each filter's object, sets its globals, finds the programs that are named and turns map
 * entries into bytes. Filters about which something is wrong are left out and in `problems`; those that
 * are `known` are taken as they are.
 */
export function* loadFilters(
  config: ReadableConfig,
  folder: string,
  problems: ProblemList,
  known: readonly FilterConfig[] = [],
): Steps<FilterConfig[]> {
  const loaded: FilterConfig[] = [];
  for (const [name, filter] of config.filters) {
    const one =
      known.find((each) => each.name === name) ??
      (yield* loadFilter(name, filter, config, folder, problems));
    if (one !== undefined) loaded.push(one);
    yield;
  }
  return loaded;
}

function* loadFilter(
  name: string,
  filter: ReadableFilter,
  config: ReadableConfig,
  folder: string,
  problems: ProblemList,
): Steps<FilterConfig | undefined> {
  const path = ["filters", name];
  const before = problems.found.length;
  const spec = readSource(filter, folder, path, problems);
  if (spec === undefined) return undefined;
  const object = withInnerMaps(withGlobals(spec, filter, path, problems), filter, path, problems);
  const program = ownProgram(object, filter, path, problems);
  const programs = chainPrograms(name, object, config, problems);
  const source = filter.sources?.[0] ?? "object";
  const linked = yield* link(
    object,
    [...new Set([program ?? [], programs].flat())],
    [...path, source],
    problems,
  );
  const contents = yield* readMapContents(object, filter, path, folder, config.ports, problems);
  const pinned = pinnedMaps(object, filter, config.top.stateDir, path, problems);
  const tailCalls = yield* linkTailCalls(
    object,
    linked,
    contents.slots,
    [...path, source],
    problems,
  );
  const metrics = readMetrics(filter.metrics, object, [...path, "metrics"], problems);
  const { engine, continueOn, onSchemaChange, shadow } = filter;
  const match = matchOf(filter, path, problems);
  const [own, ...others] = linked;
  if (problems.found.length > before || own === undefined) return undefined;
  if (engine === undefined || continueOn === undefined || tailCalls === undefined) return undefined;
  if (onSchemaChange === undefined || shadow === undefined) return undefined;
  return {
    name,
    where: problems.place(path),
    files: filesOf(filter, folder),
    object,
    programs: [own, ...others],
    tailCalls,
    contents: contents.entries,
    pinned,
    metrics,
    engine,
    continueOn,
    match,
    shadow,
    onSchemaChange,
  };
}

function filesOf(filter: ReadableFilter, folder: string): string[] {
  const names = [filter.object, ...[...filter.maps.values()].map((map) => map.file)];
  return names.flatMap((name) => (name === undefined ? [] : [fileAt(folder, name)]));
}

/** Indexes of the maps with `pin: true`, which must be of a type that can be kept. */
function pinnedMaps(
  object: ObjectSpec,
  filter: ReadableFilter,
  stateDir: string | undefined,
  path: KeyPath,
  problems: ProblemList,
): ReadonlySet<number> {
  const pinned = new Set<number>();
  for (const [name, { pin }] of filter.maps) {
    const index = object.maps.findIndex(
      (map) => map.name === name && map.dataSection === undefined,
    );
    const map = object.maps[index];
    if (!pin || map === undefined) continue;
    const at = [...path, "maps", name, "pin"];
    if (stateDir === undefined)
      problems.value(
        "CONFIG_CONFLICT",
        at,
        `map ${quote(name)} has no place to be kept`,
        "add stateDir: and a folder",
      );
    else if (!canBeKept(map.type))
      problems.value(
        "CONFIG_CONFLICT",
        at,
        `a map of type ${map.type} cannot be kept across restarts`,
        "remove pin",
      );
    else pinned.add(index);
  }
  return pinned;
}

/** What an expression's match and miss mean; undefined for other filters, which return verdicts. */
function matchOf(
  filter: ReadableFilter,
  path: KeyPath,
  problems: ProblemList,
): FilterConfig["match"] {
  const { expression, onMatch, onMiss } = filter;
  if (expression !== undefined) {
    const match = { onMatch: onMatch ?? "pass", onMiss: onMiss ?? "drop" };
    if (match.onMatch === match.onMiss) refuseOneVerdict(filter, match.onMatch, path, problems);
    return match;
  }
  for (const key of ["onMatch", "onMiss"] as const)
    if (filter[key] !== undefined)
      problems.key(
        "CONFIG_CONFLICT",
        [...path, key],
        `${key} is for filters with an expression`,
        `remove ${key}`,
      );
  return undefined;
}

/** An expression that decides nothing: mostly one whose other key was forgotten. */
function refuseOneVerdict(
  { onMatch, onMiss }: ReadableFilter,
  verdict: "pass" | "drop",
  path: KeyPath,
  problems: ProblemList,
): void {
  const [key, other] = onMiss === undefined ? ["onMatch", "onMiss"] : ["onMiss", "onMatch"];
  const isImplied = onMatch === undefined || onMiss === undefined;
  problems.value(
    "CONFIG_CONFLICT",
    [...path, key],
    `${other} is ${verdict} as well${isImplied ? ", without being named" : ""}, so that the expression decides nothing`,
    `${isImplied ? "add" : "make it"} ${other}: ${verdict === "drop" ? "pass" : "drop"}, or change ${key}`,
  );
}

/** Checks that the named programs may run on the object's maps, one a step. */
function* link(
  object: ObjectSpec,
  programs: readonly ProgramSpec[],
  path: KeyPath,
  problems: ProblemList,
): Steps<LinkedProgram[]> {
  const handles = object.maps.map(unplacedMap);
  const all: LinkedProgram[] = [];
  for (const program of programs) {
    const linked = linkProgram(program, handles, program.type, { object });
    if (linked.ok) all.push(linked.value);
    else problems.object(path, linked.error);
    yield;
  }
  return all;
}

/**
 * Links what tail calls of `programs` lead to. What is wrong about a slot that the config fills is
 * told at its entry, about one that the object fills at `path`, the object.
 */
function* linkTailCalls(
  object: ObjectSpec,
  programs: readonly LinkedProgram[],
  written: readonly WrittenSlot[],
  path: KeyPath,
  problems: ProblemList,
): Steps<TailCalls | undefined> {
  const calls = yield* resolveTailCalls(object, programs, object.maps.map(unplacedMap), written);
  if (calls.ok) return calls.value;
  const refusers = new Map<ProgramSlot, WrittenSlot["refuse"]>();
  for (const slot of written) refusers.set(slot, slot.refuse);
  for (const { slot, error } of calls.error) {
    const refuse = refusers.get(slot);
    if (refuse !== undefined) refuse(`${error.where}: ${error.what}`, error.fix, error.detail);
    else problems.object(path, error);
  }
  return undefined;
}

function withGlobals(
  spec: ObjectSpec,
  filter: ReadableFilter,
  path: KeyPath,
  problems: ProblemList,
): ObjectSpec {
  let object = spec;
  for (const [variable, value] of Object.entries(filter.globals ?? {})) {
    const at = [...path, "globals", variable];
    if (!object.variables.some((one) => one.name === variable)) {
      problems.key(
        "CONFIG_REFERENCE",
        at,
        `no global variable ${quote(variable)} in ${object.file}`,
        suggestion(variable, globalNames(object), "the object has none"),
      );
      continue;
    }
    const set = setGlobal(object, variable, value);
    if (set.ok) object = set.value;
    else refuseTyped(set.error, `${object.file}, global "${variable}"`, at, problems);
  }
  return object;
}

/** With the maps that the config makes from what maps of maps are declared to hold. */
function withInnerMaps(
  spec: ObjectSpec,
  filter: ReadableFilter,
  path: KeyPath,
  problems: ProblemList,
): ObjectSpec {
  let object = spec;
  for (const [name, { innerOf, maxEntries }] of filter.maps) {
    const at = [...path, "maps", name];
    if (innerOf === undefined) {
      if (maxEntries !== undefined)
        problems.key(
          "CONFIG_CONFLICT",
          [...at, "maxEntries"],
          "the object says how many entries its maps have",
          "remove it; it is for maps with innerOf",
        );
      continue;
    }
    const made = withInnerMap(object, { name, outer: innerOf, maxEntries });
    if (made.ok) object = made.value;
    else problems.value("CONFIG_REFERENCE", [...at, "innerOf"], made.error.what, made.error.fix);
  }
  return object;
}

function ownProgram(
  object: ObjectSpec,
  filter: ReadableFilter,
  path: KeyPath,
  problems: ProblemList,
): ProgramSpec | undefined {
  const names = object.programs.map((program) => program.name);
  const { program: name, section } = filter;
  if (name !== undefined && section !== undefined) {
    problems.key(
      "CONFIG_CONFLICT",
      [...path, "section"],
      "a filter names its program by program or by section, not both",
      "remove one of the two",
    );
    return undefined;
  }
  if (name !== undefined) return programNamed(name, object, [...path, "program"], problems);
  if (section !== undefined) {
    const found = object.programs.filter((program) => program.section === section);
    if (found.length === 1) return found[0];
    const sections = [...new Set(object.programs.map((program) => program.section))];
    if (found.length === 0)
      problems.value(
        "CONFIG_REFERENCE",
        [...path, "section"],
        `no section ${quote(section)} with a program in ${object.file}`,
        suggestion(section, sections, "the object has no programs"),
      );
    else
      problems.value(
        "CONFIG_REFERENCE",
        [...path, "section"],
        `section ${quote(section)} of ${object.file} holds several programs`,
        `write instead program: ${orList(found.map((program) => program.name))}`,
      );
    return undefined;
  }
  if (names.length === 1) return object.programs[0];
  problems.key(
    "CONFIG_REFERENCE",
    path,
    names.length === 0
      ? `${object.file} holds no program`
      : `${object.file} holds several programs`,
    names.length === 0
      ? 'give its function a section, such as SEC("xdp")'
      : `add program: ${orList(names)}`,
  );
  return undefined;
}

function programNamed(
  name: string,
  object: ObjectSpec,
  path: KeyPath,
  problems: ProblemList,
): ProgramSpec | undefined {
  const found = object.programs.find((program) => program.name === name);
  if (found === undefined)
    problems.value(
      "CONFIG_REFERENCE",
      path,
      `no program ${quote(name)} in ${object.file}`,
      suggestion(
        name,
        object.programs.map((program) => program.name),
        "the object has none",
      ),
    );
  return found;
}

/** The programs that chains name as `filter:program`. */
function chainPrograms(
  filter: string,
  object: ObjectSpec,
  config: ReadableConfig,
  problems: ProblemList,
): ProgramSpec[] {
  const programs: ProgramSpec[] = [];
  for (const [i, listener] of config.listeners.entries())
    for (const direction of ["ingress", "egress"] as const)
      for (const [k, text] of listener[direction].entries()) {
        if (text === undefined) continue;
        const item = splitChainItem(text);
        if (item.filter !== filter || item.program === undefined) continue;
        const path = ["listeners", i, direction, k];
        const program = programNamed(item.program, object, path, problems);
        if (program !== undefined) programs.push(program);
      }
  return programs;
}
