import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import { programTag } from "../engine/program-tag.ts";
import type { Counters } from "../filter/counters.ts";
import type { MapAccess } from "../maps/map-access.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { Btf } from "../object/btf.ts";
import { type ObjectSpec, type ProgramSpec, refusalOf } from "../object/object-spec.ts";
import type { ProgramPlan, ProxyPlan } from "../proxy/plan.ts";
import type { BoundListener } from "../proxy/supervisor.ts";

/** What the control API shows and changes: what a config became. */
export interface InventoryParts {
  readonly plan: ProxyPlan;
  /** Each worker's. */
  readonly counters: readonly Counters[];
  /** In the plan's order. */
  readonly listeners: readonly BoundListener[];
  readonly filters: readonly ControlledFilter[];
  /** The config in force, defaults filled in: what JSON can hold. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface ControlledFilter {
  readonly name: string;
  readonly object: ObjectSpec;
  /** The object's maps, in its order. */
  readonly maps: readonly ControlledMap[];
  /** Its programs in the plan: those that chains name, those that tail calls lead to. */
  readonly plans: readonly ProgramPlan[];
  readonly tailCalled: readonly ProgramPlan[];
}

export interface ControlledMap {
  readonly handle: MapHandle;
  readonly source: MapAccess;
  readonly btf: Btf | undefined;
  readonly keyType: number | undefined;
  readonly valueType: number | undefined;
  /** Set for `.rodata`, `.data`, `.bss`. */
  readonly dataSection: string | undefined;
  /** Where it is kept across restarts if it is pinned, or why it cannot be. */
  readonly pin: Result<{ readonly file: string; readonly isDeclared: boolean }, UserError>;
}

export interface MapItem extends ControlledMap {
  /** From 1, over all filters. */
  readonly id: number;
  readonly filter: string;
}

export interface ProgramItem {
  /** From 1: first what chains name, then what only tail calls lead to. */
  readonly id: number;
  readonly plan: ProgramPlan;
  readonly filter: ControlledFilter;
  readonly spec: ProgramSpec;
  readonly tag: string;
  /** Its place among the plan's filters, and so in the counters; undefined for tail calls' targets. */
  readonly index: number | undefined;
}

/** Programs and maps of a running proxy under numbers and names. Made anew for each config. */
export class Inventory {
  readonly parts: InventoryParts;
  readonly programs: readonly ProgramItem[];
  readonly maps: readonly MapItem[];

  constructor(parts: InventoryParts) {
    this.parts = parts;
    const owners = new Map(
      parts.filters.flatMap((filter) =>
        [...filter.plans, ...filter.tailCalled].map((plan) => [plan.name, filter] as const),
      ),
    );
    const { plan } = parts;
    const chained = new Set(plan.filters.map(({ program }) => program));
    const called = (plan.tailCalled ?? []).filter(({ program }) => !chained.has(program));
    this.programs = [...plan.filters, ...called].map((one, i) => {
      const filter = owners.get(one.name)!;
      return {
        id: i + 1,
        plan: one,
        filter,
        spec: filter.object.programs.find(({ name }) => name === one.program.name)!,
        tag: programTag(one.program.instructions),
        index: i < plan.filters.length ? i : undefined,
      };
    });
    this.maps = parts.filters
      .flatMap((filter) => filter.maps.map((map) => ({ ...map, filter: filter.name })))
      .map((map, i) => ({ ...map, id: i + 1 }));
  }

  /** By number, chain name (`filter`, `filter:program`), program name or tag. */
  program(reference: string): Result<ProgramItem, UserError> {
    const all = this.programs;
    const exact = all.find(({ id, plan }) => String(id) === reference || plan.name === reference);
    if (exact !== undefined) return ok(exact);
    const named = all.filter(({ spec, tag }) => spec.name === reference || tag === reference);
    return only(
      named,
      "PROGRAM",
      reference,
      ({ id, plan }) => `${id} (${plan.name})`,
      all.map(({ plan }) => plan.name),
    );
  }

  /** By number, name, or `filter/name` where several filters have a map of that name. */
  map(reference: string): Result<MapItem, UserError> {
    const all = this.maps;
    const exact = all.find(({ id, filter, handle }) =>
      [String(id), `${filter}/${handle.name}`].includes(reference),
    );
    if (exact !== undefined) return ok(exact);
    const named = all.filter(({ handle }) => handle.name === reference);
    if (named.length === 0)
      for (const { name, object } of this.parts.filters) {
        const own = reference.startsWith(`${name}/`) ? reference.slice(name.length + 1) : reference;
        const refusal = refusalOf(object, own);
        if (refusal !== undefined)
          return err(new UserError(refusal.code, `filter ${name}`, refusal.what, refusal.fix));
      }
    const fullName = ({ filter, handle }: MapItem): string => `${filter}/${handle.name}`;
    return only(named, "MAP", reference, fullName, [
      ...new Set(
        all.filter((map) => map.dataSection === undefined).map(({ handle }) => handle.name),
      ),
    ]);
  }

  /** Whether this config has the map, be it under another number: a map that goes on is the same. */
  has({ handle }: ControlledMap): boolean {
    return this.maps.some((map) => map.handle === handle);
  }

  /** The plan's filters that a name means: all programs of `filter`, or the one of `filter:program`. */
  chained(reference: string): Result<readonly number[], UserError> {
    const { plan, filters } = this.parts;
    const names = plan.filters.map(({ name }) => name);
    if (filters.some(({ name }) => name === reference))
      return ok(
        [...names.keys()].filter(
          (i) => names[i] === reference || names[i]!.startsWith(`${reference}:`),
        ),
      );
    const index = names.indexOf(reference);
    return index < 0 ? err(unknown("FILTER", reference, names)) : ok([index]);
  }

  listener(reference: string): Result<number, UserError> {
    const names = this.parts.plan.listeners.map(({ name }) => name);
    const index = names.indexOf(reference);
    return index < 0 ? err(unknown("LISTENER", reference, names)) : ok(index);
  }
}

function only<Item>(
  found: readonly Item[],
  kind: "PROGRAM" | "MAP",
  reference: string,
  nameOf: (item: Item) => string,
  known: readonly string[],
): Result<Item, UserError> {
  if (found.length === 1) return ok(found[0]!);
  if (found.length === 0) return err(unknown(kind, reference, known));
  const what = kind.toLowerCase();
  return err(
    new UserError(
      `${kind}_AMBIGUOUS`,
      `${what} ${reference}`,
      `${found.length} have this name`,
      `name one: ${listed(found.map(nameOf))}`,
    ),
  );
}

function unknown(
  kind: "PROGRAM" | "MAP" | "FILTER" | "LISTENER",
  reference: string,
  known: readonly string[],
): UserError {
  const what = kind.toLowerCase();
  return new UserError(
    `${kind}_UNKNOWN`,
    `${what} ${reference.slice(0, 80)}`,
    `there is no such ${what}`,
    known.length === 0 ? undefined : `there are ${listed(known)}`,
  );
}

const maxListed = 20;

function listed(names: readonly string[]): string {
  const more = names.length - maxListed;
  return names.slice(0, maxListed).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
