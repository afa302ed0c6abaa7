import { err, ok, type Result } from "../common/result.ts";
import type { Btf } from "../object/btf.ts";
import { flattenMembers, isNamed, resolveType } from "../object/btf-types.ts";
import type { MapSpec } from "../object/object-spec.ts";
import { isAddress, isNetworkOrder } from "../object/value-shapes.ts";
import { F_RDONLY_PROG } from "../runtime/wasm/layout.ts";
import { isFiller, keyLabels } from "./auto-labels.ts";
import { numberSizes, type ValueProblem } from "./btf-field.ts";
import { countableTypes } from "./map-binding.ts";
import type { MapMetricSpec, MapMetricsSpec } from "./map-metric-spec.ts";

/** Most metrics that `auto` makes of one object. More are no overview any more. */
const maxAutoMetrics = 256;

/** Structs of the kernel's within a value: locks, timers, lists. What they hold is not the user's. */
const kernelStruct = /^bpf_/;

/** What `auto` reads of an object. */
interface AutoSource {
  readonly maps: readonly MapSpec[];
  readonly btf: Btf | undefined;
}

/**
 * What `metrics: auto` stands for: a metric for each whole number in the values of each map that a
 * program may write, with labels for what its key is made of.
 *
 * A metric is named after its map and the number's members, a global variable's after the variable.
 * BTF does not tell counts from other numbers, so this does: what a per-CPU map holds unsigned is a
 * counter, for the CPUs' numbers are summed, and so is what is called `_total`; all else is a gauge.
 * Lists in values, bit fields, floating point and numbers in network order make no metric.
 */
export function autoMetrics({ maps, btf }: AutoSource): Result<MapMetricsSpec, ValueProblem> {
  if (maps.length === 0) return err({ what: "there are no maps", fix: "remove it" });
  if (btf === undefined)
    return err({
      what: "the object has no BTF, which tells what its maps hold",
      fix: "build it with clang -g, or write the block",
    });
  const counters: MapMetricSpec[] = [];
  const gauges: MapMetricSpec[] = [];
  for (const map of maps) {
    if (map.valueType === undefined || !holdsResults(map)) continue;
    const labels = keyLabels(btf, map);
    if (labels === undefined) continue;
    const numbers = numbersOf(btf, map.valueType);
    if (counters.length + gauges.length + numbers.length > maxAutoMetrics)
      return err({
        what: `its maps hold more than ${maxAutoMetrics} numbers`,
        fix: "write the block with those that matter",
      });
    for (const { path, signed } of numbers) {
      const words = map.dataSection === undefined ? [map.name, ...path] : path;
      const plain = words.join("_").replace(/[^a-zA-Z0-9_]/g, "_");
      const counts =
        (map.type.includes("percpu") && !signed) || words.some((word) => /_total$/.test(word));
      const name = counts ? `${plain.replace(/_total(?=_|$)/g, "")}_total` : plain;
      const field = path.length === 0 ? undefined : path.join(".");
      const by = labels.map((label) => label.name).join(", ");
      const help =
        map.dataSection === undefined
          ? `${field === undefined ? "Value" : field} in map ${map.name}${by === "" ? "" : `, by ${by}`}`
          : `Global variable ${field}`;
      (counts ? counters : gauges).push({ name, help, map: map.name, field, labels });
    }
  }
  if (counters.length + gauges.length > 0) return ok({ counters, gauges, histograms: [] });
  return err({
    what: "none of its maps holds whole numbers under keys of a known type",
    fix: "declare maps with __type(key, …) and __type(value, …), or write the block",
  });
}

/** Whether a map's numbers may be a program's doing. */
function holdsResults({ type, flags, readOnly }: MapSpec): boolean {
  return countableTypes.includes(type) && !readOnly && (flags & F_RDONLY_PROG) === 0;
}

interface NumberInValue {
  /** Names of members; none where the value itself is the number. */
  readonly path: readonly string[];
  readonly signed: boolean;
}

/** The whole numbers in a value, in their order; of a union those of its first member that has any. */
function numbersOf(btf: Btf, root: number): NumberInValue[] {
  const found: NumberInValue[] = [];
  const visit = (id: number, path: readonly string[]): void => {
    if (found.length > maxAutoMetrics) return;
    const type = resolveType(btf, id);
    if (type.kind === "int" || type.kind === "enum") {
      if (isNetworkOrder(btf, id) || isAddress(btf, id) || !numberSizes.includes(type.size)) return;
      found.push({ path, signed: type.signed });
    } else if (type.kind === "section") {
      for (const { type: variable } of type.variables) {
        const declared = btf.types[variable];
        if (declared?.kind === "variable") visit(declared.type, [...path, declared.name]);
      }
    } else if (type.kind === "struct" || type.kind === "union") {
      if (kernelStruct.test(type.name) || isNamed(btf, id, ["in_addr", "in6_addr"])) return;
      const before = found.length;
      const ends = new Set<number>();
      for (const { name, type: member, bitOffset, bitSize } of flattenMembers(btf, type)) {
        // Members of a union, named or not, share a place: the first one's numbers count.
        if (bitSize !== 0 || isFiller(name) || ends.has(bitOffset)) continue;
        const had = found.length;
        visit(member, [...path, name]);
        if (found.length > had) ends.add(bitOffset);
        if (type.kind === "union" && found.length > before) return;
      }
    }
  };
  visit(root, []);
  return found;
}
