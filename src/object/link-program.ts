import { putU32le } from "../common/bytes.ts";
import { err, ok, type Result } from "../common/result.ts";
import { UserError } from "../common/user-error.ts";
import type { ObjectFunction } from "./function-table.ts";
import type { ProgramSpec, ProgramType, SourceLine } from "./object-spec.ts";
import { recordsBetween } from "./records.ts";
import type { FunctionResolver, ObjectParts, ResolvedFunction } from "./resolve-function.ts";

/** BPF_COMPLEXITY_LIMIT_INSNS: the kernel takes no longer program. */
const maxSlots = 1_000_000;

/** BPF_MAX_SUBPROGS. */
const maxFunctions = 256;

/** A function at its place in a program. */
interface Placed {
  readonly function: ObjectFunction;
  readonly resolved: ResolvedFunction;
  readonly slot: number;
}

/**
 * Cuts a program from its object: its own code, then every function it calls or takes the address
 * of, each once, in the order of a depth-first walk over references (libbpf's order, so that
 * instruction numbers and program tags agree with the kernel's).
 */
export function linkProgram(
  parts: ObjectParts,
  resolver: FunctionResolver,
  entry: ObjectFunction,
  type: ProgramType | undefined,
): Result<ProgramSpec, UserError> {
  const places = placeFunctions(parts.elf.file, resolver, entry);
  if (!places.ok) return places;
  const placed = [...places.value.values()];
  const last = placed.at(-1)!;
  const bytecode = new Uint8Array(last.slot * 8 + last.resolved.code.length);
  for (const { resolved, slot } of placed) {
    bytecode.set(resolved.code, slot * 8);
    for (const reference of resolved.references) {
      const at = slot + reference.slot;
      const distance = places.value.get(reference.target)!.slot - (at + 1);
      putU32le(bytecode, at * 8 + 4, distance);
    }
  }
  const unanswered = placed.flatMap(({ resolved, slot }) =>
    resolved.unanswered.map((question) => ({ ...question, slot: slot + question.slot })),
  );
  return ok({
    name: entry.name,
    section: entry.section.name,
    type,
    bytecode,
    functions: placed.map((place) => describe(parts, place)),
    lines: placed.flatMap((place) => sourceLines(parts, place)),
    ...(unanswered.length > 0 && { unanswered }),
  });
}

function placeFunctions(
  file: string,
  resolver: FunctionResolver,
  entry: ObjectFunction,
): Result<Map<ObjectFunction, Placed>, UserError> {
  const places = new Map<ObjectFunction, Placed>();
  // A stack of our own: chains of functions may be as long as a file.
  const path: { readonly resolved: ResolvedFunction; next: number }[] = [];
  let slots = 0;
  for (let target: ObjectFunction | undefined = entry; target !== undefined; ) {
    const resolved = resolver.resolve(target);
    if (!resolved.ok) return resolved;
    places.set(target, { function: target, resolved: resolved.value, slot: slots });
    slots += resolved.value.code.length / 8;
    const excess =
      slots > maxSlots
        ? `${maxSlots} instructions`
        : places.size > maxFunctions
          ? `${maxFunctions} functions`
          : undefined;
    if (excess !== undefined)
      return err(
        new UserError(
          "OBJECT_TOO_LARGE",
          `${file}, program "${entry.name}"`,
          `more than ${excess} with the functions that it calls`,
          "split it with tail calls",
        ),
      );
    path.push({ resolved: resolved.value, next: 0 });
    target = nextTarget(path, places);
  }
  return ok(places);
}

/** The next function that has no place yet, on the way down and back up. */
function nextTarget(
  path: { readonly resolved: ResolvedFunction; next: number }[],
  places: ReadonlyMap<ObjectFunction, Placed>,
): ObjectFunction | undefined {
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const reference = top.resolved.references[top.next++];
    if (reference === undefined) path.pop();
    else if (!places.has(reference.target)) return reference.target;
  }
  return undefined;
}

function describe(parts: ObjectParts, { function: placed, slot }: Placed) {
  const { name, section, start } = placed;
  const records = parts.ext?.functions.get(section.name) ?? [];
  const type = recordsBetween(records, start, start + 1)[0]?.type;
  const known = parts.btf?.types[type ?? 0]?.kind === "function";
  return type !== undefined && known ? { name, slot, type } : { name, slot };
}

function sourceLines(parts: ObjectParts, { function: placed, slot }: Placed): SourceLine[] {
  const { section, start, end } = placed;
  const lines: SourceLine[] = [];
  for (const record of recordsBetween(parts.ext?.lines.get(section.name) ?? [], start, end)) {
    const at = slot + Math.floor((record.offset - start) / 8);
    const { file, line, column, text } = record;
    // Line 0 is the compiler's for code that no line stands for: the line before it says more.
    if (line === 0 || lines.at(-1)?.slot === at) continue;
    lines.push({ slot: at, file, line, column, text });
  }
  return lines;
}
