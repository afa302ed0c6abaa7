import { errno } from "../common/errno.ts";
import type { TraceStep } from "../engine/interpreter/trace-recorder.ts";
import type { TracedRun } from "../filter/trace-bench.ts";
import type { Origin } from "../filter/trace-origins.ts";
import type { MapHandle } from "../maps/map-handle.ts";
import type { MapSpec } from "../object/object-spec.ts";

/** A register's value as the place it points to, where it is a pointer, else as a number. */
export function valueText(
  run: TracedRun,
  step: TraceStep,
  value: bigint,
  origin: Origin | undefined,
): string {
  return origin === undefined ? signedText(value) : placeText(run, step, value, origin);
}

/** Small numbers in decimal, others in hex; `isSigned`: also those below 0. */
export function numberText(value: bigint, isSigned: boolean): string {
  const signed = BigInt.asIntN(64, value);
  const shown = isSigned ? signed : value;
  return shown > -4096n && shown < 4096n ? String(shown) : `0x${value.toString(16)}`;
}

export function signedText(value: bigint): string {
  return numberText(value, true);
}

/** What a helper has returned, with an error's name. */
export function resultText(value: bigint): string {
  const error = -BigInt.asIntN(64, value);
  const name = errorNames.get(Number(error));
  return name === undefined ? signedText(value) : `-${error} (${name})`;
}

const errorNames = new Map<number, string>(
  Object.entries(errno).map(([name, number]) => [number, name]),
);

function placeText(run: TracedRun, step: TraceStep, value: bigint, origin: Origin): string {
  const { data, end } = step.packet;
  switch (origin.kind) {
    case "packet_end":
      if (value === BigInt(end)) return `packet end (${end - data})`;
      return plus("packet", value - BigInt(data));
    case "packet":
      return plus("packet", value - BigInt(data));
    case "context":
      return plus("context", value - origin.start);
    case "stack":
      // As the kernel's verifier names the frames of callers.
      return plus(origin.depth === step.depth ? "fp" : `fp[${origin.depth}]`, value - origin.start);
    case "map":
      return `map ${origin.map.name}`;
    case "value":
      return mapValueText(run, step, origin.map, value - origin.start);
    case "key":
    case "record":
      return plus(`${origin.kind} of ${origin.map.name}`, value - origin.start);
    case "function": {
      const { functions } = run.specOf(step.program);
      const name = functions.find(({ slot }) => BigInt(slot) === value)?.name;
      return `function ${name ?? value}`;
    }
    default:
      return origin satisfies never;
  }
}

/** A global variable by its name. */
function mapValueText(run: TracedRun, step: TraceStep, map: MapHandle, offset: bigint): string {
  const spec = specOfMap(run, step, map);
  if (spec?.dataSection === undefined) return plus(`value of ${map.name}`, offset);
  const variable = run.object.variables.find(
    (one) =>
      run.object.maps[one.map] === spec &&
      offset >= BigInt(one.offset) &&
      offset < BigInt(one.offset + one.size),
  );
  return variable === undefined
    ? plus(map.name, offset)
    : plus(variable.name, offset - BigInt(variable.offset));
}

function plus(name: string, bytes: bigint): string {
  const offset = BigInt.asIntN(64, bytes);
  return offset === 0n ? name : offset < 0n ? `${name}${offset}` : `${name}+${offset}`;
}

/** How the object declares a map; undefined of another filter's, which a map of maps held. */
export function specOfMap(
  run: TracedRun,
  { program }: TraceStep,
  map: MapHandle,
): MapSpec | undefined {
  const index = program.maps.indexOf(map);
  return index < 0 ? undefined : run.object.maps[index];
}
