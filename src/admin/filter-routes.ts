import { isAbsolute } from "node:path";
import { z } from "zod";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { runBounds } from "../filter/counters.ts";
import { filterRuns, shadowPairs } from "../filter/shadow-pairs.ts";
import type { Control, SwapObject } from "./control.ts";
import type { ControlledFilter, Inventory, ProgramItem } from "./inventory.ts";
import { encodeObject } from "./object-json.ts";
import { filterVerdicts, reloadRefused, reloadSummary } from "./proxy-routes.ts";
import {
  filterReply,
  objectReply,
  profileReply,
  programReply,
  reloadReply,
  xlatedRow,
} from "./replies.ts";
import { type AnyRoute, replying, streaming } from "./route.ts";
import { xlatedRows } from "./xlated.ts";

const none = z.strictObject({});
const filterName = z.strictObject({
  filter: z.string().describe("A filter, or filter:program where chains name one."),
});
const programName = z.strictObject({
  program: z.string().describe("A program's number, name, chain name or tag."),
});

const programRef = z.string().min(1).max(255).optional();

/** Instructions a batch of a listing. */
const rowsAtOnce = 512;

/** Filters of the config and their programs. */
export const filterRoutes: readonly AnyRoute[] = [
  replying({
    method: "GET",
    path: "/v1/filters",
    id: "listFilters",
    summary: "The config's filters, with their programs' verdicts so far",
    parameters: none,
    query: none,
    body: undefined,
    reply: z.array(filterReply),
    handle: ({ control }) => {
      const inventory = control.inventory();
      return ok(inventory.parts.filters.map((filter) => describeFilter(inventory, filter)));
    },
  }),
  replying({
    method: "GET",
    path: "/v1/filters/{filter}",
    id: "getFilter",
    summary: "One filter",
    parameters: filterName,
    query: none,
    body: undefined,
    reply: filterReply,
    handle: ({ control, path }) => {
      const inventory = control.inventory();
      const filter = filterOf(inventory, path.filter);
      return filter.ok ? ok(describeFilter(inventory, filter.value)) : filter;
    },
  }),
  replying({
    method: "GET",
    path: "/v1/filters/{filter}/object",
    id: "getFilterObject",
    summary: "What it was loaded from: programs, maps, BTF, source lines; without map contents",
    parameters: filterName,
    query: none,
    body: undefined,
    reply: objectReply,
    handle: ({ control, path }) => {
      const filter = filterOf(control.inventory(), path.filter);
      return filter.ok ? ok(encodeObject(filter.value.object)) : filter;
    },
  }),
  ...(["enable", "disable"] as const).map((action) =>
    replying({
      method: "POST",
      path: `/v1/filters/{filter}/${action}`,
      id: `${action}Filter`,
      summary:
        action === "enable"
          ? "Puts a filter back into its chains"
          : "Takes a filter out of its chains until it is enabled or the proxy restarts",
      parameters: filterName,
      query: none,
      body: undefined,
      reply: filterReply,
      handle: ({ control, path }) => setEnabled(control, path.filter, action === "enable"),
    }),
  ),
  replying({
    method: "POST",
    path: "/v1/filters/{filter}/promote",
    id: "promoteFilter",
    summary:
      "Makes a shadow live, with its maps, until the config no longer says shadow: true or the proxy restarts",
    parameters: filterName,
    query: none,
    body: z.strictObject({
      instead_of: z
        .string()
        .optional()
        .describe("A filter that is disabled at once: the one before the candidate."),
    }),
    reply: filterReply,
    handle: ({ control, path, body }) => promote(control, path.filter, body.instead_of),
  }),
  replying({
    method: "POST",
    path: "/v1/filters/{filter}/swap",
    id: "swapFilter",
    summary:
      "Gives a filter another object, all or nothing as a reload; without one, again what the config names",
    parameters: filterName,
    query: none,
    body: z.strictObject({
      object: z
        .string()
        .max(4096)
        .refine(isAbsolute, { error: "expected an absolute path" })
        .optional()
        .describe("A file that the proxy can read."),
      section: programRef.describe("Its program, by ELF section."),
      program: programRef.describe("Its program, by name. Neither: as the config says."),
    }),
    reply: reloadReply,
    isLong: true,
    handle: ({ control, path, body }) => swap(control, path.filter, body),
  }),
  replying({
    method: "GET",
    path: "/v1/programs",
    id: "listPrograms",
    summary: "All programs: those of chains, then those that only tail calls lead to",
    parameters: none,
    query: none,
    body: undefined,
    reply: z.array(programReply),
    handle: ({ control }) => {
      const inventory = control.inventory();
      return ok(inventory.programs.map((program) => describeProgram(inventory, program)));
    },
  }),
  replying({
    method: "GET",
    path: "/v1/programs/{program}",
    id: "getProgram",
    summary: "One program",
    parameters: programName,
    query: none,
    body: undefined,
    reply: programReply,
    handle: ({ control, path }) => {
      const inventory = control.inventory();
      const program = inventory.program(path.program);
      return program.ok ? ok(describeProgram(inventory, program.value)) : program;
    },
  }),
  streaming({
    method: "GET",
    path: "/v1/programs/{program}/xlated",
    id: "streamXlated",
    summary: "A program's instructions, a line each",
    parameters: programName,
    query: none,
    row: xlatedRow,
    handle: ({ control, path }) => {
      const inventory = control.inventory();
      const program = inventory.program(path.program);
      if (!program.ok) return program;
      const { plan, spec, filter } = program.value;
      const ids = mapIds(inventory, filter);
      return ok(batches(xlatedRows(plan.program.instructions, spec, (map) => ids[map] ?? 0)));
    },
  }),
  replying({
    method: "GET",
    path: "/v1/programs/{program}/profile",
    id: "getProfile",
    summary: "How long its timed runs took so far",
    parameters: programName,
    query: none,
    body: undefined,
    reply: profileReply,
    handle: ({ control, path }) => {
      const inventory = control.inventory();
      const program = inventory.program(path.program);
      return program.ok ? profile(inventory, program.value) : program;
    },
  }),
];

/** The filter of a chain's item. */
export function filterOf(
  inventory: Inventory,
  reference: string,
): Result<ControlledFilter, UserError> {
  const indexes = inventory.chained(reference);
  if (!indexes.ok) return indexes;
  const name = reference.split(":", 1)[0]!;
  return ok(inventory.parts.filters.find((filter) => filter.name === name)!);
}

function describeFilter(
  inventory: Inventory,
  filter: ControlledFilter,
): z.output<typeof filterReply> {
  const { counters } = inventory.parts;
  const programs = inventory.programs.flatMap(({ id, plan, spec, index, ...program }) => {
    if (program.filter !== filter || index === undefined) return [];
    const verdicts = filterVerdicts(counters, index);
    return {
      name: spec.name,
      filter: plan.name,
      id,
      type: plan.program.type,
      enabled: !counters.some((worker) => worker.isDisabled(index)),
      run_cnt: filterRuns(counters, index),
      verdicts,
      shadow: shadowPairs(counters, index),
    };
  });
  return {
    name: filter.name,
    object: filter.object.file,
    engine: filter.plans[0]!.engine,
    enabled: programs.every(({ enabled }) => enabled),
    state: filterState(inventory, filter),
    programs,
    map_ids: mapIds(inventory, filter),
  };
}

function setEnabled(
  control: Control,
  reference: string,
  enabled: boolean,
): Result<z.output<typeof filterReply>, UserError> {
  const inventory = control.inventory();
  const indexes = inventory.chained(reference);
  if (!indexes.ok) return indexes;
  const filter = filterOf(inventory, reference);
  if (!filter.ok) return filter;
  for (const counters of inventory.parts.counters)
    for (const index of indexes.value) counters.disable(index, !enabled);
  control.onChange(enabled ? "filter enabled" : "filter disabled", { filter: reference });
  return ok(describeFilter(inventory, filter.value));
}

/**
 * Makes a shadow live. For a moment some workers may ask both it and the filter in whose place it
 * comes, and none asks neither.
 */
function promote(
  control: Control,
  reference: string,
  insteadOf: string | undefined,
): Result<z.output<typeof filterReply>, UserError> {
  const inventory = control.inventory();
  const filter = filterOf(inventory, reference);
  if (!filter.ok) return filter;
  const { name } = filter.value;
  const refuse = (what: string, fix: string): Result<never, UserError> =>
    err(new UserError("FILTER_NOT_SHADOW", `filter ${reference}`, what, fix));
  if (reference !== name)
    return refuse("a filter is promoted with all its programs", `promote ${name}`);
  if (filterState(inventory, filter.value) !== "shadow")
    return refuse("is live already", "name one that weir list shows as a shadow");
  const replaced = insteadOf === undefined ? ok([]) : inventory.chained(insteadOf);
  if (!replaced.ok) return replaced;
  if (insteadOf !== undefined && insteadOf.split(":", 1)[0] === name)
    return refuse("cannot come in its own place", "name the filter that it replaces");
  const indexes = inventory.chained(name);
  if (!indexes.ok) return indexes;
  if (insteadOf !== undefined && !areBeside(inventory, indexes.value, replaced.value))
    return err(
      new UserError(
        "FILTER_NOT_BESIDE",
        `filter ${insteadOf}`,
        `is in no chain that asks ${name}: that would not come in its place`,
        "name the filter of its chain that it replaces",
      ),
    );
  for (const counters of inventory.parts.counters)
    for (const index of indexes.value) counters.promote(index, true);
  for (const counters of inventory.parts.counters)
    for (const index of replaced.value) counters.disable(index, true);
  control.onChange("filter promoted", {
    filter: name,
    ...(insteadOf === undefined ? {} : { disabled: insteadOf }),
  });
  return ok(describeFilter(inventory, filter.value));
}

/** Whether one chain asks some program of both. */
function areBeside(
  { parts: { plan } }: Inventory,
  some: readonly number[],
  others: readonly number[],
): boolean {
  return plan.listeners
    .flatMap(({ ingress, egress }) => [ingress, egress])
    .some(
      (chain) =>
        chain.some((index) => some.includes(index)) &&
        chain.some((index) => others.includes(index)),
    );
}

async function swap(
  control: Control,
  reference: string,
  body: { readonly [Key in keyof SwapObject]?: string | undefined },
): Promise<Result<z.output<typeof reloadReply>, UserError>> {
  const filter = filterOf(control.inventory(), reference);
  if (!filter.ok) return filter;
  const { name } = filter.value;
  const { object, section, program } = body;
  const refuse = (what: string, fix: string): Result<never, UserError> =>
    err(new UserError("FILTER_SWAP", `filter ${reference}`, what, fix));
  if (reference !== name)
    return refuse("a filter is swapped with all its programs", `name ${name}`);
  if (section !== undefined && program !== undefined)
    return refuse("a section and a program are named", "name its program by one of them");
  if (object === undefined && (section ?? program) !== undefined)
    return refuse("there is no object to the program", "name the object file");
  const done = await control.swap(
    name,
    object === undefined
      ? undefined
      : {
          object,
          ...(section === undefined ? {} : { section }),
          ...(program === undefined ? {} : { program }),
        },
  );
  if (!done.ok) {
    const [first] = done.error;
    return err(first?.code === "FILTER_SWAP" ? first : reloadRefused(`filter ${name}`, done.error));
  }
  control.onChange("filter swapped", { filter: name, object: object ?? "the config's" });
  return ok(reloadSummary(done.value));
}

/** What a filter is by the config and by promotion. */
export function filterState(
  { parts, programs }: Inventory,
  filter: ControlledFilter,
): z.output<typeof filterReply>["state"] {
  const own = programs.find((program) => program.filter === filter)?.index ?? 0;
  if (parts.plan.filters[own]?.shadow !== true) return "live";
  return parts.counters.every((worker) => worker.isPromoted(own)) ? "promoted" : "shadow";
}

function describeProgram(
  inventory: Inventory,
  { id, plan, spec, tag, index, filter }: ProgramItem,
): z.output<typeof programReply> {
  const { program, engine, name } = plan;
  const ids = mapIds(inventory, filter);
  const used = new Set<number>();
  for (const one of program.instructions)
    if (one.kind === "load_map" || one.kind === "load_map_value") used.add(ids[one.map]!);
  return {
    id,
    type: program.type,
    name: spec.name,
    tag,
    filter: name,
    engine,
    bytes_xlated: program.instructions.length * 8,
    map_ids: [...used].sort((a, b) => a - b),
    run_cnt: index === undefined ? 0 : filterRuns(inventory.parts.counters, index),
    object: filter.object.file,
    section: spec.section,
  };
}

/** Numbers of a filter's maps, in its object's order. */
function mapIds(inventory: Inventory, filter: ControlledFilter): number[] {
  return inventory.maps.filter((map) => map.filter === filter.name).map(({ id }) => id);
}

function profile(
  inventory: Inventory,
  { index, spec }: ProgramItem,
): Result<z.output<typeof profileReply>, UserError> {
  if (index === undefined)
    return err(
      new UserError(
        "PROFILE_TAIL_CALLED",
        `program ${spec.name}`,
        "runs that a tail call leads to are timed as part of the run that made the call",
        "profile the program that chains name",
      ),
    );
  const { counters } = inventory.parts;
  const runs = new Array<number>(runBounds.length + 1).fill(0);
  for (const worker of counters)
    for (const [bucket, count] of worker.readFilterRuns(index).entries()) runs[bucket]! += count;
  return ok({
    at_ms: performance.now(),
    run_cnt: filterRuns(counters, index),
    timed: runs.reduce((all, count) => all + count, 0),
    seconds: counters.reduce((all, worker) => all + worker.readFilterRunSum(index), 0),
    buckets: runs.map((count, i) =>
      i < runBounds.length ? { to: runBounds[i]!, runs: count } : { runs: count },
    ),
  });
}

async function* batches<Row>(rows: Iterable<Row>): AsyncGenerator<readonly Row[]> {
  let batch: Row[] = [];
  for (const row of rows)
    if (batch.push(row) === rowsAtOnce) {
      yield batch;
      batch = [];
    }
  yield batch;
}
